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

const PODS = { pods: ['etcd', 'kube-apiserver'] }
const called = (activity: string) => (asked: Asked) => asked.activity === activity

async function opened(model: ModelCluster) {
  const run = await engine.restore(model)
  await run.decide(await run.checkpoint('destroy'), 'approve')
  return { run, accept: await run.checkpoint('accept') }
}

/** Restored, with nothing swapped back. */
function assertStays(model: ModelCluster): void {
  for (const node of model.nodes.values()) {
    assert.match(node.data ?? '', /^restored/)
    assert.equal(node.lock, null)
  }
  assert.ok(!model.outline().some((line) => /withdraw-etcd|put-back/.test(line)))
}

describe('once the cluster is open', () => {
  test('a refusal keeps it, unaccepted, with a fresh backup and the schedule going on', async () => {
    const model = engine.cluster(PODS)
    const { run, accept } = await opened(model)
    await run.decide(accept, 'refuse', 'ben')
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'unaccepted')
    assert.equal(verdict.approvals[1]?.checkpoint, 'accept: refused')
    assert.match(verdict.freshBackup ?? '', /^daily\//)
    assert.deepEqual(
      verdict.setAside.map(({ node }) => node),
      NAMES,
    )
    assert.equal(model.schedule?.paused, false)
    assertStays(model)
  })

  test('silence keeps it too', async () => {
    const model = engine.cluster(PODS)
    const { run } = await opened(model)
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'unaccepted')
    assert.equal(verdict.approvals[1]?.checkpoint, 'accept: timed-out')
    assert.match(verdict.freshBackup ?? '', /^daily\//)
    assert.equal(model.schedule?.paused, false)
    assertStays(model)
  })

  for (const [what, on, name] of [
    [
      'API servers that do not start',
      (asked: Asked) => asked.what === 'start-pods kube-apiserver',
      /Start API servers/,
    ],
    ['a lineage that can’t be recorded', called('recordLineage'), /Record where the cluster comes from/],
    ['a fresh backup that can’t be stored', called('storeSnapshot'), /Take a fresh backup/],
  ] as const) {
    test(`${what} become a failed check that the person is shown`, async () => {
      const model = engine.cluster(PODS)
      model.fail(on)
      const { run, accept } = await opened(model)
      assert.match(accept.shows, /⚠ \d of \d+ checks failed/)
      assert.match(accept.shows, name)
      await run.decide(accept, 'approve')
      const verdict = await run.verdict()
      assert.equal(verdict.outcome, 'restored')
      assert.match(verdict.checks.find(({ verdict: seen }) => seen === 'fail')?.name ?? '', name)
      assertStays(model)
      assert.equal(model.schedule?.paused, false)
    })
  }

  test('other checks make another thing to accept', async () => {
    const good = engine.cluster()
    const bad = engine.cluster()
    bad.fail(called('saveSnapshot'), { times: 9 })
    const [one, two] = [await opened(good), await opened(bad)]
    assert.match(one.accept.shows, /All 1 checks are without a failure/)
    assert.match(two.accept.shows, /1 of 2 checks failed: Take a fresh backup/)
    assert.notEqual(one.accept.digest, two.accept.digest)
    assert.equal((await two.run.progress()).checks.length, 2)
    await one.run.end()
    assert.equal((await two.run.verdict()).freshBackup, null)
  })

  test('it has a fresh backup, its schedule and its locks free before anybody is asked to accept it', async () => {
    const model = engine.cluster()
    const { run } = await opened(model)
    assert.match(model.proved[0]?.key ?? '', /^daily\//)
    assert.equal(model.proved.length, 3)
    assert.equal(model.schedule?.paused, false)
    assertStays(model)
    await run.end()
  })

  test('a schedule that can’t be resumed is a warning', async () => {
    const model = engine.cluster()
    model.fail(called('resumeBackups'), { code: 'schedule-missing' })
    const { run, accept } = await opened(model)
    await run.decide(accept, 'approve')
    assert.match((await run.verdict()).warnings[0] ?? '', /schedule may still be paused/)
    assertStays(model)
  })

  test('a schedule that somebody had paused before stays paused', async () => {
    const model = engine.cluster()
    model.schedule = { paused: true, note: 'maintenance, ben' }
    const { run, accept } = await opened(model)
    await run.decide(accept, 'approve')
    const verdict = await run.verdict()
    assert.deepEqual(model.schedule, { paused: true, note: 'maintenance, ben' })
    assert.deepEqual(verdict.warnings, ['the backup schedule stays paused, as somebody had paused it before'])
  })

  test('a proof that can’t be checked does not end the run with the schedule paused', async () => {
    const model = engine.cluster()
    const { run, accept } = await opened(model)
    model.fail(called('proveConsent'), { code: 'config-invalid' })
    await run.decide(accept, 'approve')
    await run.until(
      'the record',
      ({ decisions }) => decisions.some(({ because }) => /could not be checked/.test(because ?? '')) || null,
    )
    await run.decide(accept, 'approve')
    assert.equal((await run.verdict()).outcome, 'restored')
    assert.equal(model.schedule?.paused, false)
  })

  test('the fresh backup passes the lock of its own recovery', async () => {
    const model = engine.cluster()
    const held = model.hold(called('saveSnapshot'))
    const run = await engine.restore(model)
    await run.decide(await run.checkpoint('destroy'), 'approve')
    await held.arrived
    assert.match(model.nodes.get('cp-01')?.lock ?? '', /^recovery\//)
    held.release()
    await run.decide(await run.checkpoint('accept'), 'approve')
    assert.match((await run.verdict()).freshBackup ?? '', /^daily\//)
  })

  test('the new cluster’s ID is recorded, so that its next backup is no stranger', async () => {
    const model = engine.cluster()
    const { run, accept } = await opened(model)
    assert.deepEqual(
      model.lineages.map(({ previousClusterId, clusterId, cluster }) => [
        previousClusterId,
        clusterId,
        cluster,
      ]),
      [['cdf818194e3a8c32', '00c0ffee00c0ffee', model.name]],
    )
    await run.decide(accept, 'approve')
    await run.end()
  })
})
