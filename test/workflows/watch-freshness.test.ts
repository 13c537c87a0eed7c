import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { FreshnessVerdict } from '../../domain/freshness.ts'
import { Engine } from './engine.ts'
import type { ModelCluster } from './model-cluster.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

async function look(model: ModelCluster): Promise<FreshnessVerdict> {
  const end = await engine.run<FreshnessVerdict>('watchFreshness', `freshness/${model.name}`, {
    cluster: model.name,
  })
  return end.ended === 'well' ? end.result : assert.fail(JSON.stringify(end))
}

/** A cluster that was backed up just now, wherever the test server's clock has run to. */
function fresh(): ModelCluster {
  const model = engine.cluster({ rehearsal: { every: 'never' } })
  model.quorum = true
  model.proved = model.proved.map((one) => ({ ...one, takenAt: '2999-01-01T00:00:00.000Z' }))
  return model
}

describe('watchFreshness', () => {
  test('of a cluster that is backed up says so, touches nothing and tells nobody', async () => {
    const model = fresh()
    const before = model.live()
    const verdict = await look(model)
    assert.equal(verdict.outcome, 'fresh')
    assert.equal(verdict.newest?.key, model.proved[0]?.key)
    assert.deepEqual(model.alarms, [])
    assert.deepEqual(model.live(), before)
  })

  test('an old snapshot is an alarm, and the run ends well all the same', async () => {
    const model = engine.cluster({ rehearsal: { every: 'never' } })
    model.quorum = true
    model.proved = model.proved.slice(1).map((one) => ({ ...one, takenAt: '2020-01-01T00:00:00.000Z' }))
    const verdict = await look(model)
    assert.equal(verdict.outcome, 'stale')
    assert.equal(verdict.change, 'raised')
    assert.deepEqual(
      verdict.alarm?.findings.map(({ what }) => what),
      ['snapshot-old'],
    )
    assert.deepEqual(model.alarms, [`raised requorum/freshness/${model.name}`])
  })

  test('a store that does not answer is an alarm of its own', async () => {
    const model = fresh()
    model.fail(({ activity }) => activity === 'seeFreshness')
    const verdict = await look(model)
    assert.deepEqual(
      verdict.alarm?.findings.map(({ what }) => what),
      ['store-silent'],
    )
  })

  test('a lock of a run that goes on is none, and of one that is gone is', async () => {
    const model = fresh()
    const owner = `recovery/${model.name}/0199-abc`
    const [first] = model.nodes.values()
    assert.ok(first)
    first.lock = owner
    model.alive = [owner]
    assert.equal((await look(model)).outcome, 'fresh')
    model.alive = []
    assert.deepEqual(
      (await look(model)).alarm?.findings.map(({ what }) => what),
      ['lock-left'],
    )
  })

  test('a node that nobody reaches is a warning: its lock was not seen', async () => {
    const model = fresh()
    model.fail(({ activity, node }) => activity === 'surveyNode' && node === 'cp-02')
    const verdict = await look(model)
    assert.equal(verdict.outcome, 'fresh')
    assert.equal(verdict.warnings.length, 1)
    assert.match(verdict.warnings[0] ?? '', /cp-02 could not be looked at/)
  })
})
