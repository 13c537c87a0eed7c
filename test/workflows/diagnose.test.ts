import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Diagnosis } from '../../domain/diagnosis.ts'
import type { ReachedNode } from '../../domain/survey.ts'
import { symptoms } from '../unit/examples.ts'
import { Engine, type End } from './engine.ts'
import type { ModelCluster } from './model-cluster.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

function diagnosed(model: ModelCluster): Promise<End<Diagnosis>> {
  return engine.run<Diagnosis>('diagnose', `diagnose/${model.name}`, { cluster: model.name })
}

async function answer(model: ModelCluster): Promise<Diagnosis> {
  const end = await diagnosed(model)
  assert.equal(end.ended, 'well', JSON.stringify(end))
  return end.ended === 'well' ? end.result : assert.fail()
}

const DOWN = { member: { answers: false, reason: 'no etcd process runs' }, etcdPids: [] } as const

describe('diagnose', () => {
  test('of a healthy cluster looks once, and only looks', async () => {
    const model = engine.cluster()
    model.quorum = true
    const before = model.live()
    assert.equal((await answer(model)).kind, 'healthy')
    assert.deepEqual(model.outline(), ['loadCluster', 'surveyNode ×3'])
    assert.deepEqual(model.live(), before)
  })

  test('looks again for half a minute where somebody is down, and only looks', async () => {
    const model = engine.cluster()
    model.seen = (found) => ({
      ...found,
      symptoms: symptoms({ kubelet: 'inactive', etcdAgeSeconds: null }),
      dataDir: { ...found.dataDir, bytes: 190_000_000 },
    })
    const diagnosis = await answer(model)
    assert.equal(diagnosis.kind, 'restart', JSON.stringify(diagnosis))
    assert.ok(diagnosis.looks > 2 && diagnosis.looks < 8, String(diagnosis.looks))
    assert.deepEqual(model.outline(), ['loadCluster', `surveyNode ×${3 * diagnosis.looks}`])
  })

  test('sees a member flap that one look would have called well or dead', async () => {
    const model = engine.cluster()
    model.quorum = true
    let looks = 0
    model.seen = (found): ReachedNode => {
      if (found.node !== 'cp-02') return found
      looks += 1
      return looks % 2 === 1 ? { ...found, ...DOWN } : { ...found, etcdPids: [812 + looks] }
    }
    const diagnosis = await answer(model)
    assert.equal(diagnosis.kind, 'hands-off')
    assert.deepEqual(diagnosis.nodes, ['cp-02'])
    assert.match(diagnosis.summary, /not steady/)
  })

  test('takes a node that refuses the login as a finding, and looks at the others', async () => {
    const model = engine.cluster()
    model.quorum = true
    model.fail(({ activity, node }) => activity === 'surveyNode' && node === 'cp-03', {
      code: 'ssh-login-refused',
      times: 100,
    })
    const diagnosis = await answer(model)
    assert.equal(diagnosis.kind, 'hands-off')
    assert.deepEqual(diagnosis.nodes, ['cp-03'])
    assert.match(JSON.stringify(diagnosis.evidence), /The model fails with ssh-login-refused/)
  })

  test('of a cluster that nobody knows, or of none, fails with the words for it', async () => {
    for (const [id, input, code] of [
      ['1', { cluster: 'nobody' }, 'cluster-unknown'],
      ['2', { cluster: '../etc' }, 'input-invalid'],
      ['3', null, 'input-invalid'],
    ] as const) {
      const end = await engine.run<Diagnosis>('diagnose', `diagnose/wrong-${id}`, input)
      assert.equal(end.ended === 'failed' ? end.code : end.ended, code)
    }
  })
})
