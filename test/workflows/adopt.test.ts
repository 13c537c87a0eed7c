/** Another run takes over from one that is gone, on the model: every place at which a run may have died. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { AdoptVerdict } from '../../domain/adopt-verdict.ts'
import { answering, SILENT, symptoms } from '../unit/examples.ts'
import { Engine, type RestoreRun } from './engine.ts'
import type { Asked, ModelCluster } from './model-cluster.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

const called =
  (activity: string, what = '') =>
  (asked: Asked): boolean =>
    asked.activity === activity && asked.what.startsWith(what)

/** A restore, or another recovery, that is terminated where `on` matches; what was begun there comes to its end by itself. */
async function diesAt(
  model: ModelCluster,
  on: (asked: Asked) => boolean,
  start: (model: ModelCluster) => Promise<RestoreRun<unknown>> = (of) => engine.restore(of),
  checkpoint = 'destroy',
): Promise<void> {
  const gate = model.hold(on)
  const run = await start(model)
  await run.decide(await run.checkpoint(checkpoint), 'approve')
  await gate.arrived
  await run.handle.terminate('the plug')
  gate.release()
}

async function adopted(model: ModelCluster, input: object = {}): Promise<RestoreRun<AdoptVerdict>> {
  const run = await engine.adopt(model, input)
  await run.decide(await run.checkpoint('adopt'), 'approve')
  return run
}

const PLACES: [string, (asked: Asked) => boolean][] = [
  ['writing the journal', called('writeJournal')],
  ['stopping etcd', called('performAction', 'stop-pods')],
  ['setting the data aside', called('performAction', 'set-aside')],
  ['restoring', called('performAction', 'restore')],
  ['starting etcd', called('performAction', 'start-etcd')],
  ['waiting for etcd', called('awaitRestoredCluster')],
  ['holding it against the snapshot', called('validateCluster')],
]
const OPEN: [string, (asked: Asked) => boolean][] = [
  ['marking it as open', called('markRecovery', 'opened')],
  ['recording the lineage', called('recordLineage')],
  ['the fresh backup', called('storeSnapshot')],
]

describe('a restore that died', () => {
  for (const [where, on] of [...PLACES, ...OPEN]) {
    test(`${where}: adopting it ends it`, async () => {
      const model = engine.cluster()
      await diesAt(model, on)
      const run = await adopted(model)
      await run.decide(await run.checkpoint('accept'), 'approve')
      const verdict = await run.verdict()
      assert.equal(verdict.outcome, 'restored')
      for (const node of model.nodes.values()) {
        assert.match(node.data ?? '', /^restored/)
        assert.equal(node.lock, null)
        assert.deepEqual([...node.staged], [])
      }
      assert.equal(model.schedule?.paused, false)
      assert.equal(await outcomeOfAnother(model), 'nothing-to-adopt')
    })
  }

  for (const [where, on] of PLACES) {
    test(`${where}: undoing it puts everything back`, async () => {
      const model = engine.cluster()
      const before = model.live()
      await diesAt(model, on)
      const run = await adopted(model, { undo: true })
      assert.equal((await run.verdict()).outcome, 'undone')
      assert.deepEqual(model.live(), before)
      assert.equal(await outcomeOfAnother(model), 'nothing-to-adopt')
    })
  }

  for (const [where, on] of OPEN.slice(1)) {
    test(`${where}: clients could write, and it can't be undone`, async () => {
      const model = engine.cluster()
      await diesAt(model, on)
      const failure = await (await engine.adopt(model, { undo: true })).failure()
      assert.equal(failure.code, 'input-invalid')
      assert.match(failure.message, /clients could write since/)
      assert.equal(model.begun('takeOverLock').length, 0)
    })
  }

  test('without consent nothing is touched, and nobody loses a lock', async () => {
    const model = engine.cluster()
    await diesAt(model, called('performAction', 'restore'))
    const run = await engine.adopt(model)
    const waiting = await run.checkpoint('adopt')
    // What was begun on the nodes has come to its end by now.
    const before = model.live()
    const calls = model.calls.length
    await run.decide(waiting, 'refuse')
    assert.equal((await run.verdict()).outcome, 'refused')
    // In real time: the engine skips none while it believes that a terminated run still works.
    const adopt = { people: 1, timeout: 2_000 }
    model.config = { ...model.config, approval: { ...model.config.approval, adopt } }
    assert.equal((await (await engine.adopt(model)).verdict()).outcome, 'timed-out')
    assert.deepEqual(model.live(), before)
    const touched = ['performAction', 'takeOverLock', 'pauseBackups', 'markRecovery', 'unlockNode']
    assert.deepEqual(
      model.calls.slice(calls).filter(({ activity }) => touched.includes(activity)),
      [],
    )
  })

  test('a lock that changed hands while it was waited for is left alone', async () => {
    const model = engine.cluster()
    await diesAt(model, called('performAction', 'restore'))
    const run = await engine.adopt(model)
    const waiting = await run.checkpoint('adopt')
    for (const node of model.nodes.values()) node.lock = 'recovery/somebody-alive'
    await run.decide(waiting, 'approve')
    assert.equal((await run.failure()).code, 'lock-held')
    for (const node of model.nodes.values()) assert.equal(node.lock, 'recovery/somebody-alive')
  })
})

describe('an adoption that fails', () => {
  test('before it comes to what was done takes that back all the same', async () => {
    const model = engine.cluster()
    const before = model.live()
    await diesAt(model, called('performAction', 'restore'))
    model.fail(called('writeJournal'), { times: 9 })
    const run = await adopted(model)
    const retry = await run.checkpoint('retry')
    await run.decide(retry, 'refuse')
    const { code, message } = await run.failure()
    assert.equal(code, 'restore-undone', message)
    assert.deepEqual(model.live(), before)
  })

  test('of a replacement whose member was removed leads nowhere but forward', async () => {
    const model = engine.cluster()
    model.quorum = true
    model.seen = (found) => ({
      ...found,
      ...(found.node === 'cp-03' && model.nodes.get('cp-03')?.data !== 'empty'
        ? { member: SILENT, etcdPids: [] }
        : { member: answering(found.node, { members: model.members }) }),
      symptoms: symptoms(),
    })
    const replace = (of: ModelCluster): Promise<RestoreRun<unknown>> => engine.replace(of, { node: 'cp-03' })
    await diesAt(model, called('performAction', 'add-learner'), replace, 'replace')
    const files = (): object[] =>
      [...model.nodes].map(([name, { data, manifests }]) => ({ name, data, manifests: [...manifests] }))
    const left = files()
    model.fail(called('performAction', 'set-aside'))
    const run = await adopted(model)
    const retry = await run.checkpoint('retry')
    assert.match(retry.shows, /there is only forward/)
    assert.deepEqual(files(), left, 'the removed member is not put back')
    await run.decide(retry, 'approve')
    assert.equal((await run.verdict()).outcome, 'replaced')
  })
})

describe('a roll-back that died', () => {
  const opened = async (): Promise<{ model: ModelCluster; old: unknown; restored: unknown }> => {
    const model = engine.cluster()
    model.seen = (found) => ({ ...found, symptoms: symptoms() })
    const old = model.live()
    assert.equal((await (await engine.restore(model)).approveAll()).outcome, 'restored')
    return { model, old, restored: model.live() }
  }
  const rollBack = (of: ModelCluster): Promise<RestoreRun<unknown>> => engine.rollBack(of)
  const before: [string, (asked: Asked) => boolean][] = [
    ['writing the journal', called('writeJournal')],
    ['stopping the restored cluster', called('performAction', 'stop-pods')],
    ['setting its data aside', called('performAction', 'set-aside')],
    ['taking the old data back', called('performAction', 'take-back')],
    ['starting the old etcd', called('performAction', 'return-pods etcd')],
  ]
  const afterwards: [string, (asked: Asked) => boolean][] = [
    ['recording which cluster it is', called('recordLineage')],
    ['saying that it has ended', called('markRecovery', 'ended')],
  ]

  for (const [where, on] of [...before, ...afterwards]) {
    test(`${where}: adopting it ends it`, async () => {
      const { model, old } = await opened()
      await diesAt(model, on, rollBack, 'rollback')
      const verdict = await (await adopted(model)).verdict()
      assert.equal(verdict.outcome, 'rolled-back', JSON.stringify(verdict.checks))
      assert.equal(verdict.adopted?.runbook, 'rollBack')
      assert.deepEqual(model.live(), old)
      for (const node of model.nodes.values()) assert.equal(node.lock, null)
      assert.equal(model.schedule?.paused, false)
      assert.equal(await outcomeOfAnother(model), 'nothing-to-adopt')
    })
  }

  for (const [where, on] of before) {
    test(`${where}: undoing it brings the restored cluster back`, async () => {
      const { model, restored } = await opened()
      await diesAt(model, on, rollBack, 'rollback')
      assert.equal((await (await adopted(model, { undo: true })).verdict()).outcome, 'undone')
      assert.deepEqual(model.live(), restored)
      assert.equal(await outcomeOfAnother(model), 'nothing-to-adopt')
    })
  }

  test('after the old etcd was started there is only forward', async () => {
    const { model } = await opened()
    await diesAt(model, called('recordLineage'), rollBack, 'rollback')
    const failure = await (await engine.adopt(model, { undo: true })).failure()
    assert.equal(failure.code, 'input-invalid')
    assert.match(failure.message, /clients could write since/)
  })
})

async function outcomeOfAnother(model: ModelCluster): Promise<string> {
  return (await (await engine.adopt(model)).failure()).code
}
