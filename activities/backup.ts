import type { ClusterConfig } from '../domain/cluster-config.ts'
import { RequorumError } from '../domain/failures.ts'
import { NODE_STATE } from '../domain/node-paths.ts'
import { localCopiesToPrune } from '../domain/retention.ts'
import {
  manifestKeyOf,
  prove,
  SNAPSHOT_END,
  type Inventory,
  type Packing,
  type ProvedSnapshot,
  type SavedSnapshot,
  type SnapshotManifest,
  type StoredObject,
} from '../domain/snapshot.ts'
import { sha256, type Revision, type Sha256 } from '../domain/values.ts'
import { keepMonth, letExpire, releaseSuperseded } from '../systems/object-store/keep.ts'
import { countLiveKeys, takeInventory } from '../systems/etcd/inventory.ts'
import { saveSnapshot } from '../systems/etcd/snapshot-file.ts'
import type { ControlPlaneNode } from '../systems/node/control-plane-node.ts'
import { nodeAt, type NodeRef, type Systems } from './systems.ts'
import { storeFrom, type Way } from './transfer.ts'
import { watched } from './watched.ts'

export interface SaveRequest extends NodeRef {
  /** Names the unit on the node: a retry with the same name attaches to the save that runs. */
  readonly step: string
  readonly path: string
  readonly takenAt: string
}

export function createBackupActivities(systems: Systems) {
  return {
    async saveSnapshot(request: SaveRequest): Promise<SavedSnapshot> {
      const at = await nodeAt(systems, request)
      return watched(async (watching) => {
        const facts = await saveSnapshot(at, request.step, request.path, watching)
        const liveKeys = await countLiveKeys(at, facts.revision, watching.signal)
        return { node: request.node, path: request.path, takenAt: request.takenAt, ...facts, liveKeys }
      })
    },

    /** What the running cluster holds at a revision; `skipped` with the reason when it can't be told. */
    async takeInventory(ref: NodeRef, revision: Revision): Promise<Inventory> {
      const at = await nodeAt(systems, ref)
      return watched(({ signal }) => takeInventory(at, revision, signal))
    },

    /** SHA-256 of what a snapshot is useless without; null where the node has none. Only the digests leave it. */
    async keyFingerprints(ref: NodeRef): Promise<SnapshotManifest['keyFingerprints']> {
      const at = await nodeAt(systems, ref)
      const fingerprint = async (path: string): Promise<Sha256 | null> => {
        const result = await at.shell.run(at.node, ['sha256sum', '--', path])
        const read = sha256.safeParse(result.stdout.slice(0, 64))
        return result.code === 0 && read.success ? read.data : null
      }
      return watched(async () => ({
        saPub: await fingerprint('/etc/kubernetes/pki/sa.pub'),
        encryptionConfig: await fingerprint('/etc/kubernetes/enc/encryption-config.yaml'),
      }))
    },

    /** Puts a saved snapshot into the store. The worker's memory doesn't grow with its size, whichever way it goes. */
    async storeSnapshot(
      saved: SavedSnapshot & { cluster: string },
      key: string,
    ): Promise<StoredObject & { way?: Way; packed?: Packing }> {
      const at = await nodeAt(systems, { cluster: saved.cluster, node: saved.node })
      return watched((watching) => storeFrom(at, systems.storeFor(at.config), saved, key, watching))
    },

    /**
     * Reads back what the store says and then writes the manifest: the commit point of a backup.
     * @throws RequorumError `store-mismatch`
     */
    async commitSnapshot(manifest: SnapshotManifest): Promise<ProvedSnapshot> {
      const config = await systems.loadCluster(manifest.cluster)
      const store = systems.storeFor(config)
      const stored = await watched(() => store.head(manifest.key, manifest.versionId))
      const unsaid = stored === null ? null : whatIsUnsaid(manifest, stored, config.retention.lock)
      const verdict = unsaid === null ? prove(manifest, stored) : { refused: unsaid }
      if ('refused' in verdict) {
        throw new RequorumError('store-mismatch', {
          what: `${manifest.key} can't be proved: ${verdict.refused}.`,
          todo: 'The next backup stores a new object. Look at the store if this happens again.',
        })
      }
      const sealed = await systems.trustFor(config).seal(manifest)
      const text = `${JSON.stringify(sealed, null, 2)}\n`
      await watched(({ signal }) => store.putText(manifestKeyOf(manifest.key), text, { signal }))
      return verdict.proved
    },

    /** Leaves the reason beside a quarantined snapshot. Deliberately not a manifest: it can't be restored from. */
    async noteQuarantine(
      cluster: string,
      key: string,
      reasons: readonly string[],
      local: Pick<SavedSnapshot, 'node' | 'path'>,
    ): Promise<void> {
      const at = await nodeAt(systems, { cluster, node: local.node })
      const text = `${JSON.stringify({ key, reasons }, null, 2)}\n`
      await watched(async ({ signal }) => {
        await systems.storeFor(at.config).putText(reasonsKeyOf(key), text, { signal })
        // The store has it now; on the node it would only fill the disk of etcd.
        await at.shell.run(at.node, ['rm', '-f', '--', local.path])
      })
    },

    /** Copies it to `monthly/`, unless its month has a copy. Returns the copy's key, or null. */
    async keepMonth(snapshot: ProvedSnapshot): Promise<string | null> {
      const config = await systems.loadCluster(snapshot.cluster)
      return watched(({ signal }) =>
        keepMonth(
          systems.storeFor(config),
          { prefix: config.store.prefix, trust: systems.trustFor(config) },
          snapshot,
          { signal },
        ),
      )
    },

    /** Lets what was taken before that moment expire. Returns how many objects that was said of for the first time. */
    async releaseSuperseded(cluster: string, before: string): Promise<number> {
      const config = await systems.loadCluster(cluster)
      return watched(({ signal }) =>
        releaseSuperseded(systems.storeFor(config), config.store.prefix, before, { signal }),
      )
    },

    /** Quarantined ones supersede nothing, and nothing supersedes them: their own retention runs from the start. */
    async releaseQuarantined(cluster: string, key: string): Promise<void> {
      const store = systems.storeFor(await systems.loadCluster(cluster))
      await watched(async ({ signal }) => {
        for (const name of [key, reasonsKeyOf(key)]) {
          const stored = await store.head(name, undefined, { signal })
          if (stored !== null) await letExpire(store, stored, { signal })
        }
      })
    },

    /** Removes local copies beyond the newest few, never one that the store doesn't hold as proved. */
    async pruneLocal(ref: NodeRef, proved: readonly string[]): Promise<string[]> {
      const at = await nodeAt(systems, ref)
      return watched(() => prune(at, proved))
    },
  }

  async function prune(at: ControlPlaneNode, proved: readonly string[]): Promise<string[]> {
    const { directory, keepLocal } = at.config.backup
    const files = ['find', directory, '-maxdepth', '1', '-type', 'f']
    const listed = await at.shell.run(at.node, [...files, '-printf', '%f\\n'])
    const stored = proved.map((key) => ({ key }))
    const unneeded = localCopiesToPrune(listed.stdout.split('\n'), stored, keepLocal)
    // Receipts that nobody looks for any more: no backup lasts a week.
    const steps = ['find', `${NODE_STATE}/steps`, '-mindepth', '1', '-maxdepth', '1', '-mtime', '+7']
    const ofBackups = ['backup-*', 'send.*', 'fetch.*', 'pack.*']
      .flatMap((name) => ['-o', '-name', name])
      .slice(1)
    await at.shell.run(at.node, [...steps, '(', ...ofBackups, ')', '-exec', 'rm', '-rf', '--', '{}', '+'])
    // What restores staged and nobody needs any more goes after a week; after a day what a save left half-written
    // when its node lost power, and what was packed and never stored.
    const forgotten = { 'staged-*': '+7', '.snapshot-*.db.*': '+0' }
    for (const [name, age] of Object.entries(forgotten))
      await at.shell.run(at.node, [...files, '-name', name, '-mtime', age, '-delete'])
    if (unneeded.length > 0)
      await at.shell.run(at.node, ['rm', '-f', '--', ...unneeded.map((file) => `${directory}/${file}`)])
    return unneeded
  }
}

/** What the store has to say of a snapshot that was just stored, and does not; null when it says all of it. */
function whatIsUnsaid(
  { hashOfParts }: SnapshotManifest,
  stored: StoredObject,
  lock: ClusterConfig['retention']['lock'],
): string | null {
  // Without the store's own checksum nothing was read back but a size.
  const said = hashOfParts === undefined ? stored.sha256 : stored.hashOfParts
  if (said === null || said === undefined)
    return 'the store does not say its SHA-256 (may the worker not decrypt?)'
  if (lock !== 'none' && stored.lockedUntil === undefined)
    return 'the store does not say that it is locked (may the worker read its retention?)'
  return null
}

function reasonsKeyOf(quarantinedKey: string): string {
  return quarantinedKey.replace(SNAPSHOT_END, '.reasons.json')
}
