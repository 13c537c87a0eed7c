import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { TASK_QUEUE, type ValidationRequest } from '../../domain/messages.ts'
import { fail, warn } from '../../domain/validation/finding.ts'
import { CHECK_NAMES } from '../../domain/validation/checks.ts'
import type { ValidationVerdict } from '../../domain/validation/verdict.ts'
import { Engine, type End } from './engine.ts'
import type { Asked, ModelCluster } from './model-cluster.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

let started = 0
function idOf(model: ModelCluster): string {
  started += 1
  return `validate/${model.name}/${started}`
}

function validate(model: ModelCluster, more: object = {}): Promise<End<ValidationVerdict>> {
  return engine.run<ValidationVerdict>('validate', idOf(model), { cluster: model.name, ...more })
}

async function verdict(model: ModelCluster, more: object = {}): Promise<ValidationVerdict> {
  const end = await validate(model, more)
  assert.ok(end.ended === 'well', JSON.stringify(end))
  return end.result
}

async function refused(model: ModelCluster, more: object): Promise<string> {
  const end = await validate(model, more)
  assert.ok(end.ended === 'failed', JSON.stringify(end))
  assert.equal(end.code, 'input-invalid')
  assert.deepEqual(model.begun('runCheck'), [])
  return end.message
}

const kubernetes = (differs: Parameters<typeof engine.cluster>[0] = {}): ModelCluster =>
  engine.cluster({ pods: ['etcd', 'kube-apiserver'], ...differs })

const check =
  (name: string) =>
  (asked: Asked): boolean =>
    asked.activity === 'runCheck' && asked.what === name

const found = ({ checks }: ValidationVerdict, name: string): string => {
  const one = checks.find((made) => made.name === name)
  return one === undefined ? `${name} is not in the verdict` : `${one.verdict}: ${one.evidence}`
}

describe('a validation', () => {
  test('makes every check once, the canary last, and takes the canary away', async () => {
    const model = kubernetes()
    const { outcome, checks, against } = await verdict(model)
    assert.equal(outcome, 'healthy')
    assert.deepEqual(
      checks.map(({ name }) => name),
      CHECK_NAMES,
    )
    assert.equal(against, model.proved[0]?.key)
    const outline = model.outline()
    assert.deepEqual(outline.slice(0, 2), ['listChecks', 'readCatalogue'])
    assert.deepEqual(outline.slice(-2), ['runCheck: canary', 'removeCanary'])
    assert.equal(outline.length, 2 + CHECK_NAMES.length + 1)
    assert.deepEqual([...model.canaries], [])
  })

  test('gives each check its limit, from the cluster file where that says one', async () => {
    const model = kubernetes({ validate: { limits: { members: '7s' } } })
    const { checks } = await verdict(model)
    const limits = new Map(checks.map(({ name, limitSeconds }) => [name, limitSeconds]))
    assert.equal(limits.get('members'), 7)
    assert.equal(limits.get('nodes'), 300)
    assert.deepEqual(
      model.checksAsked.filter(({ name }) => name === 'members').map(({ limitMs }) => limitMs),
      [7_000],
    )
  })

  test('with a failed check is unhealthy, and still makes all the others', async () => {
    const model = kubernetes()
    model.found = { nodes: fail('not Ready: cp-03'), alarms: warn('odd') }
    const made = await verdict(model)
    assert.equal(made.outcome, 'unhealthy')
    assert.equal(found(made, 'nodes'), 'fail: not Ready: cp-03')
    assert.equal(found(made, 'canary'), 'pass: good; removed after 3.0 s')
  })

  test('with a warning says warnings', async () => {
    const model = kubernetes()
    model.found = { 'object-counts': warn('secrets: 1 deleted') }
    assert.equal((await verdict(model)).outcome, 'warnings')
  })

  test('holds the counts against the snapshot that is named', async () => {
    const model = kubernetes()
    const key = model.proved[1]?.key
    assert.equal((await verdict(model, { against: key })).against, key)
    const [asked] = model.checksAsked.filter(({ name }) => name === 'object-counts')
    assert.ok(asked && 'key' in asked.against && asked.against.key === key)
  })

  test('without a snapshot, or without the store, compares with none and says why', async () => {
    const empty = kubernetes()
    empty.proved = []
    assert.equal((await verdict(empty)).against, null)
    const [asked] = empty.checksAsked
    assert.match(JSON.stringify(asked?.against), /there is no proved snapshot/)

    const lost = kubernetes()
    lost.fail(({ activity }) => activity === 'readCatalogue', { code: 'store-refused', times: 9 })
    await verdict(lost)
    assert.match(JSON.stringify(lost.checksAsked[0]?.against), /the catalogue can't be read: .*store-refused/)
  })

  test('on behalf of a recovery is patient, by itself it looks once', async () => {
    const model = kubernetes()
    await verdict(model)
    await verdict(model, { onBehalfOf: 'recovery/x/1' })
    const patience = model.checksAsked.filter(({ name }) => name === 'nodes').map(({ patient }) => patient)
    assert.deepEqual(patience, [false, true])
  })
})

describe('a check', () => {
  test('of the API is skipped where no node has an API server, and says so', async () => {
    const model = engine.cluster()
    const made = await verdict(model)
    assert.equal(made.outcome, 'healthy')
    for (const name of ['api-servers', 'nodes', 'secrets', 'canary']) {
      assert.equal(
        found(made, name),
        'skipped: no API server: cp-01, cp-02, cp-03 have no kube-apiserver manifest',
      )
    }
    assert.equal(found(made, 'members'), 'pass: good')
    assert.deepEqual(model.begun('removeCanary'), [], 'there is no canary to remove')
  })

  test('is skipped by the cluster file, and by the request', async () => {
    const model = kubernetes({ validate: { skip: ['canary', 'hashes'] } })
    const made = await verdict(model, { skip: ['nodes'] })
    assert.equal(found(made, 'canary'), 'skipped: the cluster file says so (validate.skip)')
    assert.equal(found(made, 'hashes'), 'skipped: the cluster file says so (validate.skip)')
    assert.equal(found(made, 'nodes'), 'skipped: the request says so')
    assert.deepEqual(model.begun('removeCanary'), [])
    assert.ok(!model.checksAsked.some(({ name }) => ['canary', 'hashes', 'nodes'].includes(name)))
  })

  test('where nothing is left to make leaves no healthy verdict', async () => {
    const model = engine.cluster({ validate: { skip: [...CHECK_NAMES] } })
    assert.equal((await verdict(model)).outcome, 'warnings')
  })

  test('that throws whatever is tried is a failed check with the reason, and no failed run', async () => {
    const model = kubernetes()
    model.fail(check('leader'), { code: 'connection-lost', times: 99 })
    const made = await verdict(model)
    assert.equal(made.outcome, 'unhealthy')
    assert.match(found(made, 'leader'), /^fail: it could not be made: The model fails with connection-lost/)
  })

  test('that is cut short once, as by a lost worker, is made again', async () => {
    const model = kubernetes()
    model.fail(check('leader'), { code: 'connection-lost', times: 1 })
    assert.equal((await verdict(model)).outcome, 'healthy')
    assert.equal(model.checksAsked.filter(({ name }) => name === 'leader').length, 2)
  })
})

describe('the canary', () => {
  test('is taken away when its check fails, and when its check can not be made', async () => {
    const failing = kubernetes()
    failing.found = { canary: fail("the Deployment isn't ready: Pending") }
    assert.equal(
      found(await verdict(failing), 'canary'),
      "fail: the Deployment isn't ready: Pending; removed after 3.0 s",
    )
    const throwing = kubernetes()
    throwing.fail(check('canary'), { times: 99 })
    assert.match(found(await verdict(throwing), 'canary'), /^fail: it could not be made: .*; removed after/)
    assert.deepEqual([...failing.canaries, ...throwing.canaries], [])
  })

  test('that stays behind is a failed check, however well it did', async () => {
    const model = kubernetes()
    model.removal = fail('not removed within 170 s')
    const made = await verdict(model)
    assert.equal(made.outcome, 'unhealthy')
    assert.equal(found(made, 'canary'), 'fail: good; not removed within 170 s')
  })

  test('is taken away when the run is cancelled in the middle of it', async () => {
    const model = kubernetes()
    const held = model.hold(check('canary'))
    const handle = await engine.client.workflow.start<
      (request: ValidationRequest) => Promise<ValidationVerdict>
    >('validate', { taskQueue: TASK_QUEUE, workflowId: idOf(model), args: [{ cluster: model.name }] })
    await held.arrived
    assert.equal(model.canaries.size, 1)
    await handle.cancel()
    await assert.rejects(handle.result())
    assert.equal((await handle.describe()).status.name, 'CANCELLED')
    assert.equal(model.begun('removeCanary').length, 1)
    assert.equal(model.canaries.size, 0)
  })
})

describe('a request', () => {
  test('for a check that there is none of names the one that was probably meant', async () => {
    assert.match(
      await refused(kubernetes(), { skip: ['canry'] }),
      /"canry" is no check; did you mean canary\?/,
    )
    assert.match(await refused(kubernetes(), { skip: ['zebra'] }), /the checks are members, leader/)
  })

  test('for a snapshot that is not proved is refused before anything is looked at', async () => {
    const message = await refused(kubernetes(), { against: 'daily/nothing.db' })
    assert.match(message, /daily\/nothing\.db is no proved snapshot/)
  })

  test('that is no request is refused, not retried for ever', async () => {
    for (const input of [{ against: 7 }, { skip: 'canary' }, { onBehalfOf: [] }]) {
      await refused(kubernetes(), input)
    }
  })
})
