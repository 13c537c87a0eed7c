import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { answering, NAMES, RECOVERY, SILENT, snapshotOf, symptoms } from '../unit/examples.ts'
import { Engine } from './engine.ts'
import type { ModelCluster } from './model-cluster.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

const TIME = '20261122T021400Z'
const OLD = {
  recovery: RECOVERY,
  opened: '2026-11-22T02:20:00Z opened',
  removed: null,
  ended: '2026-11-22T02:21:00Z',
}
const RECORD = `/var/lib/requorum/recoveries/${RECOVERY}`

/** All members are well, and a restore of long ago left its old data and its journal on every node. */
function tidy(): ModelCluster {
  const model = engine.cluster()
  model.quorum = true
  model.seen = (found) => ({
    ...found,
    member: answering(found.node),
    dataDir: { ...found.dataDir, exists: true, bytes: 1_000_000 },
    symptoms: symptoms(),
  })
  model.proved = [snapshotOf('2026-11-22T08:00:00.000Z', { cluster: model.name })]
  model.known = [OLD]
  for (const [name, node] of model.nodes) {
    node.data = `data of ${name}`
    node.aside = [
      { path: `/var/lib/etcd.corrupt.${TIME}`, seen: '12:1', bytes: 40_000_000, odd: null },
      { path: RECORD, seen: '13:1', bytes: 8_192, odd: null },
    ]
  }
  return model
}

// The engine's clock is today's.
const NOW = { olderThan: '0s' }
const removals = (model: ModelCluster) =>
  model.begun('performAction').map(({ what, node }) => `${node ?? ''} ${what}`)

describe('a clean-up', () => {
  test('lists, asks, looks again with the nodes locked, and removes data before what was kept of it', async () => {
    const model = tidy()
    const run = await engine.cleanUp(model, NOW)
    const waiting = await run.checkpoint('cleanup')
    assert.match(
      waiting.shows,
      /cp-02 \| `\/var\/lib\/etcd\.corrupt\.20261122T021400Z` \| 38 MiB \| .* \| 2026\S+-3fa9c1d2/,
    )
    for (const node of model.nodes.values()) assert.equal(node.lock, null, 'nothing is held while it waits')
    assert.deepEqual(removals(model), [])
    await run.decide(waiting, 'approve')
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'cleaned')
    assert.equal(verdict.removed.length, 6)
    assert.equal(verdict.freedBytes, 3 * 40_008_192)
    assert.equal(removals(model).length, 6)
    for (const node of model.nodes.values()) {
      assert.deepEqual(node.aside, [])
      assert.equal(node.lock, null)
      assert.match(node.data ?? '', /^data of/)
    }
    assert.equal(model.schedule?.paused, false)
    const outline = model.outline()
    assert.ok(outline.lastIndexOf('lockNode ×3') < outline.lastIndexOf('surveyNode ×3'))
    assert.deepEqual(verdict.approvals[0]?.by, ['ana'])
  })

  test('where nothing may go yet asks nobody and says why', async () => {
    const model = tidy()
    const verdict = await (await engine.cleanUp(model, { olderThan: '90000d' })).verdict()
    assert.equal(verdict.outcome, 'nothing')
    assert.equal(verdict.kept.length, 6)
    assert.match(verdict.kept[0]?.why ?? '', /ago, and 90000 d are asked for/)
    assert.deepEqual(model.begun('proveConsent'), [])
  })

  for (const [how, outcome] of [
    ['refused', 'refused'],
    ['not answered', 'timed-out'],
  ] as const) {
    test(`${how} removes nothing`, async () => {
      const model = tidy()
      const run = await engine.cleanUp(model, NOW)
      const waiting = await run.checkpoint('cleanup')
      await run.send({ checkpoint: 'cleanup', decision: 'approve', plan: '0badc0de', by: 'ana' })
      if (how === 'refused') await run.decide(waiting, 'refuse')
      assert.equal((await run.verdict()).outcome, outcome)
      assert.deepEqual(removals(model), [])
      assert.deepEqual(model.begun('lockNode'), [])
    })
  }

  test('whose list changed after the approval asks for the new one', async () => {
    const model = tidy()
    const run = await engine.cleanUp(model, NOW)
    const stale = await run.checkpoint('cleanup')
    const changed = model.nodes.get('cp-02')
    if (changed) changed.aside = changed.aside.map((one) => ({ ...one, seen: '12:2' }))
    await run.decide(stale, 'approve')
    const fresh = await run.checkpoint('cleanup', stale)
    assert.deepEqual(removals(model), [])
    for (const node of model.nodes.values()) assert.equal(node.lock, null)
    await run.decide(fresh, 'approve')
    assert.equal((await run.verdict()).outcome, 'cleaned')
  })

  test('where a member fell ill after the approval removes nothing', async () => {
    const model = tidy()
    const run = await engine.cleanUp(model, NOW)
    const waiting = await run.checkpoint('cleanup')
    const well = model.seen
    model.seen = (found) =>
      found.node === 'cp-03' ? { ...found, member: SILENT, etcdPids: [], symptoms: symptoms() } : well(found)
    await run.decide(waiting, 'approve')
    assert.equal((await run.failure()).code, 'cluster-unhealthy')
    assert.deepEqual(removals(model), [])
    for (const node of model.nodes.values()) assert.equal(node.lock, null)
  })

  test('while a recovery holds a node is refused', async () => {
    const model = tidy()
    const node = model.nodes.get('cp-02')
    if (node) node.lock = 'recovery/other/1'
    assert.equal((await (await engine.cleanUp(model, NOW)).failure()).code, 'recovery-running')
  })

  test('with an age that is none is refused for its input', async () => {
    const { code } = await (await engine.cleanUp(tidy(), { olderThan: 'soon' })).failure()
    assert.equal(code, 'input-invalid')
  })

  test('that can not remove something on one node keeps what belongs to it, everywhere', async () => {
    const model = tidy()
    model.fail(({ what, node }) => what === 'remove-aside' && node === 'cp-02')
    const run = await engine.cleanUp(model, NOW)
    await run.decide(await run.checkpoint('cleanup'), 'approve')
    assert.equal((await run.failure()).code, 'step-refused')
    for (const name of NAMES)
      assert.ok(
        model.nodes.get(name)?.aside.some(({ path }) => path === RECORD),
        'manifests stay with the data',
      )
  })
})
