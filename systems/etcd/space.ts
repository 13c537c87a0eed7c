import { RequorumError, reasonOf } from '../../domain/failures.ts'
import type { MemberSpace } from '../../domain/relief-plan.ts'
import { humanBytes } from '../../domain/progress.ts'
import { NO_LEADER, type MemberStatus } from '../../domain/survey.ts'
import type { ControlPlaneNode, Watching } from '../node/control-plane-node.ts'
import { disarmAlarms, readAlarms, readMember } from './member.ts'

const POLL_MS = 1_000
/** Looks in a row at which no member's use of its database fell. etcd compacts in batches of 1,000 keys, 10 ms apart. */
const QUIET_LOOKS = 3
/** A fall by less is a busy keyspace's own coming and going. */
const NOTICEABLE_BYTES = 1_048_576
/** Compacting goes on in the background whatever we do; a member defragmented too soon only gives back less. */
const COMPACTION_PATIENCE_MS = 15 * 60_000

export interface CaughtUp {
  /** The node whose member leads. */
  readonly leader: string
  readonly members: readonly MemberSpace[]
  readonly evidence: string
}

/**
 * Waits until every member answers a linearizable read, follows the same leader, which is one of them, and has
 * applied what was committed when the waiting began: a mark that stands still, so that a busy cluster reaches it.
 *
 * @throws RequorumError `cluster-unhealthy` after `limits.start`, with what was missing.
 */
export async function awaitCaughtUp(
  nodes: readonly ControlPlaneNode[],
  watching: Watching,
): Promise<CaughtUp> {
  const limitMs = Math.max(...nodes.map((at) => at.config.limits.start))
  const deadline = Date.now() + limitMs
  let mark: bigint | null = null
  for (;;) {
    const state = oneCluster(await members(nodes))
    let missing: string
    if ('missing' in state) {
      missing = state.missing
    } else {
      const { seen, leader } = state
      mark ??= seen.reduce((high, { member }) => max(high, BigInt(member.raftIndex)), 0n)
      const until = mark
      const behind = seen.find(({ member }) => BigInt(member.raftAppliedIndex) < until)
      if (behind === undefined) return caughtUp(seen, leader)
      missing = `${behind.node} has applied ${behind.member.raftAppliedIndex} of ${until} entries`
    }
    if (Date.now() > deadline) {
      throw new RequorumError('cluster-unhealthy', {
        what: `Not every member of etcd was well within ${limitMs / 1_000} s.`,
        why: missing,
        todo: 'Look at the log of etcd on the node that is named. No other member is touched until all are well.',
      })
    }
    watching.onBeat(missing)
    watching.signal.throwIfAborted()
    await pause()
  }
}

/**
 * Waits until no member frees pages of its database any more: each compacts on its own, in the background, and
 * tells nobody when it is done (`--physical` waits for the member that was asked). Never fails for it.
 */
export async function awaitCompacted(
  nodes: readonly ControlPlaneNode[],
  watching: Watching,
): Promise<string> {
  const deadline = Date.now() + COMPACTION_PATIENCE_MS
  let before: number[] = []
  let quiet = 0
  for (;;) {
    const now = (await members(nodes)).map(({ member }) => (member.answers ? member.dbSizeInUseBytes : 0))
    const falls = now.some((bytes, at) => bytes + NOTICEABLE_BYTES < (before[at] ?? Infinity))
    quiet = falls ? 0 : quiet + 1
    before = now
    const said = nodes.map(({ node }, at) => `${node.name} ${humanBytes(now[at] ?? 0)}`).join(', ')
    if (quiet >= QUIET_LOOKS) return `in use: ${said}`
    if (Date.now() > deadline) return `still going on, in use: ${said}`
    watching.onBeat(`in use: ${said}`)
    watching.signal.throwIfAborted()
    await pause()
  }
}

/**
 * Clears the alarm NOSPACE wherever it stands. etcdctl clears all alarms or none, so another one forbids it.
 *
 * @returns what was cleared, in words; none when none stood.
 * @throws RequorumError `cluster-unhealthy` when CORRUPT stands too.
 */
export async function disarmSpaceAlarms(at: ControlPlaneNode): Promise<string[]> {
  const alarms = await readAlarms(at)
  const others = alarms.filter(({ alarm }) => alarm !== 'NOSPACE')
  if (others.length > 0) {
    throw new RequorumError('cluster-unhealthy', {
      what: `etcd's alarm ${others.map(({ alarm, memberId }) => `${alarm} of member ${memberId}`).join(', ')} stands, so none was cleared.`,
      why: 'etcdctl clears all alarms at once, and that one says that a member holds other data than its peers',
      todo: `Find out which member is wrong: requorum diagnose ${at.config.cluster}`,
    })
  }
  if (alarms.length > 0) await disarmAlarms(at)
  return alarms.map(({ alarm, memberId }) => `${alarm} of member ${memberId}`)
}

type Looked = { node: string; member: MemberStatus | { answers: false; reason: string } }

function members(nodes: readonly ControlPlaneNode[]): Promise<Looked[]> {
  return Promise.all(
    nodes.map(async (at) => ({
      node: at.node.name,
      member: await readMember(at).catch((error: unknown) => ({
        answers: false as const,
        reason: reasonOf(error),
      })),
    })),
  )
}

type Answering = { readonly node: string; readonly member: MemberStatus }

function oneCluster(looked: readonly Looked[]): { seen: Answering[]; leader: string } | { missing: string } {
  const seen: Answering[] = []
  for (const { node, member } of looked) {
    if (!member.answers) return { missing: `${node} doesn't answer: ${member.reason}` }
    if (!member.healthy) return { missing: `${node} answers and has no quorum behind it` }
    seen.push({ node, member })
  }
  const leaders = new Set(seen.map(({ member }) => member.leaderId))
  const leader = seen.find(({ member }) => member.memberId === member.leaderId)
  if (leaders.size !== 1 || leaders.has(NO_LEADER) || leader === undefined) {
    return { missing: 'the members do not agree on a leader' }
  }
  return { seen, leader: leader.node }
}

function caughtUp(seen: readonly Answering[], leader: string): CaughtUp {
  return {
    leader,
    members: seen.map(({ node, member: { dbSizeBytes, dbSizeInUseBytes } }) => ({
      node,
      dbSizeBytes,
      dbSizeInUseBytes,
    })),
    evidence: `${leader} leads; databases: ${seen.map(({ node, member }) => `${node} ${humanBytes(member.dbSizeBytes)}`).join(', ')}`,
  }
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, POLL_MS))
}
