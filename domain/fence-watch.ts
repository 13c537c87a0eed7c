import { z } from 'zod'
import type { ClusterConfig } from './cluster-config.ts'
import { RequorumError } from './failures.ts'
import { isFenced } from './fence.ts'
import type { FencePods } from './node-actions.ts'
import { FENCED_MANIFESTS } from './node-paths.ts'
import { API_SERVER, ETCD, STATELESS } from './planned-node.ts'
import { healthyNodes, type Member, type NodeSurvey, type ReachedNode } from './survey.ts'

/** What is so of a node whose old member must not run. */
export type FenceState =
  /** Nobody reaches it. */
  | 'away'
  /** A recovery holds it, and knows what it does. */
  | 'held'
  /** It answers, and nobody of the restored cluster says who its members are. */
  | 'unknown'
  /** It answers, and its old member would run or runs. */
  | 'to-fence'
  /** Nothing of its old control plane is where it would be started from. */
  | 'fenced'
  /** It has become a member of the restored cluster. */
  | 'member'

/** The end of a watch, for each of its nodes. */
export type FenceEnd = Extract<FenceState, 'fenced' | 'member'>

/**
 * What a watch is told beside the cluster, and what it tells itself when it goes on as a new run, so that its history
 * stays small.
 */
export const fenceWishes = z.object({
  nodes: z.array(z.string().min(1)).min(1).optional(),
  previousClusterId: z.string().nullable().default(null),
  since: z.string().nullable().default(null),
  watch: z
    .object({
      looks: z.number(),
      stops: z.number(),
      stopped: z.array(z.string()),
      ends: z.record(z.string(), z.enum(['fenced', 'member'])),
      warnings: z.array(z.string()),
    })
    .default({ looks: 0, stops: 0, stopped: [], ends: {}, warnings: [] }),
})
export type FenceWishes = z.output<typeof fenceWishes>

export interface FenceVerdict {
  readonly outcome: 'fenced' | 'nothing-to-fence'
  readonly cluster: string
  readonly nodes: readonly { readonly node: string; readonly state: FenceEnd }[]
  readonly warnings: readonly string[]
}

/** What else decides about a node that came back. */
export interface Around {
  /** As the restored cluster says, with a quorum behind it; null when nobody says. */
  readonly members: readonly Member[] | null
  readonly peerUrl: string
  /** Who holds its lock while it is worked on. */
  readonly owner: string
  /** When the restore began; null when nobody knows. */
  readonly since: string | null
  readonly previousClusterId: string | null
  /** This watch has stopped it before: a process of etcd that is left is another's. */
  readonly stoppedBefore: boolean
}

const CONTROL_PLANE: readonly string[] = [ETCD, ...STATELESS]

/**
 * What a look at a node says. Only a list of members that a quorum stands behind makes an old member of it: while the
 * restored cluster is silent a node may have become part of it. The one exception is an etcd that says itself that it
 * is of the cluster from before.
 */
export function judgeReturn(found: NodeSurvey, around: Around): FenceState {
  if (!found.reached) return 'away'
  if (heldByAnother(found, around)) return 'held'
  const { member } = found
  if (around.members?.some(({ peerUrls }) => peerUrls.includes(around.peerUrl)) === true) return 'member'
  const isOld =
    member.answers && around.previousClusterId !== null && member.clusterId === around.previousClusterId
  if (around.members === null && !isOld) return isFenced(found) ? 'fenced' : 'unknown'
  const runs = found.etcdPids.length > 0 && !around.stoppedBefore
  return runs || found.staticPods.some((pod) => CONTROL_PLANE.includes(pod)) ? 'to-fence' : 'fenced'
}

/** A lock from before the restore, which ran alone: whoever held it is gone. The owner to take it from, or null. */
export function staleLock(found: NodeSurvey, { since }: Pick<Around, 'since'>): string | null {
  if (!found.reached || found.lock === null || since === null) return null
  const held = Date.parse(found.lock.since)
  return Number.isNaN(held) || held >= Date.parse(since) ? null : found.lock.owner
}

function heldByAnother(found: ReachedNode, around: Around): boolean {
  return found.lock !== null && found.lock.owner !== around.owner && staleLock(found, around) === null
}

/** Whoever stands in a quorum tells the members; null when nobody does. Those that are watched are not asked. */
export function membersToldBy(survey: readonly NodeSurvey[]): readonly Member[] | null {
  const [first] = healthyNodes(survey).flatMap(({ member }) => (member.answers ? [member.members] : []))
  return first ?? null
}

/**
 * The nodes of the cluster file that have no member in the cluster that has the quorum.
 *
 * @throws RequorumError `quorum-missing` when none has it, or two have one each
 */
export function nodesWithoutMember(config: ClusterConfig, survey: readonly NodeSurvey[]): string[] {
  const healthy = healthyNodes(survey).flatMap(({ member }) => (member.answers ? [member] : []))
  const clusters = new Set(healthy.map(({ clusterId }) => clusterId))
  const members = healthy[0]?.members
  if (members === undefined || clusters.size > 1) {
    throw new RequorumError('quorum-missing', {
      what: `Nobody knows which nodes of ${config.cluster} are members. Nothing was touched.`,
      why:
        members === undefined
          ? 'no member that could be asked stands in a quorum'
          : `there are ${clusters.size} clusters with a quorum of their own: ${[...clusters].join(', ')}`,
      todo: `Look at it: requorum diagnose ${config.cluster}. Or name the nodes: --input '{"cluster":"${config.cluster}","nodes":["cp-03"]}'`,
    })
  }
  return config.nodes
    .filter(({ peerUrl }) => !members.some(({ peerUrls }) => peerUrls.includes(peerUrl)))
    .map(({ name }) => name)
}

/** What keeps the old member of a node from starting, now and after every reboot. Its data is not touched. */
export function fenceAction(config: ClusterConfig, found: ReachedNode): FencePods {
  return {
    kind: 'fence-pods',
    pods: [API_SERVER, ...STATELESS.filter((pod) => pod !== API_SERVER), ETCD],
    from: config.etcd.manifests,
    to: FENCED_MANIFESTS,
    dataDir: found.dataDir.path,
    kill: STATELESS,
  }
}
