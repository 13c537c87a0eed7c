import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { CLUSTER_ID, symptoms, unreached } from '../unit/examples.ts'
import { Engine } from './engine.ts'
import { RESTORED_ID, type Asked, type ModelCluster } from './model-cluster.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

const KUBEADM = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler']

/** A cluster that was restored, opened and accepted, and what it was like before. */
async function restored(pods: readonly string[] = ['etcd']): Promise<{ model: ModelCluster; old: unknown }> {
  const model = engine.cluster({ pods })
  model.seen = (found) => ({ ...found, symptoms: symptoms() })
  const old = model.live()
  assert.equal((await (await engine.restore(model)).approveAll()).outcome, 'restored')
  model.calls.length = 0
  return { model, old }
}

const doing = (what: string) => (asked: Asked) => asked.what === what
const actions = (model: ModelCluster): string[] =>
  model
    .outline()
    .filter((line) => line.startsWith('performAction'))
    .map((line) => line.replace('performAction: ', ''))

describe('a roll-back', () => {
  test('takes a backup, asks, and brings everything back as it was, without data where there was none', async () => {
    const { model, old } = await restored()
    const run = await engine.rollBack(model)
    const waiting = await run.checkpoint('rollback')
    assert.deepEqual(actions(model), [], 'nothing before the consent')
    assert.match(waiting.shows, /Lost: everything written since it was opened at/)
    assert.match(waiting.shows, /Backup before: `daily\//)
    assert.match(waiting.shows, /cp-03 \| etcd \| .* \| no data: there was none \|/)
    await run.decide(waiting, 'approve')
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'rolled-back', JSON.stringify(verdict.checks))
    assert.deepEqual(actions(model), [
      ...['stop-pods etcd ×3', 'set-aside ×3', 'take-back ×3', 'return-pods etcd ×3'],
    ])
    assert.deepEqual(model.live(), old)
    assert.equal(verdict.setAside.length, 3)
    for (const { node, path } of verdict.setAside)
      assert.match(model.nodes.get(node)?.beside.get(path) ?? '', /^restored /)
    assert.match(verdict.now ?? '', /./)
    assert.doesNotMatch(verdict.now ?? '', /A recovery of/)
    const lineage = model.lineages.at(-1)
    assert.deepEqual(
      [lineage?.previousClusterId, lineage?.clusterId, lineage?.rolledBack],
      [RESTORED_ID, CLUSTER_ID, verdict.of],
    )
  })

  test('of a kubeadm cluster returns the rest after etcd, and what was added since as it is', async () => {
    const { model, old } = await restored(KUBEADM)
    model.nodes.get('cp-02')?.manifests.set('keepalived', '# keepalived')
    const run = await engine.rollBack(model)
    await run.decide(await run.checkpoint('rollback'), 'approve')
    assert.equal((await run.verdict()).outcome, 'rolled-back')
    assert.deepEqual(actions(model).slice(-3), [
      'return-pods etcd ×3',
      'return-pods kube-apiserver kube-controller-manager kube-scheduler ×3',
      'start-pods keepalived',
    ])
    assert.equal(model.nodes.get('cp-02')?.manifests.get('keepalived'), '# keepalived')
    model.nodes.get('cp-02')?.manifests.delete('keepalived')
    assert.deepEqual(model.live(), old)
  })

  test('without a backup says so, and goes on only with the consent to that', async () => {
    const { model } = await restored()
    model.fail((asked) => asked.activity === 'storeSnapshot', { code: 'store-refused', times: 9 })
    const run = await engine.rollBack(model)
    const waiting = await run.checkpoint('rollback')
    assert.match(waiting.shows, /No backup before/)
    await run.decide(waiting, 'approve')
    assert.match((await run.verdict()).backup, /^none: it failed/)
  })

  for (const [how, outcome] of [
    ['refused', 'refused'],
    ['not answered', 'timed-out'],
  ] as const) {
    test(`${how} changes nothing`, async () => {
      const { model } = await restored()
      const live = model.live()
      const run = await engine.rollBack(model)
      const waiting = await run.checkpoint('rollback')
      await run.send({ checkpoint: 'rollback', decision: 'approve', plan: '0badc0de', by: 'ana' })
      if (how === 'refused') await run.decide(waiting, 'refuse')
      assert.equal((await run.verdict()).outcome, outcome)
      assert.deepEqual(actions(model), [])
      assert.deepEqual(model.live(), live)
    })
  }

  test('whose nodes changed after the approval asks for the new plan', async () => {
    const { model } = await restored()
    const run = await engine.rollBack(model)
    const stale = await run.checkpoint('rollback')
    model.nodes.get('cp-01')?.manifests.set('keepalived', '# keepalived')
    await run.decide(stale, 'approve')
    const fresh = await run.checkpoint('rollback', stale)
    assert.deepEqual(actions(model), [])
    await run.decide(fresh, 'approve')
    assert.equal((await run.verdict()).outcome, 'rolled-back')
  })
})

describe('a roll-back is refused', () => {
  const refusal = async (model: ModelCluster, input: object = {}) => {
    const live = model.live()
    const failure = await (await engine.rollBack(model, input)).failure()
    assert.deepEqual(actions(model), [])
    assert.deepEqual(model.live(), live)
    return failure
  }

  test('where no restore was opened, or none of that name', async () => {
    assert.equal((await refusal(engine.cluster())).code, 'nothing-to-roll-back')
    const { model } = await restored()
    const { message } = await refusal(model, { recovery: '20200101T000000Z-00000000' })
    assert.match(message, /has a record of a restore 20200101T000000Z-00000000/)
  })

  test('of a restore that is not open yet: adopt', async () => {
    const { model } = await restored()
    for (const { recorded } of model.nodes.values()) for (const one of recorded.values()) one.marks = {}
    const { code, message } = await refusal(model)
    assert.equal(code, 'nothing-to-roll-back')
    assert.match(message, /requorum adopt/)
  })

  test('where what was set aside is gone from one node', async () => {
    const { model } = await restored()
    model.nodes.get('cp-02')?.beside.clear()
    assert.match((await refusal(model)).message, /etcd\.corrupt\.\S+ is not on cp-02 any more/)
  })

  test('where manifests that were kept are gone from one node', async () => {
    const { model } = await restored()
    model.nodes.get('cp-02')?.kept.clear()
    assert.match((await refusal(model)).message, /manifests of etcd are not kept on cp-02/)
  })

  test('where a node does not know it, or can not be reached', async () => {
    const { model } = await restored()
    const [record] = [...(model.nodes.get('cp-02')?.recorded ?? [])]
    model.nodes.get('cp-02')?.recorded.clear()
    assert.match((await refusal(model)).message, /cp-02 has no record of it/)
    if (record) model.nodes.get('cp-02')?.recorded.set(...record)
    model.seen = (found) => (found.node === 'cp-03' ? unreached('cp-03') : found)
    assert.equal((await refusal(model)).code, 'nodes-missing')
  })

  test('once it was rolled back', async () => {
    const { model } = await restored()
    const run = await engine.rollBack(model)
    await run.decide(await run.checkpoint('rollback'), 'approve')
    assert.equal((await run.verdict()).outcome, 'rolled-back')
    assert.equal((await (await engine.rollBack(model)).failure()).code, 'nothing-to-roll-back')
  })
})

describe('until the old etcd is started everywhere a failure leads back to the restored cluster', () => {
  for (const what of ['stop-pods etcd', 'set-aside', 'take-back', 'return-pods etcd']) {
    for (const after of [false, true]) {
      test(`${what}, ${after ? 'with its effect done' : 'before its effect'}`, async () => {
        const { model } = await restored()
        const live = model.live()
        const beside = new Map([...model.nodes].map(([name, node]) => [name, [...node.beside]]))
        model.fail((asked) => asked.what === what && asked.node === 'cp-02', { after })
        const run = await engine.rollBack(model)
        await run.decide(await run.checkpoint('rollback'), 'approve')
        const { code, message } = await run.failure()
        assert.equal(code, 'rollback-undone', message)
        assert.deepEqual(model.live(), live)
        for (const [name, node] of model.nodes) assert.deepEqual([...node.beside], beside.get(name))
        // And it can be tried again.
        const again = await engine.rollBack(model)
        await again.decide(await again.checkpoint('rollback'), 'approve')
        assert.equal((await again.verdict()).outcome, 'rolled-back')
      })
    }
  }

  test('a cancellation too', async () => {
    const { model } = await restored()
    const live = model.live()
    const held = model.hold(doing('take-back'))
    const run = await engine.rollBack(model)
    await run.decide(await run.checkpoint('rollback'), 'approve')
    await held.arrived
    await run.handle.cancel()
    held.release()
    const end = await run.end()
    assert.ok(end.ended === 'cancelled' || (end.ended === 'failed' && end.code === 'cancelled'))
    assert.deepEqual(model.live(), live)
  })

  test('a way back that can not be finished keeps the locks', async () => {
    const { model } = await restored()
    model.fail((asked) => asked.what === 'take-back' && asked.node === 'cp-02')
    model.fail((asked) => asked.what === 'put-back' && asked.node === 'cp-02')
    const run = await engine.rollBack(model)
    await run.decide(await run.checkpoint('rollback'), 'approve')
    assert.equal((await run.failure()).code, 'undo-incomplete')
    for (const node of model.nodes.values()) assert.notEqual(node.lock, null)
  })
})

test('after the old etcd is started nothing is swapped back: what fails is a failed check', async () => {
  const { model } = await restored(KUBEADM)
  model.fail((asked) => asked.what.startsWith('return-pods kube') && asked.node === 'cp-02')
  model.fail((asked) => asked.activity === 'recordLineage')
  const run = await engine.rollBack(model)
  await run.decide(await run.checkpoint('rollback'), 'approve')
  const verdict = await run.verdict()
  assert.equal(verdict.outcome, 'unfinished')
  const failed = verdict.checks.filter((one) => one.verdict === 'fail').map(({ name }) => name)
  assert.ok(failed.includes('Start all else as it was'))
  assert.ok(failed.includes('all is what it was'))
  assert.ok(!actions(model).some((line) => line.startsWith('put-back')))
  for (const node of model.nodes.values()) assert.equal(node.lock, null)
})
