import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { NAMES } from '../unit/examples.ts'
import { Engine } from './engine.ts'
import type { Asked, ModelCluster } from './model-cluster.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

const UNDO = [
  'performAction: withdraw-etcd ×3',
  'performAction: put-back ×3',
  'performAction: start-pods etcd kube-apiserver ×3',
]
const LET_GO = ['resumeBackups', 'unstageSnapshot ×3', 'unlockNode ×3']
const PODS = { pods: ['etcd', 'kube-apiserver'] }

const step =
  (what: string, node?: string) =>
  (asked: Asked): boolean =>
    asked.activity === 'performAction' &&
    asked.what.startsWith(what) &&
    (node === undefined || asked.node === node)
const called = (activity: string) => (asked: Asked) => asked.activity === activity

async function approveDestroy(model: ModelCluster) {
  const run = await engine.restore(model)
  await run.decide(await run.checkpoint('destroy'), 'approve')
  return run
}

/** What was begun from the first step of the way back on. */
function wayBack(model: ModelCluster): string[] {
  const outline = model.outline()
  return outline.slice(outline.findIndex((line) => line.includes('withdraw-etcd')))
}

describe('a failure after consent and before the first step', () => {
  for (const after of [false, true]) {
    for (const [what, on] of [
      ['pausing the schedule', called('pauseBackups')],
      ['waiting for a running backup', called('settleBackups')],
      ['writing the journal', called('writeJournal')],
    ] as const) {
      test(`${what}, ${after ? 'with its effect done' : 'before its effect'}, leaves all as it was`, async () => {
        const model = engine.cluster(PODS)
        const before = model.live()
        model.fail(on, { after })
        const failure = await (await approveDestroy(model)).failure()
        assert.match(failure.message, /a test wants it/)
        assert.deepEqual(model.live(), before)
        assert.equal(model.begun('performAction').length, 0)
        for (const node of model.nodes.values()) assert.deepEqual([...node.staged], [])
      })
    }
  }
})

describe('a failure between consent and open', () => {
  const places: [string, (asked: Asked) => boolean][] = [
    ['stopping the control plane', step('stop-pods kube-apiserver etcd', 'cp-02')],
    ['setting the data aside', step('set-aside', 'cp-02')],
    ['restoring', step('restore', 'cp-03')],
    ['starting etcd', step('start-etcd', 'cp-01')],
    ['waiting for etcd', called('awaitRestoredCluster')],
    ['probing with a write', called('disarmAndProbe')],
    ['holding it against the snapshot', called('validateCluster')],
  ]
  for (const after of [false, true]) {
    for (const [what, on] of places) {
      test(`${what}, ${after ? 'with its effect done' : 'before its effect'}, is undone whole`, async () => {
        const model = engine.cluster(PODS)
        const before = model.live()
        model.fail(on, { after })
        const run = await approveDestroy(model)
        const failure = await run.failure()
        assert.equal(failure.code, 'restore-undone', failure.message)
        assert.match(failure.message, /was undone: data and manifests are what they were/)
        assert.match(failure.message, /a test wants it/, 'with the reason of the failure')
        assert.deepEqual(model.live(), before)
        assert.deepEqual(wayBack(model), [...UNDO, 'markRecovery: ended ×3', ...LET_GO])
        assert.equal(model.begun('recordLineage').length, 0)
      })
    }
  }

  test('is also a check that finds another cluster than the snapshot promised', async () => {
    const model = engine.cluster(PODS)
    const before = model.live()
    model.checks = [
      { name: 'members', verdict: 'pass', evidence: '3 voters' },
      { name: 'content', verdict: 'fail', evidence: '12 keys differ' },
    ]
    const failure = await (await approveDestroy(model)).failure()
    assert.equal(failure.code, 'restore-undone')
    assert.match(failure.message, /content: 12 keys differ/)
    assert.deepEqual(wayBack(model).slice(0, 3), UNDO)
    assert.deepEqual(model.live(), before)
  })

  test('waits for the other nodes before the way back begins', async () => {
    const model = engine.cluster(PODS)
    const before = model.live()
    model.fail(step('restore', 'cp-01'))
    const slow = model.hold(step('restore', 'cp-03'))
    const run = await approveDestroy(model)
    await slow.arrived
    await run.until(
      'cp-01 to fail',
      () => model.calls.some(({ node, phase }) => node === 'cp-01' && phase === 'fails') || null,
    )
    // The run has had tasks since, and cp-03 is still at work.
    await run.progress()
    assert.equal(model.begun('performAction').filter(({ what }) => what === 'withdraw-etcd').length, 0)
    slow.release()
    assert.equal((await run.failure()).code, 'restore-undone')
    const end = model.calls.findIndex(
      ({ what, node, phase }) => what === 'restore' && node === 'cp-03' && phase === 'ends',
    )
    const back = model.calls.findIndex(({ what }) => what === 'withdraw-etcd')
    assert.ok(end >= 0 && end < back)
    assert.deepEqual(model.live(), before)
  })

  test('that trying again can help with is no failure', async () => {
    const model = engine.cluster(PODS)
    model.fail(step('set-aside', 'cp-02'), { code: 'connection-lost', times: 3, after: true })
    model.fail(step('start-etcd', 'cp-01'), { code: 'step-failed', times: 2 })
    const run = await approveDestroy(model)
    await run.checkpoint('accept')
    assert.ok(!model.outline().some((line) => line.includes('withdraw-etcd')))
    await run.end()
  })

  test('is undone on a way back that stumbles and does not give up', async () => {
    const model = engine.cluster(PODS)
    const before = model.live()
    model.fail(step('restore', 'cp-02'))
    model.fail(step('put-back', 'cp-01'), { code: 'node-unreachable', times: 40 })
    const failure = await (await approveDestroy(model)).failure()
    assert.equal(failure.code, 'restore-undone')
    assert.equal(
      model.begun('performAction').filter(({ what, node }) => what === 'put-back' && node === 'cp-01').length,
      41,
    )
    assert.deepEqual(model.live(), before)
  })

  test('that can’t be undone on one node is undone on the others, keeps the locks and says where to go on', async () => {
    const model = engine.cluster(PODS)
    model.fail(step('restore', 'cp-02'))
    model.fail(step('put-back', 'cp-01'))
    const failure = await (await approveDestroy(model)).failure()
    assert.equal(failure.code, 'undo-incomplete')
    assert.match(failure.message, /cp-01 could not be put back/)
    assert.match(failure.message, /journal\.md/)
    assert.equal(model.nodes.get('cp-02')!.data, 'data of cp-02')
    assert.deepEqual([...model.nodes.get('cp-02')!.manifests.keys()].sort(), PODS.pods)
    assert.equal(
      model.nodes.get('cp-01')!.manifests.size,
      0,
      'nothing is started on a node that is half undone',
    )
    for (const node of model.nodes.values()) assert.notEqual(node.lock, null)
    assert.equal(model.begun('unlockNode').length, 0)
    assert.equal(model.schedule?.paused, true)
    assert.equal(model.begun('unstageSnapshot').length, 0, 'the commands of the journal need the copies')
  })

  test('whose schedule can’t be resumed says both: undone, and perhaps still paused', async () => {
    const model = engine.cluster(PODS)
    model.fail(step('restore', 'cp-02'))
    model.fail(called('resumeBackups'), { code: 'schedule-missing' })
    const failure = await (await approveDestroy(model)).failure()
    assert.equal(failure.code, 'restore-undone')
    assert.match(failure.message, /data and manifests are what they were/)
    assert.match(failure.message, /Also: the backup schedule may still be paused/)
    for (const node of model.nodes.values()) assert.equal(node.lock, null)
  })

  test('whose node can’t be unlocked says both: undone, and perhaps still locked', async () => {
    const model = engine.cluster(PODS)
    model.fail(step('restore', 'cp-02'))
    model.fail(({ activity, node }) => activity === 'unlockNode' && node === 'cp-03')
    const failure = await (await approveDestroy(model)).failure()
    assert.equal(failure.code, 'restore-undone')
    assert.match(failure.message, /Also: a node may still be locked/)
  })

  test('leaves a schedule paused that somebody else had paused', async () => {
    const model = engine.cluster(PODS)
    model.schedule = { paused: true, note: 'maintenance, ben' }
    model.fail(step('restore', 'cp-02'))
    assert.equal((await (await approveDestroy(model)).failure()).code, 'restore-undone')
    assert.deepEqual(model.schedule, { paused: true, note: 'maintenance, ben' })
  })

  test('needs no schedule to be there', async () => {
    const model = engine.cluster(PODS)
    model.schedule = null
    model.fail(step('restore', 'cp-02'))
    assert.equal((await (await approveDestroy(model)).failure()).code, 'restore-undone')
    assert.equal(model.begun('resumeBackups').length, 0)
  })
})

describe('a cancellation', () => {
  for (const at of ['stop-pods kube-apiserver etcd', 'set-aside', 'restore', 'start-etcd']) {
    test(`during "${at}" lets the step end on all nodes, and is undone`, async () => {
      const model = engine.cluster(PODS)
      const before = model.live()
      const held = model.hold(step(at))
      const run = await approveDestroy(model)
      await held.arrived
      await run.handle.cancel()
      await run.progress()
      held.release()
      const failure = await run.failure()
      assert.equal(failure.code, 'cancelled')
      const ends = model.calls
        .filter(({ what, phase }) => what === at && phase === 'ends')
        .map(({ node }) => node)
      assert.deepEqual(ends.sort(), NAMES, 'no node was cut short')
      assert.deepEqual(wayBack(model).slice(0, 3), UNDO)
      assert.deepEqual(model.live(), before)
    })
  }

  test('before the first step after consent touches nothing', async () => {
    const model = engine.cluster(PODS)
    const before = model.live()
    const held = model.hold(called('writeJournal'))
    const run = await approveDestroy(model)
    await held.arrived
    await run.handle.cancel()
    await run.progress()
    held.release()
    assert.equal((await run.failure()).code, 'cancelled')
    assert.deepEqual(model.live(), before)
    assert.ok(
      !model.outline().some((line) => /performAction: (stop-pods|set-aside|restore|start-etcd)/.test(line)),
    )
  })

  test('on the way back does not stop it', async () => {
    const model = engine.cluster(PODS)
    const before = model.live()
    model.fail(step('restore', 'cp-01'))
    const held = model.hold(step('put-back'))
    const run = await approveDestroy(model)
    await run.decide(await run.checkpoint('retry'), 'refuse')
    await held.arrived
    await run.handle.cancel()
    await run.progress()
    held.release()
    assert.equal((await run.end()).ended, 'failed')
    assert.deepEqual(model.live(), before)
  })

  test('after open swaps nothing back: it says as little as silence', async () => {
    const model = engine.cluster(PODS)
    const run = await approveDestroy(model)
    await run.checkpoint('accept')
    await run.handle.cancel()
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'unaccepted')
    assert.match(verdict.freshBackup ?? '', /^daily\//)
    assert.ok(!model.outline().some((line) => line.includes('withdraw-etcd')))
    for (const node of model.nodes.values()) assert.match(node.data ?? '', /^restored/)
    assert.equal(model.schedule?.paused, false)
  })

  test('while clients come back swaps nothing back either', async () => {
    const model = engine.cluster(PODS)
    const held = model.hold(step('start-pods kube-apiserver'))
    const run = await approveDestroy(model)
    await held.arrived
    await run.handle.cancel()
    await run.progress()
    held.release()
    assert.equal((await run.verdict()).outcome, 'unaccepted')
    assert.ok(!model.outline().some((line) => line.includes('withdraw-etcd')))
    assert.equal(model.lineages.length, 1)
  })
})
