import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { RequorumError } from '../../domain/failures.ts'
import { digestOfWhole } from '../../domain/plan-step.ts'
import type { RecordedRecovery, RestoreRecord } from '../../domain/recovery-record.ts'
import { planRestore } from '../../domain/restore-plan.ts'
import { chooseRestore, clusterIdBefore } from '../../domain/roll-back-choice.ts'
import {
  backToRestored,
  differencesFromBefore,
  planRollBack,
  rollBackDigest,
  rollBackSteps,
  type BeforeRestore,
} from '../../domain/roll-back-plan.ts'
import { lossSinceOpened, rollBackJournal, rollBackMarkdown } from '../../domain/roll-back-text.ts'
import { lineageSchema } from '../../domain/snapshot.ts'
import { etcdId, revision } from '../../domain/values.ts'
import {
  answering,
  CLUSTER_ID,
  clusterConfig,
  NAMES,
  quorumLost,
  reached,
  RECOVERY,
  snapshotOf,
} from './examples.ts'

const config = clusterConfig()
const OWN = '20261122T060000Z-0a0b0c0d'
const PODS = ['etcd', 'kube-apiserver']
const snapshot = snapshotOf('2026-11-22T02:00:00.000Z')
const record: RestoreRecord = {
  version: 1,
  runbook: 'restoreQuorum',
  cluster: config.cluster,
  recovery: RECOVERY,
  owner: 'recovery/prod/1',
  startedAt: '2026-11-22T02:15:00.000Z',
  plan: planRestore(config, RECOVERY, quorumLost({ staticPods: PODS }), snapshot),
  snapshot,
}
const opened = '2026-11-22T02:20:00.000Z revision 1000048000, cluster 00c0ffee00c0ffee'
const alive = NAMES.map((node) => reached(node, { member: answering(node), staticPods: PODS }))
const manifest = (pod: string) => ({ pod, sha256: pod.padEnd(64, '0'), owner: '0:0', mode: '600' })
const facts = (differs: Partial<BeforeRestore> = {}): BeforeRestore[] =>
  NAMES.map((node) => ({
    node,
    asideInode: '42',
    wasAbsent: false,
    dataInode: '77',
    kept: PODS.map(manifest),
    manifests: PODS.map(manifest),
    ...differs,
  }))
const planOf = (seen = facts(), survey = alive) =>
  planRollBack(config, OWN, { record, opened }, survey, seen, { key: 'daily/x.db' })
const refusal = (work: () => unknown): RequorumError => {
  try {
    work()
  } catch (error) {
    if (error instanceof RequorumError) return error
    throw error
  }
  throw new Error('it was not refused')
}

describe('which restore', () => {
  const known = (recovery: string, marks: RecordedRecovery['marks'], digest = 'abc'): RecordedRecovery => ({
    recovery,
    runbook: 'restoreQuorum',
    owner: '',
    startedAt: '',
    digest,
    marks,
    lastDone: '',
  })
  const everywhere = (...recorded: RecordedRecovery[]) => NAMES.map((node) => ({ node, recorded }))
  const A = '20261120T000000Z-00000001'
  const B = '20261121T000000Z-00000002'

  test('is the one opened last, or the named one; one that was undone is none', () => {
    const both = everywhere(
      known('20261122T000000Z-00000003', { ended: 'undone' }),
      known(B, { opened, ended: 'opened' }),
      known(A, { opened }),
    )
    assert.equal(chooseRestore(config, both).recovery, B)
    assert.deepEqual(chooseRestore(config, both, A), { recovery: A, digest: 'abc', opened })
  })

  test('is none while a newer one is neither open nor ended', () => {
    const { code, message } = refusal(() =>
      chooseRestore(config, everywhere(known(B, {}), known(A, { opened }))),
    )
    assert.equal(code, 'nothing-to-roll-back')
    assert.match(message, /requorum adopt/)
  })

  test('is open when one node says so, and refused when nodes know another plan or none', () => {
    const [first, ...others] = everywhere(known(A, {}))
    assert.ok(first)
    assert.equal(
      chooseRestore(config, [{ ...first, recorded: [known(A, { opened })] }, ...others]).recovery,
      A,
    )
    const differ = [{ ...first, recorded: [known(A, { opened }, 'other')] }, ...others]
    assert.match(refusal(() => chooseRestore(config, differ)).message, /do not know the same/)
    const missing = [{ ...first, recorded: [] }, ...everywhere(known(A, { opened })).slice(1)]
    assert.match(refusal(() => chooseRestore(config, missing)).message, /cp-01 has no record of it/)
    assert.match(refusal(() => chooseRestore(config, [])).message, /No restore of \S+ was opened/)
  })
})

describe('the plan', () => {
  test('stops, sets the restored data aside, takes the old back, and returns etcd before the rest', () => {
    const plan = planOf()
    assert.deepEqual(
      rollBackSteps(plan).map(
        ({ title, actions }) => `${title}: ${actions[0]?.action.kind ?? ''} ×${actions.length}`,
      ),
      [
        'Stop the restored cluster: stop-pods ×3',
        'Set the restored data aside: set-aside ×3',
        'Take the old data back: take-back ×3',
        'Start the old etcd: return-pods ×3',
        'Start all else as it was: return-pods ×3',
      ],
    )
    const directory = `/var/lib/requorum/recoveries/${OWN}`
    assert.deepEqual(plan.startEtcd.actions[0]?.action, {
      kind: 'return-pods',
      pods: [{ pod: 'etcd', sha256: manifest('etcd').sha256 }],
      from: `/var/lib/requorum/recoveries/${RECOVERY}/manifests`,
      to: '/etc/kubernetes/manifests',
      started: `${directory}/etcd-started`,
    })
  })

  test('has a digest over what was seen: another directory of that name is another plan', () => {
    assert.equal(rollBackDigest(planOf()), rollBackDigest(planOf(facts({ dataInode: '78' }))))
    assert.notEqual(rollBackDigest(planOf()), rollBackDigest(planOf(facts({ asideInode: '43' }))))
  })

  test('goes back in reverse, the old data to where it lay', () => {
    assert.deepEqual(
      backToRestored(planOf()).map(({ actions }) => actions[0]?.action),
      [
        {
          kind: 'withdraw-etcd',
          kept: `/var/lib/requorum/recoveries/${OWN}/manifests/etcd.yaml`,
          from: '/etc/kubernetes/manifests',
          to: `/var/lib/requorum/recoveries/${OWN}/manifests.undone`,
          dataDir: '/var/lib/etcd',
        },
        {
          kind: 'put-back',
          aside: '/var/lib/etcd.rolledback.20261122T060000Z',
          dataDir: '/var/lib/etcd',
          undone: '/var/lib/etcd.corrupt.20261122T021400Z',
          absent: `/var/lib/requorum/recoveries/${OWN}/data-was-absent`,
        },
        {
          kind: 'start-pods',
          pods: ['etcd', 'kube-apiserver'],
          from: `/var/lib/requorum/recoveries/${OWN}/manifests`,
          to: '/etc/kubernetes/manifests',
        },
      ],
    )
    const [, back] = backToRestored(planOf(facts({ asideInode: null, wasAbsent: true })))
    const action = back?.actions[0]?.action
    assert.ok(action?.kind === 'put-back')
    assert.equal(action.undone, '/var/lib/etcd.undone.20261122T060000Z')
  })

  test('is refused where data or manifests of before are gone, or lie elsewhere now', () => {
    for (const [differs, words] of [
      [{ asideInode: null }, /etcd\.corrupt\.20261122T021400Z is not on cp-01 any more/],
      [{ kept: [manifest('etcd')] }, /manifests of kube-apiserver are not kept on cp-01/],
    ] as const) {
      const { code, message } = refusal(() => planOf(facts(differs)))
      assert.equal(code, 'nothing-to-roll-back')
      assert.match(message, words)
    }
    const elsewhere = { ...config, etcd: { ...config.etcd, manifests: '/etc/elsewhere' } }
    const plan = () => planRollBack(elsewhere, OWN, { record, opened }, alive, facts(), { key: 'x' })
    assert.match(refusal(plan).message, /elsewhere now/)
  })

  test('says what is lost, what is waived, and how it is done by hand', () => {
    const loss = lossSinceOpened(
      record,
      opened.split(' ')[0] ?? '',
      alive.map((one) => ({
        ...one,
        member: answering(one.node, { revision: revision.parse('9000000000') }),
      })),
      '2026-11-22T04:20:00.000Z',
    )
    assert.equal(loss.seconds, 7_200)
    assert.ok(BigInt(loss.revisions ?? '0') > 0n)
    const plan = { ...planOf(), backup: { waived: 'no member is well' } }
    const shows = rollBackMarkdown(plan, loss)
    assert.match(
      shows,
      /Lost: everything written since it was opened at 2026-11-22T02:20:00\.000Z, 2\.0 h\*\* \(\d+ revisions so far\)/,
    )
    assert.match(shows, /No backup before\*\*: no member is well/)
    const journal = rollBackJournal(plan, 'cp-01', '2026-11-22T06:00:00Z')
    assert.match(journal, /mv -T \/var\/lib\/etcd\.corrupt\.20261122T021400Z \/var\/lib\/etcd\n/)
    assert.match(journal, /## Go back to the restored cluster by hand/)
    assert.doesNotMatch(journal, /undefined/)
    assert.equal(digestOfWhole(plan), rollBackDigest(plan))
  })
})

describe('afterwards', () => {
  test('all is what it was when directory, bytes, owner and mode are', () => {
    assert.deepEqual(differencesFromBefore(planOf(), facts({ asideInode: null, dataInode: '42' })), [])
    const odd = facts({
      dataInode: '42',
      manifests: [{ ...manifest('etcd'), mode: '644' }, manifest('kube-apiserver')],
    })
    assert.match(
      differencesFromBefore(planOf(), odd).join(),
      /the manifest etcd of cp-01 is not what was kept/,
    )
    assert.match(differencesFromBefore(planOf(), facts()).join(), /data directory of cp-02 is not the one/)
  })

  test('the cluster has the ID of before: the snapshot’s, or that of a restore since the snapshot', () => {
    assert.equal(clusterIdBefore(record, []), CLUSTER_ID)
    const since = (openedAt: string, recovery = 'x') =>
      lineageSchema.parse({
        version: 1,
        cluster: config.cluster,
        recovery,
        openedAt,
        previousClusterId: CLUSTER_ID,
        clusterId: '00000000deadbeef',
      })
    assert.equal(
      clusterIdBefore(record, [since('2026-11-22T02:10:00.000Z')]),
      etcdId.parse('00000000deadbeef'),
    )
    assert.equal(clusterIdBefore(record, [since('2026-11-21T02:10:00.000Z')]), CLUSTER_ID)
    assert.equal(clusterIdBefore(record, [since('2026-11-22T02:10:00.000Z', RECOVERY)]), CLUSTER_ID)
  })
})
