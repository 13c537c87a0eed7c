import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError, type FailureCode } from '../../domain/failures.ts'
import { humanBytes, humanSeconds, secondsBetween } from '../../domain/progress.ts'
import type { Catalogue, ProvedSnapshot } from '../../domain/snapshot.ts'
import { reachedNodes, type NodeSurvey } from '../../domain/survey.ts'
import { judgeVersions } from '../../domain/versions.ts'
import { causeOf, whyOf } from './failure.ts'
import { transfer } from './hands.ts'
import { utcNow, type Run } from './run.ts'

const MIB = 1_048_576
/** Failures that are the snapshot's own: another candidate may do. */
const SNAPSHOT_AT_FAULT: readonly FailureCode[] = [
  'snapshot-damaged',
  'store-object-missing',
  'store-mismatch',
]

export interface Candidate {
  readonly snapshot: ProvedSnapshot
  readonly skipped: readonly { readonly key: string; readonly reason: string }[]
}

/** The snapshots to try, least loss first: the newest proved, then those before it, or the one that was named. */
export function candidates(config: ClusterConfig, catalogue: Catalogue, named?: string): ProvedSnapshot[] {
  const found =
    named === undefined
      ? [...catalogue.proved]
      : catalogue.proved.filter((snapshot) => snapshot.key === named)
  if (found.length > 0) return found
  throw new RequorumError('no-candidate', {
    what:
      named === undefined
        ? `The store holds no proved snapshot of ${config.cluster}.`
        : `${named} isn't a proved snapshot of ${config.cluster}.`,
    why:
      catalogue.refused.map(({ key, reason }) => `${key}: ${reason}`).join('; ') ||
      (catalogue.proved.length > 0
        ? `proved are ${catalogue.proved
            .slice(0, 3)
            .map(({ key }) => key)
            .join(', ')}${catalogue.proved.length > 3 ? ' and others' : ''}`
        : `${config.store.bucket}/${config.store.prefix}daily/ has none`),
    todo: `requorum snapshots ${config.cluster}`,
  })
}

export function refuseWithoutTools(found: readonly NodeSurvey[]): void {
  const without = reachedNodes(found).filter(({ tools }) => tools.etcdctl === null || tools.etcdutl === null)
  if (without.length === 0) return
  throw new RequorumError('tools-missing', {
    what: `etcdctl or etcdutl is missing on ${without.map((node) => node.node).join(', ')}. Nothing was touched.`,
    todo: "Install both in the cluster's etcd version, or name their paths in the cluster file (etcd.etcdctl, etcd.etcdutl).",
  })
}

/** The rules are domain/versions.ts's. */
export function refuseUnfitVersions(found: readonly NodeSurvey[], snapshot: ProvedSnapshot): void {
  const { refusals } = judgeVersions(snapshot, found)
  if (refusals.length === 0) return
  throw new RequorumError('versions-unfit', {
    what: `${snapshot.key} is of etcd ${snapshot.etcd.version}, and what would restore and serve it doesn't fit. Nothing was touched.`,
    why: byNodes(refusals.map(({ node, what }) => [node, what])).join('; '),
    todo: `${byNodes(refusals.map(({ node, todo }) => [node, todo])).join('; ')}. Or take another snapshot: requorum snapshots ${snapshot.cluster}, requorum restore ${snapshot.cluster} --snapshot KEY.`,
  })
}

/** The same words about several nodes once: `cp-01, cp-02: …`. */
function byNodes(said: readonly (readonly [string, string])[]): string[] {
  const nodes = Map.groupBy(said, ([, words]) => words)
  return [...nodes].map(([words, of]) => `${of.map(([node]) => node).join(', ')}: ${words}`)
}

/** Room for the staged file and for the database restored from it, on every node, before anything is written. */
export function refuseWithoutRoom(found: readonly NodeSurvey[], snapshot: ProvedSnapshot): void {
  const needed = 2 * snapshot.sizeBytes + 64 * MIB
  const tight = reachedNodes(found).filter(
    (node) => Math.min(node.snapshotRoomBytes, node.dataRoomBytes) < needed,
  )
  if (tight.length === 0) return
  throw new RequorumError('no-space', {
    what: `${tight.map((node) => `${node.node} has ${humanBytes(Math.min(node.snapshotRoomBytes, node.dataRoomBytes))} free`).join(', ')}; ${humanBytes(needed)} are needed. Nothing was touched.`,
    todo: 'Make room on the node; old copies in the snapshot directory that the store also holds may go.',
  })
}

/**
 * Puts the first candidate that holds on all nodes and checks it there. One that fails its check is skipped
 * with its reason and the next is taken.
 *
 * @throws RequorumError `no-candidate`, `no-space`; and what a node throws.
 */
export async function stageFirstGood(
  run: Run,
  config: ClusterConfig,
  found: readonly NodeSurvey[],
  tries: readonly ProvedSnapshot[],
  refused: Candidate['skipped'],
): Promise<Candidate> {
  const skipped = [...refused]
  for (const snapshot of tries) {
    refuseUnfitVersions(found, snapshot)
    refuseWithoutRoom(found, snapshot)
    const age = humanSeconds(secondsBetween(snapshot.takenAt, utcNow()))
    const reason = await run.step(
      `Stage ${snapshot.key} on every node`,
      async () => {
        const staged = await Promise.allSettled(
          config.nodes.map(({ name }) =>
            transfer.stageSnapshot({ cluster: config.cluster, node: name }, snapshot),
          ),
        )
        const failed = staged.filter((one) => one.status === 'rejected')
        const foreign = failed.find((one) => !SNAPSHOT_AT_FAULT.includes(causeOf(one.reason).code))
        if (foreign) throw foreign.reason
        const [first] = failed
        return first ? whyOf(first.reason) : null
      },
      (failure) =>
        failure ?? `${age} old, ${humanBytes(snapshot.sizeBytes)}, whole on ${config.nodes.length} nodes`,
    )
    if (reason === null) return { snapshot, skipped }
    skipped.push({ key: snapshot.key, reason })
  }
  throw new RequorumError('no-candidate', {
    what: `No snapshot of ${config.cluster} passed its check. Nothing was touched.`,
    why: skipped.map(({ key, reason }) => `${key}: ${reason}`).join('; '),
    todo: `Look at the store: requorum snapshots ${config.cluster}. A surviving data directory may hold more: keep all of them.`,
  })
}
