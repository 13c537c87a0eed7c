import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  cleanUpDigest,
  judgeAside,
  planCleanUp,
  reasonsAgainstCleanUp,
  removesNothing,
  type AsideFound,
  type JudgedAside,
  type NodeAside,
  type RecoveryMarks,
} from '../../domain/clean-up-plan.ts'
import { cleanUpJournal, cleanUpMarkdown } from '../../domain/clean-up-text.ts'
import { etcdId } from '../../domain/values.ts'
import {
  answering,
  clusterConfig,
  NAMES,
  reached,
  RECOVERY,
  snapshotOf,
  symptoms,
  unreached,
} from './examples.ts'

const config = clusterConfig()
const OWN = '20261201T000000Z-00000000'
const TIME = '20261122T021400Z'
const OLD = `/var/lib/etcd.corrupt.${TIME}`
const RECORD = `/var/lib/requorum/recoveries/${RECOVERY}`
const DAY = 86_400_000
const ENDED: RecoveryMarks = {
  recovery: RECOVERY,
  opened: '2026-11-22T02:20:00Z revision 5',
  removed: null,
  ended: '2026-11-22T02:25:00Z opened',
}

const well = NAMES.map((node) => reached(node, { member: answering(node), symptoms: symptoms() }))
const entry = (path: string, differs: Partial<AsideFound> = {}): AsideFound => ({
  path,
  seen: '12:1700000000',
  bytes: 1_000,
  odd: null,
  ...differs,
})

function judged(
  entries: readonly AsideFound[],
  {
    marks = [ENDED],
    now = '2026-11-30T00:00:00.000Z',
    olderThanMs = 7 * DAY,
    takenAt = '2026-11-29T20:00:00.000Z',
    differs = {},
  }: {
    marks?: readonly RecoveryMarks[]
    now?: string
    olderThanMs?: number
    takenAt?: string
    differs?: Record<string, unknown>
  } = {},
): JudgedAside[] {
  const found = [{ node: 'cp-01', dataDir: '/var/lib/etcd', entries, recoveries: marks }]
  const proved = [snapshotOf(takenAt, differs)]
  return judgeAside(config, OWN, found, { now, olderThanMs, proved, survey: well })
}
const why = (...args: Parameters<typeof judged>) => judged(...args).map(({ keep }) => keep)

describe('what was set aside', () => {
  test('goes when its recovery ended long ago and a newer snapshot is proved', () => {
    assert.deepEqual(
      judged([
        ...['corrupt', 'undone', 'restore', 'rolledback'].map((kind) =>
          entry(`/var/lib/etcd.${kind}.${TIME}`),
        ),
        entry(`/var/lib/etcd-backups/before-compaction-${RECOVERY}.db`),
        entry(RECORD),
      ]).map(({ kind, recovery, keep }) => [kind, recovery, keep]),
      [...['data', 'data', 'data', 'data', 'copy', 'record'].map((kind) => [kind, RECOVERY, null])],
    )
  })

  test('stays while it is young: since its cluster was open again, or its run ended, whatever is later', () => {
    assert.match(
      why([entry(OLD)], { now: '2026-11-29T02:24:00.000Z' })[0] ?? '',
      /7 d ago, and 7 d are asked for/,
    )
    assert.deepEqual(
      why([entry(OLD)], { now: '2026-11-29T02:26:00.000Z', takenAt: '2026-11-29T00:00:00.000Z' }),
      [null],
    )
    assert.deepEqual(
      why([entry(OLD)], {
        now: '2026-11-22T03:00:00.000Z',
        olderThanMs: 0,
        takenAt: '2026-11-22T02:21:00.000Z',
      }),
      [null],
    )
  })

  test('stays while its recovery has not ended, or nobody knows it', () => {
    assert.match(why([entry(OLD)], { marks: [{ ...ENDED, ended: null }] })[0] ?? '', /has not ended/)
    assert.match(why([entry(RECORD)], { marks: [{ ...ENDED, ended: null }] })[0] ?? '', /has not ended/)
    assert.match(why([entry(OLD)], { marks: [] })[0] ?? '', /no node knows/)
  })

  test('stays without a newer proved snapshot of the cluster that lives', () => {
    assert.match(why([entry(OLD)], { takenAt: '2026-11-22T02:19:00.000Z' })[0] ?? '', /no proved snapshot/)
    const etcd = { version: '3.5.16', clusterId: etcdId.parse('00000000deadbeef'), members: [] }
    assert.match(why([entry(OLD)], { differs: { etcd } })[0] ?? '', /no proved snapshot/)
  })

  test('stays when it is odd, whatever else is so', () => {
    assert.deepEqual(why([entry(OLD, { odd: 'it is a mount point, or holds one' })]), [
      'it is a mount point, or holds one',
    ])
  })

  test('under another name is not even listed, the own directory and the live data included', () => {
    assert.deepEqual(
      judged(
        [
          '/var/lib/etcd',
          '/var/lib/etcd.old',
          '/var/lib/etcd.corrupt.yesterday',
          `/var/lib/etcd.corrupt.${TIME}.tar`,
          `/var/lib/etcd.corrupt.${TIME}/member`,
          '/var/lib/etcd-backups/snapshot-20261122T020000Z.db',
          `/var/lib/etcd-backups/../etcd.corrupt.${TIME}`,
          `/var/lib/requorum/recoveries/${OWN}`,
          '/var/lib/requorum/recoveries/..',
        ].map((path) => entry(path)),
      ),
      [],
    )
  })

  test('half removed by an earlier run is as what it was', () => {
    assert.deepEqual(why([entry(`${OLD}.removing`)]), [null])
  })

  test('too late is of the recovery that had begun last', () => {
    const [one] = judged([entry('/var/lib/etcd.late.20261122T021530Z')])
    assert.deepEqual([one?.recovery, one?.keep], [RECOVERY, null])
  })

  test('of a recovery keeps its manifests as long as some of it stays, on any node', () => {
    const recoveries = [ENDED]
    const on = (node: string, entries: AsideFound[]): NodeAside => ({
      node,
      dataDir: '/var/lib/etcd',
      entries,
      recoveries,
    })
    const found = [on('cp-01', [entry(RECORD)]), on('cp-02', [entry(OLD, { odd: 'it is a symbolic link' })])]
    const rules = {
      now: '2026-11-30T00:00:00.000Z',
      olderThanMs: 0,
      proved: [snapshotOf('2026-11-29T20:00:00.000Z')],
      survey: well,
    }
    assert.deepEqual(
      judgeAside(config, OWN, found, rules).map(({ keep }) => keep),
      ['data of its recovery is kept', 'it is a symbolic link'],
    )
  })
})

describe('the plan', () => {
  const found = (differs: Partial<AsideFound> = {}): NodeAside[] =>
    NAMES.map((node) => ({
      node,
      dataDir: '/var/lib/etcd',
      entries: [entry(OLD, differs), entry(RECORD)],
      recoveries: [ENDED],
    }))
  const planOf = (aside: NodeAside[]) => {
    const rules = {
      now: '2026-11-30T00:00:00.000Z',
      olderThanMs: 0,
      proved: [snapshotOf('2026-11-29T20:00:00.000Z')],
      survey: well,
    }
    const all = judgeAside(config, OWN, aside, rules)
    return { plan: planCleanUp(config, OWN, aside, all), all }
  }

  test('removes data on all nodes before what was kept of it', () => {
    const { plan } = planOf(found())
    assert.deepEqual(
      plan.remove.actions.map(({ node }) => node),
      NAMES,
    )
    assert.deepEqual(plan.forget.actions[0]?.action, {
      kind: 'remove-aside',
      dataDir: '/var/lib/etcd',
      backups: '/var/lib/etcd-backups',
      items: [{ path: RECORD, seen: '12:1700000000' }],
    })
  })

  test('has a digest over what is removed as it was seen, and not over its size', () => {
    const digest = cleanUpDigest(planOf(found()).plan)
    assert.equal(cleanUpDigest(planOf(found({ bytes: 7 })).plan), digest)
    assert.notEqual(cleanUpDigest(planOf(found({ seen: '13:1700000000' })).plan), digest)
    assert.ok(removesNothing(planOf([]).plan))
  })

  test('says what goes, how much, and what stays and why', () => {
    const { plan, all } = planOf(found())
    const odd = { ...all[0]!, keep: 'it is a symbolic link' }
    const shows = cleanUpMarkdown(plan, [...all.slice(1), odd], '2026-11-30T00:00:00.000Z')
    assert.match(shows, /Gone for good: 4\.9 KiB on 3 nodes/)
    assert.match(
      shows,
      /\| cp-02 \| `\/var\/lib\/etcd\.corrupt\.20261122T021400Z` \| 1000 B \| 8 d \| 20261122T021400Z-3fa9c1d2 \|/,
    )
    assert.match(shows, /- cp-01 `\S+`, 1000 B: it is a symbolic link\./)
    assert.match(
      cleanUpJournal(plan, '2026-11-30T00:00:00Z'),
      /# on cp-01\nrm -rf --one-file-system \/var\/lib\/etcd\.corrupt/,
    )
  })
})

describe('a cluster', () => {
  test('that is well may be cleaned up', () => {
    assert.deepEqual(reasonsAgainstCleanUp(config, well), [])
  })
  test('with a member that is not may not, an alarm NOSPACE included', () => {
    assert.match(reasonsAgainstCleanUp(config, [...well.slice(0, 2), unreached('cp-03')]).join(), /cp-03/)
    const full = well.map((one) => ({
      ...one,
      member: answering(one.node, { errors: ['memberID:10276657743932975437 alarm:NOSPACE '] }),
    }))
    assert.match(reasonsAgainstCleanUp(config, full).join(), /NOSPACE/)
  })
})
