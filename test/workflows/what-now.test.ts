/** A step of a restore that failed for good, before the cluster is open: what a person can say then. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Engine } from './engine.ts'
import type { Asked, ModelCluster } from './model-cluster.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

const setAside = (asked: Asked): boolean =>
  asked.activity === 'performAction' && asked.what.startsWith('set-aside') && asked.node === 'cp-02'

async function failed(times = 1) {
  const model = engine.cluster()
  const [before, data] = [model.live(), dataOf(model)]
  model.fail(setAside, { times })
  const run = await engine.restore(model)
  await run.decide(await run.checkpoint('destroy'), 'approve')
  return { model, before, data, run, waiting: await run.checkpoint('retry') }
}

describe('a restore that can’t go on', () => {
  test('waits for a person with the reason, and goes on from there when it is approved', async () => {
    const { model, run, waiting } = await failed()
    assert.match(waiting.shows, /can't go on\*\*: The model fails.*a test wants it/)
    assert.equal(model.begun('unlockNode').length, 0)
    await run.decide(waiting, 'approve')
    await run.decide(await run.checkpoint('accept'), 'approve')
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'restored')
    const undone = model.outline().filter((line) => line.includes('withdraw-etcd'))
    assert.deepEqual(undone, [], 'nothing was put back on the way')
  })

  test('asks again for each failure, by another plan: an approval covers one try', async () => {
    const { run, waiting } = await failed(2)
    await run.decide(waiting, 'approve')
    const second = await run.checkpoint('retry', waiting)
    const { decisions } = await run.sendAndSettle([
      { checkpoint: 'retry', decision: 'approve', plan: waiting.plan, by: 'bea' },
    ])
    assert.equal(decisions.at(-1)?.counted, false)
    await run.decide(second, 'approve')
    await run.checkpoint('accept')
  })

  test('refused, or not answered in time, everything is put back', async () => {
    for (const refuse of [true, false]) {
      const { model, before, run, waiting } = await failed()
      if (refuse) await run.decide(waiting, 'refuse')
      assert.equal((await run.failure()).code, 'restore-undone')
      assert.deepEqual(model.live(), before)
    }
  })

  test('cancelled while it waits, everything is put back', async () => {
    const { model, before, run } = await failed()
    await run.handle.cancel()
    assert.equal((await run.failure()).code, 'cancelled')
    assert.deepEqual(model.live(), before)
  })

  test('takes the next older snapshot when that is what is approved, with a plan of its own', async () => {
    const { model, data, run, waiting } = await failed()
    const [other] = waiting.others ?? []
    assert.match(other?.does ?? '', /next older snapshot/)
    await run.decide({ ...waiting, ...other }, 'approve')
    const destroy = await run.checkpoint('destroy')
    assert.match(destroy.shows, /Not taken: `daily\/snapshot-20261122T020000Z\.db`: .*a test wants it/)
    assert.deepEqual(dataOf(model), data, 'all is put back before the next is asked for')
    const verdict = await run.approveAll()
    assert.equal(verdict.outcome, 'restored')
    assert.equal(verdict.candidate?.key, 'daily/snapshot-20261121T200000Z.db')
    const recoveries = [...(model.nodes.get('cp-01')?.recorded.keys() ?? [])]
    assert.equal(new Set(recoveries).size, 2, 'each has names of its own on the nodes')
    assert.ok(recoveries.includes(verdict.recovery))
  })

  test('offers no other snapshot where there is none', async () => {
    const model = engine.cluster()
    model.proved.splice(1)
    model.fail(setAside)
    const run = await engine.restore(model)
    await run.decide(await run.checkpoint('destroy'), 'approve')
    assert.equal((await run.checkpoint('retry')).others, undefined)
    await run.handle.cancel()
    await run.failure()
  })

  test('two people have to agree on the same way on', async () => {
    const model = engine.cluster()
    model.config = {
      ...model.config,
      approval: { ...model.config.approval, retry: { people: 2, timeout: 60_000 } },
    }
    model.fail(setAside)
    const run = await engine.restore(model)
    await run.decide(await run.checkpoint('destroy'), 'approve')
    const waiting = await run.checkpoint('retry')
    const plan = waiting.others?.[0]?.plan ?? ''
    await run.sendAndSettle([
      { checkpoint: 'retry', decision: 'approve', plan: waiting.plan, by: 'ana' },
      { checkpoint: 'retry', decision: 'approve', plan, by: 'bea' },
    ])
    assert.equal((await run.progress()).waiting?.name, 'retry', 'one each is none')
    await run.decide(waiting, 'approve', 'bea')
    await run.checkpoint('accept')
  })
})

/** Of each node what lies there, whoever holds it. */
function dataOf(model: ModelCluster): unknown {
  return [...model.nodes].map(([name, { manifests, data }]) => [name, [...manifests].sort(), data])
}
