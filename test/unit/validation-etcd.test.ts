import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { judgeAlarms, judgeHashes, judgeLeader, judgeMembers } from '../../domain/validation/etcd.ts'
import type { MemberSeen } from '../../domain/validation/etcd.ts'
import { NO_LEADER } from '../../domain/survey.ts'
import { etcdId } from '../../domain/values.ts'
import { answering, clusterConfig, MEMBER_IDS, MEMBERS, NAMES, SILENT } from './examples.ts'

const { nodes } = clusterConfig()

function seen(differs: Partial<Record<string, MemberSeen['member']>> = {}): MemberSeen[] {
  return NAMES.map((node) => ({ node, member: differs[node] ?? answering(node) }))
}

const said = ({ verdict, evidence }: { verdict: string; evidence: string }): string =>
  `${verdict}: ${evidence}`

describe('members', () => {
  const judge = (differs?: Parameters<typeof seen>[0]): string => said(judgeMembers(nodes, seen(differs)))

  test('that all answer with the member list of the cluster file pass', () => {
    assert.equal(judge(), 'pass: 3 voters (cp-01, cp-02, cp-03) of cluster cdf818194e3a8c32')
  })

  test('one of which is silent, or has no quorum behind it, fail with its reason', () => {
    assert.equal(judge({ 'cp-02': SILENT }), "fail: cp-02 doesn't answer: context deadline exceeded")
    assert.equal(
      judge({ 'cp-02': answering('cp-02', { healthy: false, members: [] }) }),
      'fail: cp-02 answers and has no quorum behind it',
    )
  })

  for (const { what, members, says } of [
    { what: 'one missing', members: MEMBERS.slice(0, 2), says: 'cp-03 is not in the member list' },
    {
      what: 'a stranger',
      members: [...MEMBERS, { ...MEMBERS[0]!, id: etcdId.parse('00000000000000ff'), name: 'cp-04' }],
      says: 'cp-04 (00000000000000ff) is a member and not in the cluster file',
    },
    {
      what: 'one that never started',
      members: [...MEMBERS, { ...MEMBERS[0]!, name: '' }],
      says: 'member 8e9e05c52164694d (https://10.0.1.11:2380) was added and never started',
    },
    {
      what: 'a learner',
      members: MEMBERS.map((member, at) => ({ ...member, isLearner: at === 2 })),
      says: 'cp-03 is a learner and has no vote',
    },
    {
      what: 'another address',
      members: MEMBERS.map((member) => ({ ...member, peerUrls: ['https://10.9.9.9:2380'] })),
      says: 'cp-01 is listed at https://10.9.9.9:2380, the file says https://10.0.1.11:2380',
    },
  ]) {
    test(`with ${what} in the list fail, and say so once`, () => {
      const all = Object.fromEntries(NAMES.map((node) => [node, answering(node, { members })]))
      const text = judge(all)
      assert.ok(text.startsWith('fail: ') && text.includes(says), text)
      assert.equal(text.split(says).length, 2)
    })
  }

  test('of two clusters fail', () => {
    const other = answering('cp-03', { clusterId: etcdId.parse('00000000000000aa') })
    assert.match(judge({ 'cp-03': other }), /^fail: the members are of 2 clusters: cdf8/)
  })
})

describe('the leader', () => {
  const judge = (differs?: Parameters<typeof seen>[0]): string => said(judgeLeader(seen(differs)))

  test('whom all follow passes, by its node and term', () => {
    assert.equal(judge(), 'pass: cp-01 leads in term 7')
  })

  test('that somebody does not know, or that differs, fails', () => {
    assert.equal(
      judge({ 'cp-02': answering('cp-02', { leaderId: NO_LEADER }) }),
      'fail: cp-02 know no leader',
    )
    assert.match(
      judge({ 'cp-02': answering('cp-02', { leaderId: MEMBER_IDS[1]! }) }),
      /^fail: the members follow different leaders/,
    )
    assert.equal(
      said(judgeLeader(seen({ 'cp-01': SILENT, 'cp-02': SILENT, 'cp-03': SILENT }))),
      'fail: no member answers',
    )
  })

  test('that no quorum follows any more fails, although it still calls itself one', () => {
    const alone = seen({
      'cp-01': answering('cp-01', { healthy: false }),
      'cp-02': SILENT,
      'cp-03': SILENT,
    })
    assert.equal(
      said(judgeLeader(alone)),
      'fail: cp-01 is still called the leader, and no quorum is behind it',
    )
  })

  test('with a follower far behind, or a member that was not asked, is a warning', () => {
    assert.equal(
      judge({ 'cp-03': answering('cp-03', { raftAppliedIndex: '58999' }) }),
      'warn: cp-03 is 1001 entries behind; otherwise cp-01 leads in term 7',
    )
    assert.equal(judge({ 'cp-03': SILENT }), 'warn: not asked: cp-03; otherwise cp-01 leads in term 7')
  })
})

test('alarms fail with their node, and so does what a member says of itself', () => {
  assert.deepEqual(judgeAlarms([], seen()), { verdict: 'pass', evidence: 'none' })
  const full = answering('cp-02', { errors: ['memberID:10501334649042878790 alarm:NOSPACE '] })
  assert.equal(
    said(judgeAlarms([{ memberId: MEMBER_IDS[1]!, alarm: 'NOSPACE' }], seen({ 'cp-02': full }))),
    'fail: NOSPACE on cp-02',
  )
  assert.equal(
    said(judgeAlarms([{ memberId: '00000000000000ff', alarm: 'CORRUPT' }], seen())),
    'fail: CORRUPT on member 00000000000000ff',
  )
  const odd = answering('cp-03', { errors: ['data inconsistency'] })
  assert.equal(said(judgeAlarms([], seen({ 'cp-03': odd }))), 'fail: cp-03 says data inconsistency')
})

test('hashes of some members only are a warning, unequal ones a failure', () => {
  assert.equal(judgeHashes({ equal: true, evidence: 'same' }, []).verdict, 'pass')
  assert.equal(
    said(judgeHashes({ equal: true, evidence: 'same' }, ['cp-02'])),
    'warn: same; not asked: cp-02',
  )
  assert.equal(judgeHashes({ equal: false, evidence: 'differ' }, ['cp-02']).verdict, 'fail')
})
