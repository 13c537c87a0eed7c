import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { RehearsalVerdict } from '../../domain/rehearsal.ts'
import { Engine, type End } from './engine.ts'
import type { ModelCluster } from './model-cluster.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

function rehearse(model: ModelCluster, wishes: object = {}): Promise<End<RehearsalVerdict>> {
  return engine.run<RehearsalVerdict>('rehearse', `rehearse/${model.name}`, {
    cluster: model.name,
    ...wishes,
  })
}

describe('rehearse', () => {
  test('restores the newest proved snapshot, and writes down that it did', async () => {
    const model = engine.cluster()
    const before = model.live()
    const end = await rehearse(model)
    assert.ok(end.ended === 'well', JSON.stringify(end))
    assert.equal(end.result.attestation.key, model.proved[0]?.key)
    assert.equal(end.result.attestation.sha256, model.proved[0]?.sha256)
    assert.deepEqual(
      model.attestations.map(({ outcome }) => outcome),
      ['restored'],
    )
    assert.deepEqual(model.outline(), [
      'loadCluster',
      'readCatalogue',
      'rehearseSnapshot',
      'attest: restored',
    ])
    assert.deepEqual(model.live(), before, 'and touches no node')
  })

  test('takes the one that is named, and no other', async () => {
    const model = engine.cluster()
    const [, older] = model.proved
    const end = await rehearse(model, { snapshot: older?.key })
    assert.equal(end.ended === 'well' ? end.result.attestation.key : '', older?.key)
    const strange = await rehearse(model, { snapshot: 'daily/snapshot-19990101T000000Z.db' })
    assert.equal(strange.ended === 'failed' ? strange.code : '', 'no-candidate')
  })

  test('of one that can not be restored writes that down, and fails with what to do', async () => {
    const model = engine.cluster()
    model.rehearsed = () => ({ failed: "it can't be restored: expected sha256 [1 2], got [3 4]" })
    const end = await rehearse(model)
    assert.ok(end.ended === 'failed')
    assert.equal(end.code, 'rehearsal-failed')
    assert.match(end.message, /expected sha256/)
    assert.match(end.message, /requorum backup now/)
    assert.deepEqual(
      model.attestations.map(({ outcome, checks }) => [outcome, checks[0]?.verdict]),
      [['failed', 'fail']],
    )
  })

  test('of one that holds something else than its manifest says is no less a failure', async () => {
    const model = engine.cluster()
    model.rehearsed = (facts) => ({ ...facts, totalKeys: facts.totalKeys - 1 })
    const end = await rehearse(model)
    assert.equal(end.ended === 'failed' ? end.code : '', 'rehearsal-failed')
    assert.equal(model.attestations[0]?.outcome, 'failed')
  })

  test('a worker’s host that can not do it says nothing about the snapshot', async () => {
    const model = engine.cluster()
    model.fail(({ activity }) => activity === 'rehearseSnapshot', { code: 'tools-missing' })
    const end = await rehearse(model)
    assert.equal(end.ended === 'failed' ? end.code : '', 'tools-missing')
    assert.deepEqual(model.attestations, [])
  })
})
