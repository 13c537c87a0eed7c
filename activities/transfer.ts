import { createHash } from 'node:crypto'
import { pipeline, Transform, type Readable } from 'node:stream'
import { RequorumError, type FailureCode } from '../domain/failures.ts'
import type { ProvedSnapshot, SavedSnapshot, StoredObject } from '../domain/snapshot.ts'
import { readSnapshotFile, writeSnapshotFile } from '../systems/etcd/snapshot-file.ts'
import type { ControlPlaneNode, Watching } from '../systems/node/control-plane-node.ts'
import type { ObjectStore } from '../systems/object-store/object-store.ts'
import { slowed } from '../systems/transfer/slowed.ts'
import { fetchFile, partsOfFile, reachesStore, sendFile, sendPart } from '../systems/transfer/transfer.ts'

/** How a snapshot came to the store or back: by the node itself, or through the worker, and why so. */
export type Way = { readonly by: 'node' } | { readonly by: 'worker'; readonly because: string }

/** Failures of a node on its own way to the store that the worker may not meet. */
const ON_ITS_WAY: readonly FailureCode[] = ['store-unreachable', 'store-refused', 'step-failed']

/** Puts a saved snapshot into the store, from the node or through the worker; whichever it is, the rules are `put`'s. */
export async function storeFrom(
  at: ControlPlaneNode,
  store: ObjectStore,
  saved: SavedSnapshot,
  key: string,
  watching: Watching,
): Promise<StoredObject & { readonly way: Way }> {
  const { signal } = watching
  const { path, sizeBytes, sha256 } = saved
  if (sizeBytes > at.config.transfer.partsAbove) return storeInParts(at, store, saved, key, watching)
  const object = { key, sizeBytes, sha256 }
  const { result, way } = await bestWay(at, signal, {
    node: () => store.putBy(object, (request) => sendFile(at, { path, key }, request, watching), { signal }),
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
  { path, sizeBytes }: SavedSnapshot,
  key: string,
  watching: Watching,
): Promise<StoredObject & { readonly way: Way }> {
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
  const { key, versionId, sha256 } = snapshot
  const { signal } = watching
  const { way } = await bestWay(at, signal, {
    node: () =>
      store.getBy(key, versionId, (request) => fetchFile(at, { path, key, sha256 }, request, watching), {
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
  if (sizeBytes !== snapshot.sizeBytes) {
    body.destroy()
    throw damaged(snapshot, `the store sends ${sizeBytes} bytes, the manifest says ${snapshot.sizeBytes}`)
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
  await writeSnapshotFile(at, path, snapshot, hashed, signal).catch((error: unknown) => {
    throw hashed.readableEnded && hash.digest('hex') !== snapshot.sha256
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
