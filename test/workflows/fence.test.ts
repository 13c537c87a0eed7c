import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { FenceVerdict } from '../../domain/fence-watch.ts'
import { fenceWorkflowId, TASK_QUEUE } from '../../domain/messages.ts'
import { answering, CLUSTER_ID, MEMBERS } from '../unit/examples.ts'
import { Engine } from './engine.ts'
import type { ModelCluster } from './model-cluster.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

const OFF = { off: ['cp-03'] }

/** The node is on again, with the data and manifests that it had. */
function comesBack(model: ModelCluster, node: string): void {
  model.off.delete(node)
}

function fenceOf(model: ModelCluster) {
  return engine.client.workflow.getHandle<() => Promise<FenceVerdict>>(fenceWorkflowId(model.name))
}

function startFence(model: ModelCluster, more: object = {}) {
  return engine.client.workflow.start<(request: object) => Promise<FenceVerdict>>('fence', {
    taskQueue: TASK_QUEUE,
    workflowId: fenceWorkflowId(model.name),
    args: [{ cluster: model.name, ...more }],
  })
}

/** Two nodes of three were restored, and the third has still what it had. */
function restoredOntoTwo(): ModelCluster {
  const model = engine.cluster({ pods: ['etcd', 'kube-apiserver', 'keepalived'] })
  model.members = MEMBERS.filter(({ name }) => name !== 'cp-03')
  for (const name of ['cp-01', 'cp-02']) model.nodes.get(name)!.data = 'restored'
  model.nodes.get('cp-03')!.data = 'old'
  return model
}

const untouched = (model: ModelCluster): void => {
  for (const activity of ['lockNode', 'stageSnapshot', 'performAction', 'pauseBackups'] as const) {
    assert.equal(model.begun(activity).length, 0, activity)
  }
}

describe('a fence', () => {
  test('waits for days, over runs that stay small, and stops the control plane and nothing else', async () => {
    const model = restoredOntoTwo()
    model.off.add('cp-03')
    let looks = 0
    const seen = model.survey.bind(model)
    model.survey = (node) => {
      if (node === 'cp-03' && ++looks === 93) comesBack(model, 'cp-03')
      return seen(node)
    }
    const handle = await startFence(model, { nodes: ['cp-03'] })
    const verdict = await handle.result()
    assert.deepEqual(verdict.nodes, [{ node: 'cp-03', state: 'fenced' }])
    const node = model.nodes.get('cp-03')!
    assert.deepEqual([...node.manifests.keys()], ['keepalived'])
    assert.deepEqual([...node.fenced.keys()].sort(), ['etcd', 'kube-apiserver'])
    assert.equal(node.data, 'old')
    assert.equal(node.lock, null)
    assert.match(node.fenceJournal ?? '', /cp-03 of t\d+ is fenced/)
    const { runId } = await fenceOf(model).describe()
    assert.notEqual(runId, handle.firstExecutionRunId, 'it went on as a new run')
    const { events } = await fenceOf(model).fetchHistory()
    assert.ok((events?.length ?? 0) < 1_500, String(events?.length))
  })

  test('touches no node that has become a member, and none that a recovery holds', async () => {
    const model = restoredOntoTwo()
    model.nodes.get('cp-03')!.lock = 'recovery/prod/1'
    let looks = 0
    const seen = model.survey.bind(model)
    model.survey = (node) => {
      if (node === 'cp-03' && ++looks === 3) {
        model.members = [...MEMBERS]
        model.nodes.get('cp-03')!.data = 'restored'
        model.nodes.get('cp-03')!.lock = null
      }
      return seen(node)
    }
    const verdict = await (await startFence(model, { nodes: ['cp-03'] })).result()
    assert.deepEqual(verdict.nodes, [{ node: 'cp-03', state: 'member' }])
    assert.ok(looks >= 3)
    assert.equal(model.begun('performAction').length, 0)
    assert.equal(model.begun('lockNode').length, 0)
  })

  test('takes a lock from before the restore for nobody’s, and tells of it', async () => {
    const model = restoredOntoTwo()
    model.nodes.get('cp-03')!.lock = 'recovery/prod/dead'
    const verdict = await (
      await startFence(model, { nodes: ['cp-03'], since: '2026-11-22T03:00:00Z' })
    ).result()
    assert.deepEqual(verdict.nodes, [{ node: 'cp-03', state: 'fenced' }])
    assert.match(verdict.warnings.join(), /was still locked by recovery\/prod\/dead/)
    assert.equal(model.nodes.get('cp-03')?.lock, null)
  })

  test('while nobody says who the members are it stops only what says itself that it is old', async () => {
    const model = restoredOntoTwo()
    model.off.add('cp-01').add('cp-02')
    let looks = 0
    const seen = model.survey.bind(model)
    model.survey = (node) => {
      if (node !== 'cp-03') return seen(node)
      const found = seen(node)
      if (++looks < 3 || !found.reached) return found
      return { ...found, member: answering('cp-03', { healthy: false, members: [] }) }
    }
    const verdict = await (
      await startFence(model, { nodes: ['cp-03'], previousClusterId: CLUSTER_ID })
    ).result()
    assert.deepEqual(verdict.nodes, [{ node: 'cp-03', state: 'fenced' }])
    assert.ok(looks >= 3)
  })

  test('is tried again when it failed, and stops again what somebody started by hand meanwhile', async () => {
    const model = restoredOntoTwo()
    model.members = MEMBERS.filter(({ name }) => name === 'cp-01')
    model.nodes.get('cp-02')!.data = 'old'
    model.off.add('cp-02')
    model.fail(({ activity }) => activity === 'performAction', { code: 'step-refused' })
    let stops = 0
    const seen = model.survey.bind(model)
    model.survey = (node) => {
      const { manifests, fenced } = model.nodes.get('cp-03')!
      const etcd = fenced.get('etcd')
      if (node === 'cp-02' && etcd !== undefined && stops++ === 2) {
        manifests.set('etcd', etcd)
        fenced.delete('etcd')
      }
      if (node === 'cp-02' && stops > 6) comesBack(model, 'cp-02')
      return seen(node)
    }
    const verdict = await (await startFence(model, { nodes: ['cp-02', 'cp-03'] })).result()
    assert.deepEqual(
      verdict.nodes.map(({ state }) => state),
      ['fenced', 'fenced'],
    )
    const onThird = model.begun('performAction').filter(({ node }) => node === 'cp-03')
    assert.ok(onThird.length >= 3, `failed, done, done again: ${onThird.length}`)
    assert.match(verdict.warnings.join(), /cp-03 could not be fenced/)
    for (const name of ['cp-02', 'cp-03']) assert.equal(model.nodes.get(name)?.manifests.has('etcd'), false)
  })

  test('by hand finds out who has no member, and refuses when nobody knows', async () => {
    const model = restoredOntoTwo()
    assert.deepEqual((await (await startFence(model)).result()).nodes, [{ node: 'cp-03', state: 'fenced' }])

    const whole = engine.cluster()
    whole.quorum = true
    assert.equal((await (await startFence(whole)).result()).outcome, 'nothing-to-fence')
    assert.equal(whole.begun('performAction').length, 0)

    const lost = engine.cluster()
    const end = await engine.run('fence', fenceWorkflowId(lost.name), { cluster: lost.name })
    assert.ok(end.ended === 'failed' && end.code === 'quorum-missing', JSON.stringify(end))
    const other = await engine.run('fence', `by-hand-${lost.name}`, { cluster: lost.name })
    assert.ok(other.ended === 'failed' && other.code === 'wrong-workflow-id', JSON.stringify(other))
  })
})

// Last: with an abandoned child the test server's time goes its own pace, for whoever comes after.
describe('a restore with a node that is off', () => {
  test('goes on without it when that is stated, on all others only, and says so from the plan to the verdict', async () => {
    const model = engine.cluster()
    model.off.add('cp-03')
    const run = await engine.restore(model, OFF)
    const waiting = await run.checkpoint('destroy')
    assert.match(waiting.shows, /Goes on without cp-03 \(10\.0\.1\.13\)/)
    await run.decide(waiting, 'approve')
    const accept = await run.checkpoint('accept')
    assert.match(accept.shows, /⚠ cp-03 has no member/)
    comesBack(model, 'cp-03')
    await run.decide(accept, 'approve')
    const verdict = await run.verdict()

    assert.equal(verdict.outcome, 'restored')
    assert.deepEqual(
      verdict.checks.filter(({ name }) => name === 'every node has a member').map((one) => one.verdict),
      ['warn'],
    )
    const steps = model.calls.filter(({ node, activity }) => node === 'cp-03' && activity !== 'surveyNode')
    const byRestore = steps.filter(
      ({ what, activity }) => !what.startsWith('fence') && /perform|stage|Journal$/.test(activity),
    )
    assert.deepEqual(
      byRestore.filter(({ activity }) => activity !== 'writeFenceJournal'),
      [],
    )
    assert.deepEqual(
      model.begun('knock').map(({ what }) => what),
      ['cp-01 cp-02 at cp-03', 'cp-01 cp-02 at cp-03'],
      'before anything is locked, and again after the consent',
    )
    assert.match(model.nodes.get('cp-01')?.journal ?? '', /## Nodes that it goes on without[\s\S]*cp-03/)
    assert.equal(model.nodes.get('cp-03')?.journal, null)

    assert.deepEqual((await fenceOf(model).result()).nodes, [{ node: 'cp-03', state: 'fenced' }])
  })

  test('onto one node of three takes its backup from there', async () => {
    const model = engine.cluster()
    model.off.add('cp-02').add('cp-03')
    const run = await engine.restore(model, { off: ['cp-03', 'cp-02'] })
    await run.decide(await run.checkpoint('destroy'), 'approve')
    const accept = await run.checkpoint('accept')
    comesBack(model, 'cp-02')
    comesBack(model, 'cp-03')
    await run.decide(accept, 'approve')
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'restored')
    assert.match(verdict.freshBackup ?? '', /^daily\//)
    assert.deepEqual(
      model.begun('saveSnapshot').map(({ node }) => node),
      ['cp-01'],
    )
    await fenceOf(model).result()
  })

  test('is refused when that is not stated, or is not so, before anything is locked', async () => {
    const unstated = engine.cluster()
    unstated.off.add('cp-03').add('cp-02')
    const missing = await (await engine.restore(unstated, OFF)).failure()
    assert.equal(missing.code, 'nodes-missing')
    assert.ok(
      missing.message.includes(`requorum restore ${unstated.name} --off cp-03 --off cp-02`),
      missing.message,
    )
    untouched(unstated)

    const reached = engine.cluster()
    assert.equal((await (await engine.restore(reached, OFF)).failure()).code, 'not-fenced')
    untouched(reached)

    const heard = engine.cluster()
    heard.off.add('cp-03')
    heard.heard = [
      { node: 'cp-03', what: 'etcd for its peers', host: '10.0.1.13', port: 2380, from: 'cp-01' },
    ]
    const { code, message } = await (await engine.restore(heard, OFF)).failure()
    assert.equal(code, 'not-fenced')
    assert.match(message, /cp-01 reaches etcd for its peers of cp-03 at 10\.0\.1\.13:2380/)
    untouched(heard)
  })

  test('is refused when it answers after the consent, and everything is let go of', async () => {
    const model = engine.cluster()
    model.off.add('cp-03')
    const before = model.live()
    const run = await engine.restore(model, OFF)
    const waiting = await run.checkpoint('destroy')
    model.heard = [{ node: 'cp-03', what: 'SSH', host: '10.0.1.13', port: 22, from: 'cp-02' }]
    await run.decide(waiting, 'approve')
    assert.equal((await run.failure()).code, 'not-fenced')
    assert.deepEqual(model.live(), before)
    assert.equal(model.begun('performAction').length, 0)
  })

  test('ends with an input that is none, and with names that nobody knows', async () => {
    for (const off of ['cp-03', [3], [''], { node: 'cp-03' }, null]) {
      const model = engine.cluster()
      assert.equal(
        (await (await engine.restore(model, { off })).failure()).code,
        'input-invalid',
        JSON.stringify(off),
      )
    }
    const model = engine.cluster()
    const { code, message } = await (await engine.restore(model, { off: ['cp-09'] })).failure()
    assert.equal(code, 'input-invalid')
    assert.match(message, /cp-01, cp-02, cp-03/)
  })

  test('tells the fence that still watches of its nodes when it is a further one', async () => {
    const model = engine.cluster()
    model.off.add('cp-03')
    const first = await engine.restore(model, OFF)
    await first.approveAll()
    assert.equal(model.members.length, 2)
    model.off.add('cp-02')
    const second = await engine.restore(model, { off: ['cp-02', 'cp-03'] })
    await second.decide(await second.checkpoint('destroy'), 'approve')
    const accept = await second.checkpoint('accept')
    comesBack(model, 'cp-02')
    comesBack(model, 'cp-03')
    await second.decide(accept, 'approve')
    assert.equal((await second.verdict()).outcome, 'restored')
    const { nodes } = await fenceOf(model).result()
    assert.deepEqual(nodes.map(({ node, state }) => `${node} ${state}`).sort(), [
      'cp-02 fenced',
      'cp-03 fenced',
    ])
    assert.equal(model.members.length, 1)
  })
})
