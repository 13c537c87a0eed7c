import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { quotaOf } from '../../domain/etcd-manifest.ts'
import {
  reliefDigest,
  nextToDefragment,
  planRelief,
  reasonsAgainstFreeing,
  tooTightToDefragment,
  type ReliefPlan,
} from '../../domain/relief-plan.ts'
import { reliefJournal, reliefMarkdown } from '../../domain/relief-text.ts'
import { freedMembers, reliefOutcome, spaceWarnings } from '../../domain/relief-verdict.ts'
import { localCopiesToPrune } from '../../domain/retention.ts'
import { revision, sha256 } from '../../domain/values.ts'
import { check } from '../../domain/verdict.ts'
import {
  answering,
  clusterConfig,
  HOSTS,
  kubeadmManifest,
  MEMBER_IDS,
  NAMES,
  reached,
  RECOVERY,
  symptoms,
} from './examples.ts'

const config = clusterConfig()
const copy: ReliefPlan['copy'] = {
  node: 'cp-02',
  path: `/var/lib/etcd-backups/before-compaction-${RECOVERY}.db`,
  sha256: sha256.parse('d'.repeat(64)),
  sizeBytes: 25_000_032,
  revision: revision.parse('48211'),
}
const plan = planRelief(config, RECOVERY, copy)
const healthy = NAMES.map((node) => reached(node))
const GIB = 1024 ** 3

describe('the plan', () => {
  test('compacts to what was copied and no further, and defragments every member', () => {
    assert.deepEqual(
      plan.compact.actions.map(({ node, action }) => [
        node,
        action.kind === 'compact' ? action.revision : '',
      ]),
      [['cp-02', '48211']],
    )
    assert.deepEqual(
      plan.defragment.actions.map(({ node, action }) => [node, action.kind]),
      NAMES.map((node) => [node, 'defragment']),
    )
  })

  test('has a digest of what will be done: another copy, node or address is another plan', () => {
    const digest = reliefDigest(plan)
    assert.equal(reliefDigest(planRelief(config, RECOVERY, { ...copy })), digest)
    const moved = { ...config, nodes: config.nodes.map((node) => ({ ...node, address: '10.9.9.9' })) }
    for (const other of [
      planRelief(config, RECOVERY, { ...copy, revision: revision.parse('48212') }),
      planRelief(config, RECOVERY, { ...copy, node: 'cp-03' }),
      planRelief(moved, RECOVERY, copy),
      planRelief({ ...config, nodes: config.nodes.slice(1) }, RECOVERY, copy),
    ]) {
      assert.notEqual(reliefDigest(other), digest)
    }
  })

  test('takes every member once, and the leader last at every turn, however leadership wanders', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...NAMES, null), { minLength: 3, maxLength: 3 }), (leaders) => {
        const done: string[] = []
        for (const leader of leaders) {
          const next = nextToDefragment(plan, leader, done)
          assert.ok(next !== null && !done.includes(next.node))
          if (next.node === leader) assert.equal(done.length, NAMES.length - 1)
          done.push(next.node)
        }
        assert.equal(nextToDefragment(plan, null, done), null)
      }),
    )
  })

  test('keeps the copy under a name that no backup prunes', () => {
    const file = copy.path.slice(copy.path.lastIndexOf('/') + 1)
    assert.deepEqual(localCopiesToPrune([file], [{ key: `daily/${file}` }], 0), [])
  })
})

describe('what a person reads', () => {
  const tight = HOSTS.map(({ name }) =>
    reached(name, {
      member: answering(name, {
        dbSizeBytes: 2 * GIB,
        dbSizeInUseBytes: GIB / 2,
        errors: [`memberID:${BigInt(`0x${MEMBER_IDS[1]!}`)} alarm:NOSPACE `],
      }),
    }),
  )

  test('has each member with its sizes, its quota and its alarm', () => {
    const text = reliefMarkdown(plan, tight)
    assert.ok(text.includes(`(plan ${reliefDigest(plan).slice(0, 8)})`))
    assert.match(text, /\| cp-01 \| 2\.0 GiB \| 512 MiB \| 1\.5 GiB \| 2\.0 GiB \(100 % taken\) \| leads \|/)
    assert.match(text, /\| cp-02 \| .* \| \*\*NOSPACE\*\* \|/)
    assert.match(text, /no way back from a compaction/)
  })

  test('is a journal whose commands a shell takes as they stand', () => {
    const commands = reliefJournal(config, plan, '2026-11-22T02:14:00Z').split('```')
    for (const block of [commands[1], commands[3]]) {
      assert.equal(spawnSync('sh', ['-n'], { input: (block ?? '').replace(/^sh\n/, '') }).status, 0)
    }
    assert.match(commands[1] ?? '', /compact --physical 48211/)
    assert.equal((commands[1] ?? '').match(/ defrag$/gm)?.length, NAMES.length)
  })
})

describe('room is made', () => {
  test('where all are well, with or without the alarm', () => {
    assert.deepEqual(reasonsAgainstFreeing(config, healthy), [])
    const errors = [`memberID:1 alarm:NOSPACE `]
    const full = NAMES.map((node) => reached(node, { member: answering(node, { errors }) }))
    assert.deepEqual(reasonsAgainstFreeing(config, full), [])
  })

  test('not where a member says that its database does not open', () => {
    const errors = ['etcdserver: corrupt cluster']
    const ill = [...healthy.slice(0, 2), reached('cp-03', { member: answering('cp-03', { errors }) })]
    assert.deepEqual(reasonsAgainstFreeing(config, ill), ['cp-03 says etcdserver: corrupt cluster'])
  })

  test('not where a disk has no room for the new file; the disk below the data is what counts', () => {
    const dataDisk = { ...symptoms().dataDisk, freeBytes: 80_000_000 }
    const tight = [...healthy.slice(0, 2), reached('cp-03', { symptoms: symptoms({ dataDisk }) })]
    assert.deepEqual(tooTightToDefragment(tight), [
      { node: 'cp-03', freeBytes: 80_000_000, neededBytes: 20_000_000 + 64 * 1_048_576 },
    ])
    assert.deepEqual(tooTightToDefragment(healthy), [])
  })
})

describe('the verdict', () => {
  const seen = [
    { node: 'cp-01', dbSizeBytes: 100, dbSizeInUseBytes: 50, quotaBytes: 110, leads: true, alarm: false },
    { node: 'cp-02', dbSizeBytes: 100, dbSizeInUseBytes: 50, quotaBytes: null, leads: false, alarm: false },
  ].map((one) => ({ ...one, revision: copy.revision }))

  test('has the members in their order, with what each gave back', () => {
    const after = seen.map(({ node }) => ({
      node,
      dbSizeBytes: node === 'cp-01' ? 90 : 130,
      dbSizeInUseBytes: 1,
    }))
    const members = freedMembers(['cp-02', 'cp-01'], seen, after)
    assert.deepEqual(
      members.map(({ node, gainedBytes }) => [node, gainedBytes]),
      [
        ['cp-02', -30],
        ['cp-01', 10],
      ],
    )
    assert.deepEqual(spaceWarnings(members).length, 1)
    assert.match(spaceWarnings(members)[0] ?? '', /^cp-01 still has 82 % of its quota/)
  })

  test('tells content that is too big from a cluster that is ill', () => {
    const refused = check(
      'write-probe',
      false,
      'through cp-01 none went: etcdserver: mvcc: database space exceeded',
    )
    assert.equal(reliefOutcome([check('members', true, '3 voters')]), 'freed')
    assert.equal(reliefOutcome([refused]), 'still-full')
    assert.equal(reliefOutcome([check('alarms', false, 'NOSPACE on cp-02')]), 'still-full')
    assert.equal(reliefOutcome([check('hashes', false, 'cp-01 a, cp-02 b')]), 'unhealthy')
  })
})

test('the quota is the manifest’s: its own, etcd’s default, or none', () => {
  const withQuota = (bytes: string): string =>
    kubeadmManifest('cp-01').replace('    - etcd\n', `    - etcd\n    - --quota-backend-bytes=${bytes}\n`)
  assert.equal(quotaOf(withQuota('8589934592')), 8 * GIB)
  assert.equal(quotaOf(withQuota('0')), 2 * GIB)
  assert.equal(quotaOf(kubeadmManifest('cp-01')), 2 * GIB)
  assert.equal(quotaOf(withQuota('-1')), null)
  assert.equal(quotaOf(null), 2 * GIB)
})
