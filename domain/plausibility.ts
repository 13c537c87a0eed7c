import type { ClusterConfig } from './cluster-config.ts'
import { liveKeysOf, type Catalogue, type SavedSnapshot } from './snapshot.ts'
import { compareRevisions, type EtcdId } from './values.ts'

/**
 * Can this snapshot be the next one of this cluster? Returns the reasons against, none when it can.
 *
 * A near-empty snapshot comes from the wrong endpoint, another cluster ID from the wrong cluster, an older
 * revision from a member that was left behind. Each is kept for study and none replaces a good snapshot.
 */
export function reasonsAgainst(
  saved: SavedSnapshot,
  clusterId: EtcdId,
  catalogue: Catalogue,
  limits: ClusterConfig['plausibility'],
): string[] {
  const reasons: string[] = []
  if (saved.totalKeys === 0) reasons.push('it holds no keys')

  const newest = catalogue.proved[0]
  if (newest === undefined) return reasons

  const successors = catalogue.lineages
    .filter((lineage) => lineage.openedAt >= newest.takenAt)
    .map((lineage) => lineage.clusterId)
  if (
    clusterId !== newest.etcd.clusterId &&
    clusterId !== limits.acceptClusterId &&
    !successors.includes(clusterId)
  ) {
    reasons.push(`its cluster ID is ${clusterId}, the newest proved snapshot is of ${newest.etcd.clusterId}`)
  }
  if (clusterId === newest.etcd.clusterId && compareRevisions(saved.revision, newest.revision) < 0) {
    reasons.push(`its revision ${saved.revision} is behind ${newest.revision} of ${newest.key}`)
  }

  const recent = catalogue.proved.slice(0, limits.recent)
  // Live keys where both know them. The file counts every revision that is not compacted yet: more of them when
  // a cluster was just emptied, and far fewer right after a restore, which compacts.
  const knownLive = recent.flatMap(({ inventory }) => liveKeysOf(inventory) ?? [])
  const [keys, usualKeys, what] =
    saved.liveKeys !== null && knownLive.length > 0
      ? [saved.liveKeys, median(knownLive), 'live keys']
      : [saved.totalKeys, median(recent.map((snapshot) => snapshot.totalKeys)), 'versions of keys']
  if (keys < usualKeys * limits.leastKeys) {
    reasons.push(`it holds ${keys} ${what} where ${usualKeys} are usual`)
  }
  const usualSize = median(recent.map((snapshot) => snapshot.sizeBytes))
  if (saved.sizeBytes < usualSize * limits.leastSize) {
    reasons.push(`it is ${saved.sizeBytes} bytes where ${usualSize} are usual`)
  }
  return reasons
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2
}
