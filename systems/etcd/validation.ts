import { RequorumError, reasonOf } from '../../domain/failures.ts'
import { compareInventories, notCompared } from '../../domain/inventory.ts'
import { NO_LEADER, type MemberStatus } from '../../domain/survey.ts'
import type { EtcdId } from '../../domain/values.ts'
import { check, type Check, type RestoredExpectation } from '../../domain/verdict.ts'
import type { ControlPlaneNode, Watching } from '../node/control-plane-node.ts'
import { takeInventory } from './inventory.ts'
import { compareHashes } from './keyspace-hash.ts'
import { disarmAlarms, probeWrite, readAlarms, readMember } from './member.ts'

const POLL_MS = 500

/**
 * Waits until every member answers, knows the same leader and the whole member list, and has applied the
 * restored revision. On conditions and never on time alone: back in its directory, a manifest took 1 to 34 s.
 *
 * @throws RequorumError `cluster-unhealthy` with what was still missing.
 */
export async function awaitRestoredCluster(
  nodes: readonly ControlPlaneNode[],
  expected: RestoredExpectation,
  watching: Watching,
): Promise<{ clusterId: EtcdId; evidence: string }> {
  const limitMs = Math.max(...nodes.map((at) => at.config.limits.start))
  const deadline = Date.now() + limitMs
  for (;;) {
    const state = await look(nodes, expected)
    if ('ready' in state) return state.ready
    if (Date.now() > deadline) {
      throw new RequorumError('cluster-unhealthy', {
        what: `etcd did not become one healthy cluster within ${limitMs / 1_000} s.`,
        why: state.missing,
        todo: 'Look at the log of etcd on the node that is named. What was set aside is untouched.',
      })
    }
    watching.onBeat(state.missing)
    watching.signal.throwIfAborted()
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

type Look = { ready: { clusterId: EtcdId; evidence: string } } | { missing: string }

async function look(nodes: readonly ControlPlaneNode[], expected: RestoredExpectation): Promise<Look> {
  const seen: { node: string; member: MemberStatus }[] = []
  for (const { at, member } of await Promise.all(
    nodes.map(async (at) => ({ at, member: await readMember(at).catch(silence) })),
  )) {
    if (!member.answers) return { missing: `${at.node.name} doesn't answer: ${member.reason}` }
    if (!member.healthy) return { missing: `${at.node.name} answers and has no quorum behind it` }
    seen.push({ node: at.node.name, member })
  }
  const leaders = new Set(seen.map(({ member }) => member.leaderId))
  if (leaders.size !== 1 || leaders.has(NO_LEADER)) return { missing: 'the members do not agree on a leader' }
  const late = seen.find(({ member }) => BigInt(member.revision) < BigInt(expected.revision))
  if (late)
    return {
      missing: `${late.node} is at revision ${late.member.revision}, ${expected.revision} is expected`,
    }
  const strange = seen.find(({ member }) => memberNames(member) !== expectedNames(expected))
  if (strange) return { missing: `${strange.node} lists the members ${memberNames(strange.member)}` }
  const first = seen[0]
  if (first === undefined) return { missing: 'no node was asked' }
  const leader = seen.find(({ member }) => member.memberId === member.leaderId)
  return {
    ready: {
      clusterId: first.member.clusterId,
      evidence: `${seen.length} members, ${leader?.node ?? 'one'} leads, revision ${first.member.revision}`,
    },
  }
}

const silence = (error: unknown): { answers: false; reason: string } => ({
  answers: false,
  reason: reasonOf(error),
})
const expectedNames = (expected: RestoredExpectation): string =>
  expected.members
    .map(({ name, peerUrl }) => `${name}=${peerUrl}`)
    .sort()
    .join(',')
const memberNames = (member: MemberStatus): string =>
  member.members
    .map(({ name, peerUrls, isLearner }) => `${name}=${peerUrls.join('|')}${isLearner ? ' (learner)' : ''}`)
    .sort()
    .join(',')

/** Alarms that a snapshot brings along block writes under an ID of a member that is gone; then proves a write. */
export async function disarmAndProbe(at: ControlPlaneNode, key: string): Promise<string> {
  const alarms = await readAlarms(at)
  if (alarms.length > 0) await disarmAlarms(at)
  await probeWrite(at, key)
  const cleared = alarms.map(({ alarm, memberId }) => `${alarm} of ${memberId}`).join(', ')
  return `a write went through${cleared === '' ? '' : `; disarmed ${cleared}`}`
}

/** Each check once, with what it saw; one that could not be made fails with the reason. */
export async function validateCluster(
  nodes: readonly ControlPlaneNode[],
  expected: RestoredExpectation,
  signal: AbortSignal,
): Promise<Check[]> {
  const first = nodes[0]
  if (first === undefined) return []
  const attempt = async (name: string, look: () => Promise<Check>): Promise<Check> =>
    look().catch((error: unknown) =>
      check(name, false, `it could not be made: ${reasonOf(error).split('\n').join(' ')}`),
    )

  const formed = await attempt('members and leader', async () => {
    const state = await look(nodes, expected)
    return check(
      'members and leader',
      'ready' in state,
      'ready' in state ? state.ready.evidence : state.missing,
    )
  })
  const checks = [
    formed,
    await attempt('cluster ID is new', async () => {
      const member = await readMember(first)
      if (!member.answers) return check('cluster ID is new', false, member.reason)
      return check(
        'cluster ID is new',
        member.clusterId !== expected.previousClusterId,
        `${member.clusterId}, before ${expected.previousClusterId ?? 'unknown'}: no old member can mix in`,
      )
    }),
    await attempt('keyspace hashes are equal', async () => {
      const { equal, evidence } = await compareHashes(nodes)
      return check('keyspace hashes are equal', equal, evidence)
    }),
    await attempt('no alarms', async () => {
      const alarms = await readAlarms(first)
      return check('no alarms', alarms.length === 0, alarms.map(({ alarm }) => alarm).join(', ') || 'none')
    }),
    await attempt('a write goes through', async () => {
      await probeWrite(first, `requorum/probe-${expected.revision}`)
      return check('a write goes through', true, 'put and deleted a key of our own')
    }),
  ]
  if ('skipped' in expected.inventory) return [...checks, ...notCompared(expected.inventory)]
  // Read at the restored revision itself, whatever is written meanwhile.
  const found = await takeInventory(first, expected.revision, signal)
  return [...checks, ...compareInventories(expected.inventory, found)]
}
