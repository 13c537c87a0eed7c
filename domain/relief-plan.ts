import type { ClusterConfig } from './cluster-config.ts'
import { pictureOf } from './diagnosis/picture.ts'
import { quotaOf } from './etcd-manifest.ts'
import { etcdctlWords } from './etcdctl-words.ts'
import { handCommands, type NodeAction } from './node-actions.ts'
import { digestOfWhole, type PlannedRecovery, type PlanStep } from './plan-step.ts'
import type { SavedSnapshot } from './snapshot.ts'
import {
  isSpaceAlarm,
  membersNamedBy,
  reachedNodes,
  unreachedNodes,
  type MemberStatus,
  type NodeSurvey,
} from './survey.ts'
import { judgeLeader, judgeMembers } from './validation/etcd.ts'
import type { EtcdId, PlanDigest, Revision } from './values.ts'

const MIB = 1_048_576
/** For etcd's next log segment of 64 MB, on the filesystem that both share. */
const SPARE_BYTES = 64 * MIB

/**
 * What is done to make room, whole. The digest that people consent to is over this object and nothing else: sizes,
 * alarms and the leader are shown beside it and are not in it, or a cluster that is written to could never be approved.
 */
export interface ReliefPlan extends PlannedRecovery {
  /** Everything as it was, history included. Compaction goes to its revision and no further: nothing is thrown away that it lacks. */
  readonly copy: Pick<SavedSnapshot, 'node' | 'path' | 'sha256' | 'sizeBytes' | 'revision'>
  readonly compact: PlanStep
  /** One member after the other; the order is that of `nextToDefragment`, which looks who leads. */
  readonly defragment: PlanStep
  /** The alarms that are cleared at the end if they stand, and no others. */
  readonly disarm: readonly ['NOSPACE']
}

/** What a member's database is like. */
export interface MemberSpace {
  readonly node: string
  readonly dbSizeBytes: number
  readonly dbSizeInUseBytes: number
}

export function reliefDigest(plan: ReliefPlan): PlanDigest {
  return digestOfWhole(plan)
}

/** Where the copy from before is kept; no backup prunes a file of this name, and no restore takes it by itself. */
export function copyPath(config: ClusterConfig, recovery: string): string {
  return `${config.backup.directory}/before-compaction-${recovery}.db`
}

/** The plan for this cluster. Pure: the same cluster file, recovery and copy give the same plan and digest. */
export function planRelief(config: ClusterConfig, recovery: string, copy: ReliefPlan['copy']): ReliefPlan {
  const { etcd, limits } = config
  const etcdctl = [...etcdctlWords(etcd), `--command-timeout=${Math.floor(limits.transfer / 1_000)}s`]
  const { node, path, sha256, sizeBytes, revision } = copy
  const compact: NodeAction = { kind: 'compact', revision, etcdctl }
  return {
    cluster: config.cluster,
    recovery,
    targets: config.nodes.map(({ name, address }) => ({ node: name, address })),
    copy: { node, path, sha256, sizeBytes, revision },
    compact: { title: `Compact to revision ${revision}`, actions: [{ node, action: compact }] },
    defragment: {
      title: 'Defragment',
      actions: config.nodes.map(({ name }) => ({ node: name, action: { kind: 'defragment', etcdctl } })),
    },
    disarm: ['NOSPACE'],
  }
}

/**
 * The member to defragment next: in the order of the cluster file, the leader after all others. A defragmentation
 * blocks its member, and the leader's blocks every write.
 *
 * @param leader - who leads now; it may be another one than before the last member was done.
 * @returns null when all are done.
 */
export function nextToDefragment(
  plan: ReliefPlan,
  leader: string | null,
  done: readonly string[],
): PlanStep['actions'][number] | null {
  const left = plan.defragment.actions.filter(({ node }) => !done.includes(node))
  return left.find(({ node }) => node !== leader) ?? left[0] ?? null
}

/**
 * Why room can't be made now, empty when it can: every member of the cluster file has to stand in the quorum, be
 * well but for the alarm NOSPACE, and keep up with one leader. One that is defragmented is away for a while, and a
 * second one that is away at that time costs the quorum.
 */
export function reasonsAgainstFreeing(config: ClusterConfig, survey: readonly NodeSurvey[]): string[] {
  const nodes = reachedNodes(survey)
  const unwell = [
    ...unreachedNodes(survey).map(({ node, reason }) => `${node} can't be reached: ${inline(reason)}`),
    ...pictureOf(config, [survey])
      .nodes.filter(({ condition }) => condition !== 'well' && condition !== 'unreached')
      .map(({ name, fact }) => `${name} ${fact}`),
    ...nodes.flatMap(({ node, member }) =>
      member.answers
        ? member.errors
            .filter((error) => !isSpaceAlarm(error))
            .map((error) => `${node} says ${inline(error)}`)
        : [],
    ),
  ]
  if (unwell.length > 0) return unwell
  return [judgeMembers(config.nodes, nodes), judgeLeader(nodes)].flatMap(({ verdict, evidence }) =>
    verdict === 'pass' ? [] : [evidence],
  )
}

/** Nodes whose disk has no room for what a defragmentation writes beside the old file, each with the figures. */
export function tooTightToDefragment(
  survey: readonly NodeSurvey[],
): { node: string; freeBytes: number; neededBytes: number }[] {
  return reachedNodes(survey).flatMap(({ node, member, symptoms, dataRoomBytes }) => {
    if (!member.answers) return []
    const freeBytes = symptoms?.dataDisk.freeBytes ?? dataRoomBytes
    const neededBytes = member.dbSizeInUseBytes + SPARE_BYTES
    return freeBytes < neededBytes ? [{ node, freeBytes, neededBytes }] : []
  })
}

/** What has to be free where the copy is saved: the copy, and as much again for what is written after it. */
export function roomForCopy(member: Pick<MemberStatus, 'dbSizeBytes'>): number {
  return 2 * member.dbSizeBytes + SPARE_BYTES
}

/** IDs of the members that the alarm NOSPACE names; every member tells of all alarms. */
export function membersOutOfSpace(survey: readonly NodeSurvey[]): EtcdId[] {
  return membersNamedBy('NOSPACE', survey)
}

export interface SpaceSeen extends MemberSpace {
  /** Null where the manifest switches it off. */
  readonly quotaBytes: number | null
  readonly leads: boolean
  readonly alarm: boolean
  readonly revision: Revision
}

/** What a look found of each member that answered. */
export function spaceSeen(survey: readonly NodeSurvey[]): SpaceSeen[] {
  const full = membersOutOfSpace(survey)
  return reachedNodes(survey).flatMap(({ node, member, etcdManifest }) =>
    member.answers
      ? [
          {
            node,
            dbSizeBytes: member.dbSizeBytes,
            dbSizeInUseBytes: member.dbSizeInUseBytes,
            quotaBytes: quotaOf(etcdManifest),
            leads: member.leaderId === member.memberId,
            alarm: full.includes(member.memberId),
            revision: member.revision,
          },
        ]
      : [],
  )
}

/** Every command in its order, with where it is typed; the leader is to come last, whoever it is then. */
export function relieveCommands(plan: ReliefPlan): { node: string; commands: string[] }[] {
  return [...plan.compact.actions, ...plan.defragment.actions].map(({ node, action }) => ({
    node,
    commands: handCommands(action),
  }))
}

function inline(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim()
}
