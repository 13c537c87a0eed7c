import { NO_LEADER, type MemberSilence, type MemberStatus } from '../survey.ts'
import { counted, fail, judged, pass, warn, type Finding } from './finding.ts'

/** What one node's member said, or why it said nothing. */
export interface MemberSeen {
  readonly node: string
  readonly member: MemberStatus | MemberSilence
}

export interface ExpectedMember {
  readonly name: string
  readonly peerUrl: string
}

/** More entries behind than this, and a member may have trouble keeping up; etcd throttles writes at 5,000. */
const LAG_TO_WARN = 1_000n

function answering(seen: readonly MemberSeen[]): { node: string; member: MemberStatus }[] {
  return seen.flatMap(({ node, member }) => (member.answers ? [{ node, member }] : []))
}

/**
 * Every node of the cluster file has its voter in one cluster, with a quorum behind it, and there is no other member.
 *
 * @param without - nodes that a restore went on without
 */
export function judgeMembers(
  expected: readonly ExpectedMember[],
  seen: readonly MemberSeen[],
  without: readonly string[] = [],
): Finding {
  const members = answering(seen)
  const ids = new Set(members.map(({ member }) => member.clusterId))
  const wrong = [
    ...seen.flatMap(({ node, member }) =>
      member.answers
        ? member.healthy
          ? []
          : [`${node} answers and has no quorum behind it`]
        : [`${node} doesn't answer: ${member.reason}`],
    ),
    ...(ids.size > 1 ? [`the members are of ${ids.size} clusters: ${[...ids].join(', ')}`] : []),
    ...members.flatMap(({ member }) => (member.healthy ? wrongInList(expected, member) : [])),
  ]
  const names = expected.map(({ name }) => name).join(', ')
  return judged(`${counted(expected.length, 'voter')} (${names}) of cluster ${[...ids].join()}`, {
    wrong,
    doubtful: without.map((node) => `${node} has no member: the restore went on without it`),
  })
}

function wrongInList(expected: readonly ExpectedMember[], { members }: MemberStatus): string[] {
  const known = (name: string): ExpectedMember | undefined => expected.find((one) => one.name === name)
  return [
    ...expected
      .filter(({ name }) => !members.some((one) => one.name === name))
      .map(({ name }) => `${name} is not in the member list`),
    ...members.flatMap(({ id, name, peerUrls, isLearner }) => {
      if (name === '') return [`member ${id} (${peerUrls.join()}) was added and never started`]
      const peerUrl = known(name)?.peerUrl
      if (peerUrl === undefined) return [`${name} (${id}) is a member and not in the cluster file`]
      if (!peerUrls.includes(peerUrl))
        return [`${name} is listed at ${peerUrls.join()}, the file says ${peerUrl}`]
      return isLearner ? [`${name} is a learner and has no vote`] : []
    }),
  ]
}

/**
 * All members that answer follow one leader, which is one of them, has a quorum, and is kept up with. A leader
 * that lost its quorum goes on calling itself one until the election timeout is over: etcd raft, CheckQuorum.
 */
export function judgeLeader(seen: readonly MemberSeen[]): Finding {
  const members = answering(seen)
  if (members.length === 0) return fail('no member answers')
  const leaderless = members.filter(({ member }) => member.leaderId === NO_LEADER).map(({ node }) => node)
  if (leaderless.length > 0) return fail(`${leaderless.join(', ')} know no leader`)
  const leaders = [...new Set(members.map(({ member }) => member.leaderId))]
  if (leaders.length > 1) return fail(`the members follow different leaders: ${leaders.join(', ')}`)

  const leader = members.find(({ member }) => member.memberId === member.leaderId)
  if (!members.some(({ member }) => member.healthy))
    return fail(`${leader?.node ?? leaders.join()} is still called the leader, and no quorum is behind it`)
  const silent = seen.filter(({ member }) => !member.answers).map(({ node }) => node)
  const unknown = leader === undefined ? [`the leader ${leaders.join()} is none of those that answered`] : []
  const newest = members.reduce((high, { member }) => max(high, BigInt(member.raftIndex)), 0n)
  const behind = members.flatMap(({ node, member }) => {
    const lag = newest - BigInt(member.raftAppliedIndex)
    return lag > LAG_TO_WARN ? [`${node} is ${lag} entries behind`] : []
  })
  const terms = [...new Set(members.map(({ member }) => member.raftTerm))].join(' and ')
  return judged(`${leader?.node ?? leaders.join()} leads in term ${terms}`, {
    doubtful: [...unknown, ...behind, ...(silent.length > 0 ? [`not asked: ${silent.join(', ')}`] : [])],
  })
}

/** Alarms of the cluster, and what members say of their own trouble. */
export function judgeAlarms(
  alarms: readonly { readonly memberId: string; readonly alarm: string }[],
  seen: readonly MemberSeen[],
): Finding {
  const members = answering(seen)
  const nodeOf = (id: string): string =>
    members.find(({ member }) => member.memberId === id)?.node ?? `member ${id}`
  const raised = alarms.map(({ alarm, memberId }) => `${alarm} on ${nodeOf(memberId)}`)
  // A member repeats its alarms among its errors ("memberID:… alarm:NOSPACE"), and says there that it knows no
  // leader, which is for that check to say.
  const errors = members.flatMap(({ node, member }) =>
    member.errors.filter((error) => !/alarm:|no leader/i.test(error)).map((error) => `${node} says ${error}`),
  )
  return judged('none', { wrong: [...raised, ...errors] })
}

/** The hashes of those that could be compared; one that could not be asked leaves a doubt. */
export function judgeHashes(
  compared: { readonly equal: boolean; readonly evidence: string },
  notAsked: readonly string[],
): Finding {
  if (!compared.equal) return fail(compared.evidence)
  return notAsked.length === 0
    ? pass(compared.evidence)
    : warn(`${compared.evidence}; not asked: ${notAsked.join(', ')}`)
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}
