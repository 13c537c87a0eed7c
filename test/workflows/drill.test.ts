import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { ReachedNode } from '../../domain/survey.ts'
import type { DrillVerdict } from '../../domain/drill-verdict.ts'
import type { ReplaceVerdict, RestoreVerdict } from '../../domain/verdict.ts'
import { symptoms } from '../unit/examples.ts'
import { Engine, type RestoreRun } from './engine.ts'
import type { Asked, ModelCluster } from './model-cluster.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

const LAST_WORDS = 'discovery failed: walpb: crc mismatch'

/** Healthy, and marked for drills unless told otherwise. */
function marked(drill: object = { allowed: true }, approval: object = {}): ModelCluster {
  const model = engine.cluster({ drill, approval })
  model.quorum = true
  model.nodes.get('cp-03')!.data = 'data of cp-03'
  model.seen = (found): ReachedNode => {
    const broken = model.nodes.get(found.node)?.data === 'a broken log'
    const log = { restarts: 3, fatal: LAST_WORDS, fatalBefore: LAST_WORDS }
    return {
      ...found,
      ...(found.member.answers && model.quorum && found.member.clusterId !== undefined
        ? { member: { ...found.member, members: model.members } }
        : {}),
      symptoms: symptoms(broken ? { etcdLog: log, etcdAgeSeconds: null, etcdState: null } : {}),
    }
  }
  return model
}

const actions = (model: ModelCluster): string[] =>
  model
    .outline()
    .filter((line) => line.startsWith('performAction'))
    .map((line) => line.replace('performAction: ', ''))

const BREAK = ['stop-pods etcd', 'set-aside', 'plant-broken-log', 'start-pods etcd']
const times = (count: number) => (line: string) => (count === 1 ? line : `${line} ×${count}`)
const PUT_BACK = ['withdraw-etcd', 'put-back', 'start-pods etcd']

async function consented(model: ModelCluster, input: object = {}): Promise<RestoreRun<DrillVerdict>> {
  const run = await engine.drill(model, input)
  await run.decide(await run.checkpoint('drill'), 'approve')
  return run
}

/** The recovery that the drill starts, as soon as it is there. */
async function recoveryOf<Verdict = RestoreVerdict>(model: ModelCluster): Promise<RestoreRun<Verdict>> {
  const recovery = engine.recovery<Verdict>(model)
  for (;;) {
    const there = await recovery.progress().then(
      () => true,
      () => false,
    )
    if (there) return recovery
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

describe('a drill is refused', () => {
  test('by a cluster file that does not allow it, before any node is looked at', async () => {
    const model = marked({})
    const { code, message } = await (await engine.drill(model)).failure()
    assert.equal(code, 'drill-forbidden')
    assert.match(message, /not marked for drills/)
    assert.deepEqual(model.outline(), ['loadCluster'])
  })

  test('by a node without the mark of this cluster, before anything is surveyed', async () => {
    const model = marked()
    model.marked = ['cp-01', 'cp-03']
    const { code, message } = await (await engine.drill(model)).failure()
    assert.equal(code, 'drill-forbidden')
    assert.match(message, /cp-02 of .* is not marked/)
    assert.match(message, /echo t\d+ >>\/var\/lib\/requorum\/drills-allowed/)
    assert.deepEqual(model.outline(), ['loadCluster', 'markedForDrills'])
  })

  for (const input of [{ allowed: true }, { drill: { allowed: true } }, { fault: 'lose-everything' }]) {
    test(`to whoever sends ${JSON.stringify(input)}`, async () => {
      const model = marked({})
      assert.equal((await (await engine.drill(model, input)).failure()).code, 'input-invalid')
      assert.deepEqual(model.outline(), [])
    })
  }

  test('on a cluster that is ill', async () => {
    const model = marked()
    model.outOfSpace = ['cp-02']
    const { code, message } = await (await engine.drill(model)).failure()
    assert.equal(code, 'cluster-unhealthy')
    assert.match(message, /NOSPACE/)
    assert.deepEqual(actions(model), [])
  })

  test('when the mark was taken away while people were waited for', async () => {
    const model = marked()
    const run = await engine.drill(model)
    const waiting = await run.checkpoint('drill')
    model.marked = []
    await run.decide(waiting, 'approve')
    assert.equal((await run.failure()).code, 'drill-forbidden')
    assert.deepEqual(actions(model), [])
  })

  test('under another workflow ID than its own', async () => {
    const model = marked()
    const end = await engine.run('drill', `mine/${model.name}`, { cluster: model.name })
    assert.ok(end.ended === 'failed' && end.code === 'wrong-workflow-id', JSON.stringify(end))
  })
})

for (const [how, outcome] of [
  ['refused', 'refused'],
  ['not answered', 'timed-out'],
] as const) {
  test(`a drill that is ${how} has touched nothing, not even taken a backup`, async () => {
    const model = marked()
    const live = model.live()
    const run = await engine.drill(model)
    const waiting = await run.checkpoint('drill')
    if (how === 'refused') await run.decide(waiting, 'refuse')
    assert.equal((await run.verdict()).outcome, outcome)
    assert.deepEqual(model.live(), live)
    for (const one of ['performAction', 'saveSnapshot', 'writeMarkers', 'lockNode'] as const) {
      assert.deepEqual(model.begun(one), [], one)
    }
  })
}

describe('a drill of restoreQuorum', () => {
  test('backs up, marks, breaks a majority, and has it restored with consents of its own', async () => {
    const model = marked()
    const run = await engine.drill(model)
    const waiting = await run.checkpoint('drill')
    assert.deepEqual(actions(model), [], 'nothing before the consent')
    assert.match(waiting.shows, /cp-02, cp-03/)
    assert.match(waiting.approve, /drill\/t\d+/)
    await run.decide(waiting, 'approve')
    const recovery = await recoveryOf(model)
    await recovery.approveAll()
    const verdict = await run.verdict()

    assert.equal(verdict.outcome, 'passed', JSON.stringify(verdict))
    assert.deepEqual(actions(model).slice(0, 4), BREAK.map(times(2)))
    const begun = model.outline().map((line) => line.replace(/ ×\d+$/, ''))
    const order = [
      'writeMarkers: before',
      'commitSnapshot: daily',
      'writeMarkers: after-1 after-2 after-3 after-4 after-5',
      'writeJournal',
      'performAction: stop-pods etcd',
      'performAction: restore',
      'findMarkers',
      'removeMarkers',
    ]
    const at = order.map((line) => begun.indexOf(line))
    assert.deepEqual(
      at,
      at.toSorted((a, b) => a - b),
      begun.join('\n'),
    )
    assert.ok(!at.includes(-1), begun.join('\n'))

    assert.deepEqual(verdict.nodes, ['cp-02', 'cp-03'])
    assert.deepEqual([verdict.rpo?.markersWritten, verdict.rpo?.markersLost], [6, 5])
    assert.ok(verdict.rto !== null && verdict.whole !== null)
    assert.ok(verdict.rto.withoutWaiting <= verdict.rto.seconds)
    assert.deepEqual(
      verdict.approvals.map(({ checkpoint }) => checkpoint),
      ['drill: approved', 'destroy: approved', 'accept: approved'],
    )
    for (const node of model.nodes.values()) assert.equal(node.lock, null)
    assert.equal(model.markers.size, 0)
  })

  for (const [how, outcome] of [
    ['refused', 'refused'],
    ['not answered', 'timed-out'],
  ] as const) {
    test(`whose recovery is ${how} puts back what it broke`, async () => {
      const model = marked({ allowed: true }, { destroy: { timeout: '20s' } })
      const live = model.live()
      const run = await consented(model)
      const recovery = await recoveryOf(model)
      if (how === 'refused') await recovery.decide(await recovery.checkpoint('destroy'), 'refuse')
      const verdict = await run.verdict()
      assert.equal(verdict.outcome, 'put-back')
      assert.equal(verdict.recovered?.outcome, outcome)
      assert.equal(verdict.todo, null)
      assert.deepEqual(actions(model), [...BREAK, ...PUT_BACK].map(times(2)))
      assert.deepEqual(model.live(), live)
    })
  }

  test('whose recovery was undone puts back what it broke', async () => {
    const model = marked()
    const live = model.live()
    const run = await consented(model)
    model.fail((asked: Asked) => asked.what === 'restore')
    const recovery = await recoveryOf(model)
    await recovery.decide(await recovery.checkpoint('destroy'), 'approve')
    const verdict = await run.verdict()
    assert.equal(verdict.recovered?.outcome, 'restore-undone')
    assert.equal(verdict.outcome, 'put-back')
    assert.deepEqual(model.live(), live)
  })

  test('whose restored cluster nobody accepts says what to do, and swaps nothing back', async () => {
    const model = marked({ allowed: true }, { accept: { timeout: '20s' } })
    const run = await consented(model)
    const recovery = await recoveryOf(model)
    await recovery.decide(await recovery.checkpoint('destroy'), 'approve')
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'unwell')
    assert.equal(verdict.recovered?.outcome, 'unaccepted')
    assert.match(verdict.todo ?? '', /restored and open/)
    assert.ok(!actions(model).some((line) => line.startsWith('put-back')))
  })

  test('that can not break it puts back what it broke, and starts no recovery', async () => {
    const model = marked()
    const live = model.live()
    model.fail((asked: Asked) => asked.what === 'plant-broken-log' && asked.node === 'cp-03')
    const run = await consented(model)
    const { code, message } = await run.failure()
    assert.equal(code, 'step-refused')
    assert.match(message, /Everything was put back/)
    assert.deepEqual(model.live(), live)
    assert.equal(model.begun('stageSnapshot').length, 0)
  })

  test('without a proved backup breaks nothing', async () => {
    const model = marked()
    const live = model.live()
    model.fail((asked: Asked) => asked.activity === 'storeSnapshot', { code: 'store-refused', times: 9 })
    const run = await consented(model)
    assert.equal((await run.failure()).code, 'store-refused')
    assert.deepEqual(actions(model), [])
    assert.deepEqual(model.live(), live)
    assert.equal(model.markers.size, 0)
  })

  test('puts back what it broke when another recovery has the one ID', async () => {
    const model = marked()
    const live = model.live()
    const other = await engine.relieve(model)
    await other.checkpoint('compact')
    const run = await consented(model)
    const verdict = await run.verdict()
    assert.equal(verdict.recovered?.outcome, 'recovery-running')
    assert.equal(verdict.outcome, 'put-back')
    assert.deepEqual(model.live(), live)
    await other.handle.terminate('the test is over')
  })

  test('that misses a target says so', async () => {
    const model = marked({ allowed: true, targets: { rto: '0s', rpo: '1h' } })
    const run = await consented(model, { fault: 'lose-all' })
    const recovery = await recoveryOf(model)
    await recovery.approveAll()
    const verdict = await run.verdict()
    assert.deepEqual(verdict.nodes, ['cp-01', 'cp-02', 'cp-03'])
    assert.equal(verdict.outcome, verdict.rto?.withoutWaiting === 0 ? 'passed' : 'missed')
    assert.equal(verdict.targets.find(({ name }) => name === 'rpo')?.met, true)
  })
})

describe('a drill of replaceMember', () => {
  test('breaks a follower, has it replaced, and loses nothing', async () => {
    const model = marked({ allowed: true, runbook: 'replaceMember' })
    const run = await consented(model)
    const recovery = await recoveryOf<ReplaceVerdict>(model)
    await recovery.decide(await recovery.checkpoint('replace'), 'approve')
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'passed', JSON.stringify(verdict))
    assert.deepEqual(verdict.nodes, ['cp-03'])
    assert.deepEqual(actions(model).slice(0, 4), BREAK)
    assert.ok(actions(model).includes('promote-member'))
    assert.deepEqual([verdict.rpo?.markersLost, verdict.rpo?.seconds], [0, 0])
  })

  test('asks anew when another member leads after the consent', async () => {
    const model = marked()
    const run = await engine.drill(model, { fault: 'lose-leader' })
    const stale = await run.checkpoint('drill')
    assert.match(stale.shows, /\*\*cp-01\*\*/)
    model.leads = 'cp-02'
    await run.decide(stale, 'approve')
    const fresh = await run.checkpoint('drill', stale)
    assert.match(fresh.shows, /\*\*cp-02\*\*/)
    assert.deepEqual(actions(model), [])
    await run.decide(fresh, 'refuse')
    assert.equal((await run.verdict()).outcome, 'refused')
  })
})
