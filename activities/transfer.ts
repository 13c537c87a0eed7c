import { createHash } from 'node:crypto'
import { pipeline, Transform, type Readable } from 'node:stream'
import { RequorumError, type FailureCode } from '../domain/failures.ts'
import {
  objectOf,
  packedKeyOf,
  type Packing,
  type ProvedSnapshot,
  type SavedSnapshot,
  type StoredObject,
} from '../domain/snapshot.ts'
import { readSnapshotFile, writeSnapshotFile } from '../systems/etcd/snapshot-file.ts'
import type { ControlPlaneNode, Watching } from '../systems/node/control-plane-node.ts'
import type { ObjectStore } from '../systems/object-store/object-store.ts'
import { slowed } from '../systems/transfer/slowed.ts'
import {
  fetchFile,
  packFile,
  partsOfFile,
  reachesStore,
  sendFile,
  sendPart,
} from '../systems/transfer/transfer.ts'
import { unpacked } from '../systems/transfer/unpacked.ts'

/** How a snapshot came to the store or back: by the node itself, or through the worker, and why so. */
export type Way = { readonly by: 'node' } | { readonly by: 'worker'; readonly because: string }

/** Failures of a node on its own way to the store that the worker may not meet. */
const ON_ITS_WAY: readonly FailureCode[] = ['store-unreachable', 'store-refused', 'step-failed']

/** What came of storing: the object, who brought it, and whether it is packed. */
export type Stored = StoredObject & { readonly way: Way; readonly packed?: Packing }

/**
 * Puts a saved snapshot into the store, from the node or through the worker; whichever it is, the rules are `put`'s.
 *
 * @param key - of the snapshot; packed it goes under one that says so
 */
export async function storeFrom(
  at: ControlPlaneNode,
  store: ObjectStore,
  { path, sizeBytes, sha256 }: SavedSnapshot,
  key: string,
  watching: Watching,
): Promise<Stored> {
  if (at.config.transfer.compression === 'none')
    return storeFile(at, store, { path, key, sizeBytes, sha256 }, watching)
  const made = await packFile(at, path, watching)
  const { by, ...facts } = made.packed
  const file = { path: made.path, key: packedKeyOf(key, by), ...facts }
  const stored = await storeFile(at, store, file, watching)
  await at.shell.run(at.node, ['rm', '-f', '--', made.path])
  return { ...stored, packed: made.packed }
}

/** A file on a node and what it is to become in the store. */
type FileOnNode = Pick<SavedSnapshot, 'path' | 'sizeBytes' | 'sha256'> & { readonly key: string }

async function storeFile(
  at: ControlPlaneNode,
  store: ObjectStore,
  file: FileOnNode,
  watching: Watching,
): Promise<Stored> {
  if (file.sizeBytes > at.config.transfer.partsAbove) return storeInParts(at, store, file, watching)
  const { signal } = watching
  const { path, ...object } = file
  const { result, way } = await bestWay(at, signal, {
    node: () => store.putBy(object, (request) => sendFile(at, file, request, watching), { signal }),
    worker: () =>
      store.put(
        { ...object, open: async () => limited(at, await readSnapshotFile(at, path, signal)) },
        { signal },
      ),
  })
  return { ...result, way }
}

/** No backup takes so long: what was begun before was left by one that nobody took up again. */
const ABANDONED_AFTER_MS = 86_400_000

async function storeInParts(
  at: ControlPlaneNode,
  store: ObjectStore,
  { path, key, sizeBytes }: FileOnNode,
  watching: Watching,
): Promise<Stored> {
  const { signal } = watching
  const object = { key, sizeBytes, parts: await partsOfFile(at, { path, sizeBytes }, signal) }
  const yesterday = new Date(Date.now() - ABANDONED_AFTER_MS).toISOString()
  await store.abandonParts(at.config.store.prefix, yesterday, { signal })
  const { result, way } = await bestWay(at, signal, {
    node: () =>
      store.putParts(
        object,
        { send: (part, upload, request) => sendPart(at, { path, key, part, upload }, request, watching) },
        { signal },
      ),
    worker: () =>
      store.putParts(
        object,
        { open: async (part) => limited(at, await readSnapshotFile(at, path, signal, part)) },
        { signal },
      ),
  })
  return { ...result, way }
}

/**
 * Puts a stored snapshot onto a node, checked against the manifest's SHA-256 before it has its name.
 * @throws RequorumError `snapshot-damaged`, `no-space`, and the store's
 */
export async function fetchOnto(
  at: ControlPlaneNode,
  store: ObjectStore,
  snapshot: ProvedSnapshot,
  path: string,
  watching: Watching,
): Promise<Way> {
  const { key, versionId } = snapshot
  const { signal } = watching
  const { way } = await bestWay(at, signal, {
    node: () =>
      store.getBy(key, versionId, (request) => fetchFile(at, snapshot, path, request, watching), {
        signal,
      }),
    worker: () => relayOnto(at, store, snapshot, path, signal),
  })
  return way
}

async function bestWay<Result>(
  at: ControlPlaneNode,
  signal: AbortSignal,
  by: { readonly node: () => Promise<Result>; readonly worker: () => Promise<Result> },
): Promise<{ readonly result: Result; readonly way: Way }> {
  const relayed = async (because: string) => ({
    result: await by.worker(),
    way: { by: 'worker' as const, because },
  })
  const itself = async () => ({ result: await by.node(), way: { by: 'node' as const } })
  switch (at.config.transfer.way) {
    case 'relay':
      return relayed('the cluster file says so')
    case 'direct':
      return itself()
    case 'auto': {
      const barred = await reachesStore(at, signal)
      if (barred !== null) return relayed(`${at.node.name} does not reach the store: ${barred}`)
      try {
        return await itself()
      } catch (error) {
        if (!(error instanceof RequorumError && ON_ITS_WAY.includes(error.code))) throw error
        return relayed(`${at.node.name} could not do it itself: ${error.text.why ?? error.text.what}`)
      }
    }
  }
}

async function relayOnto(
  at: ControlPlaneNode,
  store: ObjectStore,
  snapshot: ProvedSnapshot,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  const { body, sizeBytes } = await store.open(snapshot.key, snapshot.versionId, { signal })
  const object = objectOf(snapshot)
  if (sizeBytes !== object.sizeBytes) {
    body.destroy()
    throw damaged(snapshot, `the store sends ${sizeBytes} bytes, the manifest says ${object.sizeBytes}`)
  }
  const hash = createHash('sha256')
  const hashed = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
  })
  body.once('error', (error) => hashed.destroy(error))
  limited(at, body).pipe(hashed)
  // Held against the manifest on the node too; this one tells a damaged object from a damaged transfer.
  const whole = unpacked(hashed, snapshot.packed)
  await writeSnapshotFile(at, path, snapshot, whole, signal).catch((error: unknown) => {
    throw hashed.readableEnded && hash.digest('hex') !== object.sha256
      ? damaged(snapshot, 'its content has another SHA-256 than its manifest')
      : error
  })
}

function limited(at: ControlPlaneNode, source: Readable): Readable {
  const { bandwidth } = at.config.transfer
  return bandwidth === undefined ? source : pipeline(source, slowed(bandwidth), () => undefined)
}

export function damaged(snapshot: ProvedSnapshot, why: string): RequorumError {
  return new RequorumError('snapshot-damaged', {
    what: `${snapshot.key} can't be restored from.`,
    why,
    todo: 'The next older snapshot is taken. Keep this one for study.',
  })
}
