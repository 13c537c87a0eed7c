import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  bestKnownRevision,
  chooseSource,
  healthyNodes,
  NO_LEADER,
  quorumHolds,
  quorumSize,
  reasonsAgainstSources,
  standsAlone,
} from '../../domain/survey.ts'
import { revision } from '../../domain/values.ts'
import { answering, MEMBER_IDS, MEMBERS, NAMES, quorumLost, reached, SILENT, unreached } from './examples.ts'

/**
 * kubeadm's first node, wiped and started with its peers down: a healthy cluster of its own, under the same
 * cluster ID, because its manifest lists only itself.
 */
const impostor = reached('cp-01', {
  member: answering('cp-01', { members: [MEMBERS[0]!], revision: revision.parse('12') }),
})
const silent = (node: string) => reached(node, { member: SILENT, etcdPids: [] })
const lonely = (node: string) =>
  reached(node, { member: answering(node, { healthy: false, leaderId: NO_LEADER, members: [] }) })

describe('the quorum', () => {
  test('is a majority of the voters', () => {
    assert.deepEqual([1, 2, 3, 4, 5, 6, 7].map(quorumSize), [1, 2, 2, 3, 3, 4, 4])
  })

  test('holds when one member answers a linearizable read as part of a majority', () => {
    assert.equal(quorumHolds(NAMES.map((node) => reached(node))), true)
    assert.equal(quorumHolds([silent('cp-01'), reached('cp-02'), unreached('cp-03')]), true)
  })

  test('is lost when members answer, but none answers a linearizable read', () => {
    assert.equal(quorumHolds([lonely('cp-01'), silent('cp-02'), unreached('cp-03')]), false)
    assert.equal(quorumHolds(quorumLost()), false)
    assert.equal(quorumHolds([]), false)
  })

  test('is not what a first node has that became an empty cluster of its own', () => {
    assert.equal(standsAlone(impostor, 3), true)
    assert.equal(quorumHolds([impostor, silent('cp-02'), silent('cp-03')]), false)
    assert.deepEqual(healthyNodes([impostor, silent('cp-02')]).length, 1)
  })

  test('is what the one node of a cluster of one has', () => {
    assert.equal(quorumHolds([impostor]), true)
  })

  test('does not count learners as voters', () => {
    const withLearners = MEMBERS.map((member, index) => ({ ...member, isLearner: index > 0 }))
    assert.equal(
      standsAlone(reached('cp-01', { member: answering('cp-01', { members: withLearners }) }), 3),
      true,
    )
  })
})

describe('the best known revision', () => {
  test('is the highest that any member answers for, healthy or not', () => {
    const at = (node: string, of: string) =>
      reached(node, {
        member: answering(node, { healthy: false, members: [], revision: revision.parse(of) }),
      })
    assert.equal(bestKnownRevision([at('cp-01', '9'), at('cp-02', '10'), silent('cp-03')]), '10')
    assert.equal(
      bestKnownRevision([at('cp-01', '9007199254740993'), at('cp-02', '9007199254740992')]),
      '9007199254740993',
    )
  })

  test('is nobody’s when none answers, and never that of an empty cluster beside it', () => {
    assert.equal(bestKnownRevision(quorumLost()), null)
    assert.equal(bestKnownRevision([impostor, silent('cp-02'), silent('cp-03')]), null)
  })
})

describe('the source of a snapshot', () => {
  const member = (node: string, differs: Parameters<typeof answering>[1]) =>
    reached(node, { member: answering(node, differs) })

  test('is a follower before the leader', () => {
    assert.equal(chooseSource(NAMES.map((node) => reached(node)))?.node, 'cp-02')
  })

  test('is a follower that lags before the leader', () => {
    const found = [reached('cp-01'), member('cp-02', { raftAppliedIndex: '100' })]
    assert.equal(chooseSource(found)?.node, 'cp-02')
  })

  test('is the leader when nobody else is left', () => {
    assert.equal(chooseSource([reached('cp-01'), silent('cp-02'), unreached('cp-03')])?.node, 'cp-01')
  })

  test('is the follower with the smallest lag, to the last digit', () => {
    const found = [
      reached('cp-01'),
      member('cp-02', { raftIndex: '9007199254740993', raftAppliedIndex: '9007199254740992' }),
      member('cp-03', { raftIndex: '9007199254740993', raftAppliedIndex: '9007199254740993' }),
    ]
    assert.equal(chooseSource(found)?.node, 'cp-03')
  })

  test('is never a learner, nor a member with errors, nor one without quorum', () => {
    assert.equal(chooseSource([member('cp-02', { isLearner: true })]), null)
    assert.equal(chooseSource([member('cp-02', { errors: ['memberID:1 alarm:CORRUPT'] })])?.node, 'cp-02')
    assert.equal(chooseSource([member('cp-02', { errors: ['alarm:CORRUPT'] })]), null)
    assert.equal(chooseSource([lonely('cp-02')]), null)
    const found = [
      reached('cp-01'),
      member('cp-02', { errors: ['etcdserver: no leader'] }),
      member('cp-03', { isLearner: true }),
    ]
    assert.equal(chooseSource(found)?.node, 'cp-01')
  })

  test('may be one under the alarm NOSPACE: what it holds is whole', () => {
    assert.equal(chooseSource([member('cp-02', { errors: ['memberID:1 alarm:NOSPACE'] })])?.node, 'cp-02')
  })

  test('is never a first node that became an empty cluster of its own', () => {
    assert.equal(chooseSource([impostor, silent('cp-02'), silent('cp-03')]), null)
    const found = [
      impostor,
      reached('cp-02', { member: answering('cp-02', { leaderId: MEMBER_IDS[1]! }) }),
      silent('cp-03'),
    ]
    assert.equal(chooseSource(found)?.node, 'cp-02')
    assert.equal(chooseSource(found, ['cp-02']), null)
  })

  test('is never one that failed before, and at last nobody', () => {
    const found = NAMES.map((node) => reached(node))
    assert.equal(chooseSource(found, ['cp-02'])?.node, 'cp-03')
    assert.equal(chooseSource(found, ['cp-02', 'cp-03'])?.node, 'cp-01')
    assert.equal(chooseSource(found, NAMES), null)
  })

  test('does not depend on the order of the survey, and is always a healthy voter without errors', () => {
    const node = fc.record({
      healthy: fc.boolean(),
      isLearner: fc.boolean(),
      errors: fc.constantFrom<string[]>([], [], ['alarm:CORRUPT']),
      applied: fc.integer({ min: 59_990, max: 60_000 }).map(String),
    })
    fc.assert(
      fc.property(fc.tuple(node, node, node), fc.boolean(), (facts, backwards) => {
        const found = NAMES.map((name, index) => {
          const { applied, ...rest } = facts[index]!
          return member(name, { ...rest, raftAppliedIndex: applied })
        })
        const source = chooseSource(found)
        assert.equal(chooseSource(backwards ? found.toReversed() : found)?.node, source?.node)
        const fit = found.filter(
          ({ member: one }) => one.answers && one.healthy && !one.isLearner && one.errors.length === 0,
        )
        assert.equal(source === null, fit.length === 0)
        if (source !== null) assert.ok(fit.includes(source))
        if (fit.some(({ node: name }) => name !== 'cp-01'))
          assert.notEqual(source?.node, 'cp-01', 'the leader last')
      }),
    )
  })
})

describe('why there is no source', () => {
  test('is told for each member that can’t be one, and for no other', () => {
    assert.deepEqual(reasonsAgainstSources(NAMES.map((node) => reached(node))), [])
    const found = [impostor, silent('cp-02'), unreached('cp-03')]
    assert.deepEqual(reasonsAgainstSources(found), [
      'cp-01: its etcd runs as a cluster of its own',
      "cp-02: its etcd doesn't answer: context deadline exceeded",
      'cp-03: connect ETIMEDOUT',
    ])
    const others = [
      lonely('cp-01'),
      reached('cp-02', { member: answering('cp-02', { isLearner: true }) }),
      reached('cp-03', { member: answering('cp-03', { errors: ['alarm:CORRUPT'] }) }),
    ]
    assert.deepEqual(reasonsAgainstSources(others), [
      'cp-01: its etcd answers and has no quorum behind it',
      'cp-02: its etcd is a learner',
      'cp-03: its etcd says alarm:CORRUPT',
    ])
    assert.equal(chooseSource(others), null)
  })
})
