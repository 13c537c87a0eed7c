import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, test } from 'node:test'
import { faultsOf, type DrillFault } from '../../domain/drill-faults.ts'
import { lossChecks, measureLoss, timeToEnd, timeToWrite, type Marker } from '../../domain/drill-measure.ts'
import {
  breakSteps,
  chooseDrill,
  drillDigest,
  markCommand,
  planDrill,
  putBackSteps,
  refuseUnlessAllowed,
  refuseUnlessHealthy,
  refuseUnmarked,
} from '../../domain/drill-plan.ts'
import { drillJournal, drillMarkdown } from '../../domain/drill-text.ts'
import { judgeTargets, recoveredOutcome } from '../../domain/drill-verdict.ts'
import { clusterSchema, mostPeople } from '../../domain/cluster-config.ts'
import { RequorumError } from '../../domain/failures.ts'
import { revision } from '../../domain/values.ts'
import { drillSchedule } from '../../scripts/commands/drill-schedule.ts'
import { settingsOf } from '../../scripts/commands/schedule-settings.ts'
import {
  answering,
  clusterConfig,
  MEMBER_IDS,
  NAMES,
  reached,
  RECOVERY,
  SILENT,
  symptoms,
} from './examples.ts'

const ALLOWED = clusterConfig({ drill: { allowed: true } })
const healthy = (leads = 'cp-01') =>
  NAMES.map((node) =>
    reached(node, {
      member: answering(node, { leaderId: MEMBER_IDS[NAMES.indexOf(leads)]! }),
      symptoms: symptoms(),
    }),
  )
const planOf = (fault: DrillFault, leads?: string) =>
  planDrill(ALLOWED, RECOVERY, healthy(leads), chooseDrill(ALLOWED, { fault }))

function code(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (error instanceof RequorumError) return error.code
    throw error
  }
  return 'nothing was thrown'
}

describe('whether a drill may be held', () => {
  test('is said by the cluster file alone, and not without a word', () => {
    assert.equal(
      code(() => refuseUnlessAllowed(clusterConfig())),
      'drill-forbidden',
    )
    assert.equal(
      code(() => refuseUnlessAllowed(clusterConfig({ drill: { allowed: false } }))),
      'drill-forbidden',
    )
    refuseUnlessAllowed(ALLOWED)
  })

  test('and by a mark on every node, made by a command that can be pasted', () => {
    refuseUnmarked(ALLOWED, NAMES)
    assert.equal(
      code(() => refuseUnmarked(ALLOWED, ['cp-01', 'cp-02'])),
      'drill-forbidden',
    )
    assert.equal(spawnSync('sh', ['-n', '-c', markCommand('prod')]).status, 0)
  })

  test('and never of an ill cluster', () => {
    refuseUnlessHealthy(ALLOWED, healthy())
    const [first, second, third] = healthy()
    const ill = [first!, second!, { ...third!, member: SILENT, etcdPids: [] }]
    assert.equal(
      code(() => refuseUnlessHealthy(ALLOWED, ill)),
      'cluster-unhealthy',
    )
  })
})

describe('runbook and fault', () => {
  test('come from what was asked for, else from the file, else the first', () => {
    assert.deepEqual(chooseDrill(ALLOWED, {}), { runbook: 'restoreQuorum', fault: 'lose-quorum' })
    assert.deepEqual(chooseDrill(ALLOWED, { fault: 'lose-leader' }), {
      runbook: 'replaceMember',
      fault: 'lose-leader',
    })
    const own = clusterConfig({ drill: { allowed: true, fault: 'lose-all' } })
    assert.equal(chooseDrill(own, {}).fault, 'lose-all')
    assert.equal(chooseDrill(own, { runbook: 'replaceMember' }).fault, 'lose-member')
  })

  test('have to fit, in the request and in the file', () => {
    assert.equal(
      code(() => chooseDrill(ALLOWED, { runbook: 'replaceMember', fault: 'lose-all' })),
      'input-invalid',
    )
    assert.throws(() => clusterConfig({ drill: { allowed: true, fault: 'lose-leader' } }), /no fault of this/)
  })

  test('are there for both recoveries', () => {
    assert.deepEqual(faultsOf('restoreQuorum'), ['lose-quorum', 'lose-all'])
    assert.deepEqual(faultsOf('replaceMember'), ['lose-member', 'lose-leader'])
  })

  for (const [fault, leads, nodes] of [
    ['lose-quorum', 'cp-01', ['cp-02', 'cp-03']],
    ['lose-all', 'cp-01', NAMES],
    ['lose-member', 'cp-01', ['cp-03']],
    ['lose-member', 'cp-03', ['cp-02']],
    ['lose-leader', 'cp-02', ['cp-02']],
  ] as const) {
    test(`${fault} breaks ${nodes.join(', ')} when ${leads} leads`, () => {
      assert.deepEqual(planOf(fault, leads).nodes, nodes)
    })
  }

  test('a cluster of one has no member to replace', () => {
    const alone = clusterSchema.parse({
      ...{ cluster: 'one', nodes: [{ name: 'cp-01', address: '10.0.1.11' }] },
      store: { bucket: 'etcd-backups', kmsKeyId: 'alias/etcd' },
    })
    const chosen = { runbook: 'replaceMember', fault: 'lose-leader' } as const
    assert.equal(
      code(() => planDrill(alone, RECOVERY, healthy().slice(0, 1), chosen)),
      'input-invalid',
    )
  })
})

describe('the plan of a drill', () => {
  test('only renames, and plants; its way back undoes each of it', () => {
    const plan = planOf('lose-quorum')
    const kinds = (steps: ReturnType<typeof breakSteps>) =>
      steps.map(({ actions }) => [actions[0]?.action.kind, actions.length])
    assert.deepEqual(kinds(breakSteps(plan)), [
      ['stop-pods', 2],
      ['set-aside', 2],
      ['plant-broken-log', 2],
      ['start-pods', 2],
    ])
    assert.deepEqual(kinds(putBackSteps(plan)), [
      ['withdraw-etcd', 2],
      ['put-back', 2],
      ['start-pods', 2],
    ])
  })

  test('is another one when another member leads, where that matters', () => {
    assert.notEqual(drillDigest(planOf('lose-leader', 'cp-01')), drillDigest(planOf('lose-leader', 'cp-02')))
    assert.equal(drillDigest(planOf('lose-quorum', 'cp-01')), drillDigest(planOf('lose-quorum', 'cp-02')))
  })

  test('is told with what is lost, and who is asked again', () => {
    const shown = drillMarkdown(planOf('lose-quorum'))
    assert.match(shown, /what is written after the backup is lost/)
    assert.match(shown, /recovery\/prod/)
    assert.match(shown, /\/var\/lib\/etcd\.drill\.20261122T021400Z/)
  })

  test('every block of commands in its journal is shell', () => {
    const blocks = drillJournal(planOf('lose-all'), '2026-11-22T02:14:00Z').split('```sh\n').slice(1)
    assert.ok(blocks.length >= 8)
    for (const block of blocks) {
      const text = block.split('```')[0] ?? ''
      assert.equal(spawnSync('sh', ['-n', '-c', text]).status, 0, text)
    }
  })
})

const marker = (name: string, at: string, of: number): Marker => ({
  key: `requorum/drill-x/${name}`,
  at: `2026-11-22T02:14:${at}.000Z`,
  revision: revision.parse(String(of)),
})
const BEFORE = [marker('before', '00', 100)]
const AFTER = [marker('after-1', '10', 101), marker('after-2', '11', 102), marker('after-3', '12', 104)]
const ALL = [...BEFORE, ...AFTER]
const BROKEN_AT = '2026-11-22T02:14:20.000Z'

describe('what was lost', () => {
  test('is counted from the first acknowledged write that is gone', () => {
    const there = BEFORE.map(({ key }) => key)
    assert.deepEqual(measureLoss(ALL, there, BROKEN_AT), {
      ...{ seconds: 10, revisions: '4', markersLost: 3, markersWritten: 4 },
    })
  })

  test('is nothing when all is there, whatever is there besides', () => {
    const there = [...ALL.map(({ key }) => key), 'requorum/drill-x/first-write']
    assert.deepEqual(measureLoss(ALL, there, BROKEN_AT), {
      ...{ seconds: 0, revisions: '0', markersLost: 0, markersWritten: 4 },
    })
  })

  test('may be what was written after the backup, and of a replacement nothing', () => {
    const there = BEFORE.map(({ key }) => key)
    const verdictOf = (runbook: 'restoreQuorum' | 'replaceMember', keys: string[]) =>
      lossChecks(runbook, BEFORE, AFTER, keys)[0]?.verdict
    assert.equal(verdictOf('restoreQuorum', there), 'pass')
    assert.equal(verdictOf('restoreQuorum', []), 'fail')
    assert.equal(verdictOf('replaceMember', there), 'fail')
  })
})

describe('how long it took', () => {
  const steps = [
    { title: 'Survey nodes', seconds: 3, outcome: 'done' },
    { title: 'Checkpoint: destroy', seconds: 40, outcome: 'approved' },
    { title: 'Checkpoint: destroy', seconds: 20, outcome: 'approved' },
    { title: 'Checkpoint: accept', seconds: 500, outcome: 'approved' },
  ]

  test('is counted to the first write, and without the waiting for people before it', () => {
    const until = '2026-11-22T02:15:50.000Z'
    assert.deepEqual(timeToWrite(BROKEN_AT, until, steps, 'restoreQuorum'), {
      ...{ seconds: 90, withoutWaiting: 30 },
    })
    assert.deepEqual(timeToWrite(BROKEN_AT, until, steps, 'replaceMember'), {
      ...{ seconds: 90, withoutWaiting: 90 },
    })
    assert.equal(timeToWrite(BROKEN_AT, null, steps, 'restoreQuorum'), null)
  })

  test('and to the end, without any waiting', () => {
    assert.deepEqual(timeToEnd(BROKEN_AT, '2026-11-22T02:24:20.000Z', steps), {
      ...{ seconds: 600, withoutWaiting: 40 },
    })
  })

  test('is held against the targets of the file; what was not measured is not met', () => {
    const config = clusterConfig({ drill: { allowed: true, targets: { rpo: '10s', rto: '25s' } } })
    const loss = measureLoss(ALL, [BEFORE[0]!.key], BROKEN_AT)
    const slow = judgeTargets(config, loss, { seconds: 90, withoutWaiting: 30 })
    assert.deepEqual(
      slow.map(({ name, met }) => [name, met]),
      [
        ['rpo', true],
        ['rto', false],
      ],
    )
    assert.equal(recoveredOutcome(slow, []), 'missed')
    assert.equal(recoveredOutcome(judgeTargets(ALLOWED, loss, null), []), 'passed')
    assert.equal(judgeTargets(config, loss, null)[1]?.met, false)
  })
})

describe('the schedule of drills', () => {
  test('is there only where drills are allowed by themselves', () => {
    assert.equal(drillSchedule(clusterConfig()), null)
    assert.equal(drillSchedule(clusterConfig({ drill: { allowed: true, schedule: 'never' } })), null)
  })

  test('is quarterly unless the file says otherwise, and names the cluster and nothing else', () => {
    const wanted = drillSchedule(ALLOWED)
    assert.ok(wanted !== null)
    assert.equal(wanted.scheduleId, 'drill-prod')
    assert.deepEqual(wanted.action.args, [{ cluster: 'prod' }])
    assert.match(settingsOf(wanted).every, /first Tuesday of January, April, July and October/)
    const monthly = drillSchedule(clusterConfig({ drill: { allowed: true, schedule: '30d' } }))
    assert.equal(monthly === null ? '' : settingsOf(monthly).every, '30d')
  })
})

test('people of the checkpoint `drill` count among those who have to be there', () => {
  assert.equal(mostPeople(clusterConfig({ approval: { drill: { people: 3 } } })), 3)
})
