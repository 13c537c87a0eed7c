import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { revision } from '../../domain/values.ts'
import { answering, MEMBERS, SILENT } from '../unit/examples.ts'
import { Engine } from './engine.ts'
import type { Asked, ModelCluster } from './model-cluster.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

const called =
  (activity: string, node?: string) =>
  (asked: Asked): boolean =>
    asked.activity === activity && (node === undefined || asked.node === node)

function living(differs: Parameters<typeof engine.cluster>[0] = {}): ModelCluster {
  const model = engine.cluster(differs)
  model.quorum = true
  for (const node of model.nodes.values()) node.data ??= 'data'
  return model
}

async function proved(model: ModelCluster) {
  const end = await engine.backup(model)
  assert.ok(end.ended === 'well', JSON.stringify(end))
  return end.result
}

async function failed(model: ModelCluster, more: object = {}) {
  const end = await engine.backup(model, more)
  assert.ok(end.ended === 'failed', JSON.stringify(end))
  return end
}

describe('a backup', () => {
  test('saves, holds against the catalogue, stores while it counts, and only then commits', async () => {
    const model = living()
    const verdict = await proved(model)
    assert.deepEqual(model.outline(), [
      'loadCluster',
      'surveyNode ×3',
      'saveSnapshot',
      'keyFingerprints',
      'readCatalogue',
      'storeSnapshot: daily',
      'takeInventory',
      'commitSnapshot: daily',
      'keepMonth',
      'releaseSuperseded',
      'pruneLocal',
    ])
    assert.equal(verdict.outcome, 'proved')
    assert.equal(verdict.source, 'cp-02')
    assert.equal(verdict.versionId, `v-${verdict.key}`)
    assert.equal(model.proved[0]?.key, verdict.key)
    assert.equal(model.proved[0]?.source.memberId, MEMBERS[1]?.id)
  })

  test('is proved although the store can’t be put in order, and says so', async () => {
    const model = living()
    model.fail(called('keepMonth'), { code: 'store-refused' })
    model.fail(called('releaseSuperseded'), { code: 'store-refused' })
    const { outcome, warnings } = await proved(model)
    assert.equal(outcome, 'proved')
    assert.deepEqual(
      warnings.map((warning) => warning.split(':')[0]),
      ['Keep the first of the month', 'Let superseded ones expire'],
    )
    assert.equal(model.begun('pruneLocal').length, 1)
  })

  test('lets nothing expire before as many newer ones are proved as are always kept', async () => {
    const model = living()
    model.proved = model.proved.slice(0, 1)
    await proved(model)
    assert.equal(model.begun('releaseSuperseded').length, 0)
  })

  test('takes the next member when one fails, and never the same twice', async () => {
    const model = living()
    model.fail(called('saveSnapshot', 'cp-02'), { code: 'snapshot-damaged' })
    assert.equal((await proved(model)).source, 'cp-03')
    assert.deepEqual(
      model.begun('saveSnapshot').map(({ node }) => node),
      ['cp-02', 'cp-03'],
    )
  })

  test('takes the leader when no follower can', async () => {
    const model = living()
    model.fail(({ activity, node }) => activity === 'saveSnapshot' && node !== 'cp-01', {
      code: 'etcd-unavailable',
      times: 4,
    })
    assert.equal((await proved(model)).source, 'cp-01')
  })

  test('takes another member where there is no room', async () => {
    const model = living()
    model.seen = (found) => (found.node === 'cp-02' ? { ...found, snapshotRoomBytes: 1_000 } : found)
    assert.equal((await proved(model)).source, 'cp-03')
    assert.deepEqual(
      model.begun('saveSnapshot').map(({ node }) => node),
      ['cp-03'],
    )
  })

  test('goes on without a node that can’t be reached, and warns', async () => {
    const model = living()
    model.seen = (found) =>
      found.node === 'cp-02' ? { node: 'cp-02', reached: false, reason: 'no route to host' } : found
    const { source, warnings } = await proved(model)
    assert.equal(source, 'cp-03')
    assert.deepEqual(warnings, ['cp-02 could not be reached: no route to host'])
  })

  test('goes on under the alarm NOSPACE, and says how to make room', async () => {
    const model = living()
    model.outOfSpace = ['cp-02']
    const { warnings } = await proved(model)
    assert.deepEqual(warnings, [`etcd refuses every write (NOSPACE): requorum relieve ${model.name}`])
  })

  test('ends with every member’s reason when none can give a snapshot', async () => {
    const model = living()
    model.fail(called('saveSnapshot'), { code: 'snapshot-damaged', times: 3 })
    const { code, message } = await failed(model)
    assert.equal(code, 'no-source')
    for (const node of ['cp-01', 'cp-02', 'cp-03'])
      assert.match(message, new RegExp(`${node}: The model fails`))
    assert.equal(model.begun('storeSnapshot').length, 0)
  })

  test('ends with reasons when quorum is lost', async () => {
    const model = engine.cluster()
    const { code, message } = await failed(model)
    assert.equal(code, 'no-source')
    assert.match(message, /cp-01: its etcd doesn't answer/)
    assert.equal(model.begun('saveSnapshot').length, 0)
  })

  test('never takes an empty cluster that a first node made of itself, not even as the first snapshot', async () => {
    const model = living()
    model.proved = []
    model.seen = (found) =>
      found.node === 'cp-01'
        ? { ...found, member: answering('cp-01', { members: [MEMBERS[0]!], revision: revision.parse('1') }) }
        : { ...found, member: SILENT }
    const { code, message } = await failed(model)
    assert.equal(code, 'no-source')
    assert.match(message, /cp-01: its etcd runs as a cluster of its own/)
  })

  test('counts as none when the store does not confirm it: the catalogue stays as it was', async () => {
    const model = living()
    const before = model.proved
    model.fail(called('commitSnapshot'), { code: 'store-mismatch' })
    assert.equal((await failed(model)).code, 'store-mismatch')
    assert.deepEqual(model.proved, before)
    assert.equal(model.begun('pruneLocal').length, 0, 'nothing is pruned for it')
  })

  test('says why it has no inventory', async () => {
    const model = living()
    model.hands.takeInventory = async () => ({ skipped: 'the revision was compacted' })
    assert.deepEqual((await proved(model)).warnings, ['no inventory: the revision was compacted'])
  })
})

describe('an implausible snapshot', () => {
  for (const [what, saved, words] of [
    ['that is behind', { revision: revision.parse('47000') }, /revision 47000 is behind 48000/],
    ['that is small', { sizeBytes: 4_096 }, /4096 bytes/],
  ] as const) {
    test(`${what} goes into quarantine with its reasons, and replaces nothing`, async () => {
      const model = living()
      const before = model.proved
      model.saved = saved
      // The alarm matters more than the order in the store.
      model.fail(called('releaseQuarantined'), { code: 'store-refused' })
      const { code, message } = await failed(model)
      assert.equal(code, 'snapshot-implausible')
      assert.match(message, words)
      assert.deepEqual(model.outline().slice(-3), [
        'storeSnapshot: quarantine',
        'noteQuarantine: quarantine',
        'releaseQuarantined: quarantine',
      ])
      assert.deepEqual(model.proved, before)
      assert.equal(model.begun('pruneLocal').length, 0)
    })
  }

  test('that is nearly empty goes into quarantine, though its history makes up for the keys', async () => {
    const model = living()
    model.saved = { liveKeys: 3 }
    const { code, message } = await failed(model)
    assert.equal(code, 'snapshot-implausible')
    assert.match(message, /holds 3 live keys where 4000 are usual/)
  })

  test('of another cluster goes into quarantine', async () => {
    const model = living()
    model.proved = model.proved.map((snapshot) => ({
      ...snapshot,
      etcd: { ...snapshot.etcd, clusterId: MEMBERS[0]!.id },
    }))
    const { code, message } = await failed(model)
    assert.equal(code, 'snapshot-implausible')
    assert.match(message, /cluster ID/)
  })
})

describe('a backup during a recovery', () => {
  const locked = () => {
    const model = living()
    for (const node of model.nodes.values()) node.lock = `recovery/${model.name}/run-1`
    return model
  }

  test('is refused before it saves anything', async () => {
    const model = locked()
    const { code, message } = await failed(model)
    assert.equal(code, 'recovery-running')
    assert.match(message, /holds cp-01 since/)
    assert.equal(model.begun('saveSnapshot').length, 0)
  })

  test('is refused on behalf of another one', async () => {
    const model = locked()
    assert.equal(
      (await failed(model, { onBehalfOf: `recovery/${model.name}/run-2` })).code,
      'recovery-running',
    )
  })

  test('is made on behalf of it', async () => {
    const model = locked()
    const end = await engine.backup(model, { onBehalfOf: `recovery/${model.name}/run-1` })
    assert.equal(end.ended, 'well', JSON.stringify(end))
  })
})
