import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { judgeCounts, type Comparison } from '../../domain/validation/object-counts.ts'
import { revision, sha256 } from '../../domain/values.ts'

const REVISION = revision.parse('48000')

function against(kinds: Record<string, number>): Comparison {
  return {
    key: 'daily/s.db',
    takenAt: '2026-11-22T02:00:00Z',
    revision: REVISION,
    inventory: {
      keys: 100,
      leased: 0,
      metadata: sha256.parse('c'.repeat(64)),
      sample: sha256.parse('c'.repeat(64)),
      kinds,
    },
  }
}

/** By kind: how many there are now, and how many of them are younger than the snapshot. */
function judge(
  then: Record<string, number>,
  now: Record<string, readonly [number, number]>,
  at = '1000048100',
): string {
  const kinds = Object.fromEntries(
    Object.entries(now).map(([kind, [count, created]]) => [kind, { now: count, created }]),
  )
  const { verdict, evidence } = judgeCounts(against(then), { revision: revision.parse(at), kinds })
  return `${verdict}: ${evidence}`
}

describe('counts of objects', () => {
  test('that are the same pass, events and leases excepted', () => {
    assert.equal(
      judge(
        { pods: 30, secrets: 5, events: 900, leases: 12 },
        { pods: [30, 0], secrets: [5, 0], events: [3, 3] },
      ),
      'pass: 35 objects of 2 kinds against daily/s.db; none more, none fewer; events and leases excepted',
    )
  })

  test('that changed as pods come and go pass, with the numbers', () => {
    assert.match(
      judge(
        { pods: 30, replicasets: 12, 'services/endpoints': 4 },
        { pods: [31, 6], replicasets: [11, 1], 'services/endpoints': [4, 0] },
      ),
      /^pass: 46 objects .* since then pods: 6 created, 5 deleted, replicasets: 1 created, 2 deleted;/,
    )
  })

  test('of what was created since pass, whatever it is: etcd itself says that it is younger', () => {
    assert.match(
      judge({ secrets: 5 }, { secrets: [7, 2], deployments: [1, 1] }),
      /^pass: .*since then deployments: 1 created, secrets: 2 created/,
    )
  })

  test('of what somebody deleted, and controllers do not by themselves, are a warning', () => {
    assert.match(
      judge({ secrets: 5, pods: 3 }, { secrets: [4, 0], pods: [3, 0] }),
      /^warn: secrets: 1 deleted; otherwise /,
    )
    assert.match(judge({ secrets: 5 }, { secrets: [5, 1] }), /^warn: secrets: 1 created, 1 deleted/)
    assert.match(judge({ configmaps: 1 }, {}), /^warn: configmaps: 1 deleted/)
  })

  test('of a kind that is gone altogether are a failure, but not of jobs that are done', () => {
    assert.match(judge({ secrets: 5, pods: 3 }, { secrets: [5, 0] }), /^fail: pods: all 3 are gone/)
    assert.match(
      judge({ 'argoproj.io/applications': 2 }, {}),
      /^fail: argoproj\.io\/applications: all 2 are gone/,
    )
    assert.match(judge({ jobs: 4, certificatesigningrequests: 6, pods: 1 }, { pods: [1, 0] }), /^pass: /)
  })

  test('of a kind of which more than half is gone are a failure, from ten on', () => {
    assert.match(judge({ secrets: 20 }, { secrets: [9, 0] }), /^fail: secrets: 20 then, 9 now/)
    assert.match(judge({ secrets: 20 }, { secrets: [10, 0] }), /^warn: secrets: 10 deleted/)
    assert.match(judge({ secrets: 4 }, { secrets: [1, 0] }), /^warn: secrets: 3 deleted/)
    assert.match(judge({ pods: 20 }, { pods: [9, 4] }), /^warn: pods: 4 created, 15 deleted/)
  })

  test('of which more are old than the snapshot holds are a warning: the two have different pasts', () => {
    assert.match(
      judge({ secrets: 5 }, { secrets: [8, 1] }),
      /^warn: secrets: 5 then, 8 now, only 1 of them younger/,
    )
  })

  test('at a revision before the snapshot are a failure', () => {
    assert.match(
      judge({ pods: 1 }, { pods: [1, 0] }, '47999'),
      /^fail: the cluster is at revision 47999, before/,
    )
  })

  test('are skipped without a snapshot, and without an inventory', () => {
    const now = { revision: REVISION, kinds: {} }
    assert.deepEqual(judgeCounts({ none: 'there is none' }, now), {
      verdict: 'skipped',
      evidence: 'there is none',
    })
    const without = { ...against({}), inventory: { skipped: 'it was compacted' } }
    assert.match(judgeCounts(without, now).evidence, /daily\/s\.db has no inventory: it was compacted/)
  })

  test('never pass when anything that controllers do not delete was deleted', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 1, max: 500 }),
        fc.nat(500),
        (then, deleted, created) => {
          fc.pre(deleted <= then)
          const text = judge({ secrets: then }, { secrets: [then - deleted + created, created] })
          assert.ok(!text.startsWith('pass'), text)
        },
      ),
    )
  })
})
