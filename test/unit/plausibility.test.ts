import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { reasonsAgainst } from '../../domain/plausibility.ts'
import { lineageSchema, type Catalogue, type Lineage, type SavedSnapshot } from '../../domain/snapshot.ts'
import { etcdId, revision, sha256 } from '../../domain/values.ts'
import { CLUSTER_ID, clusterConfig, snapshotOf } from './examples.ts'

const limits = clusterConfig().plausibility
const OTHER_ID = etcdId.parse('1111222233334444')
const THIRD_ID = etcdId.parse('5555666677778888')

const saved: SavedSnapshot = {
  node: 'cp-02',
  path: '/var/lib/etcd-backups/snapshot-20261122T080000Z.db',
  takenAt: '2026-11-22T08:00:00.000Z',
  sha256: sha256.parse('b'.repeat(64)),
  sizeBytes: 25_000_032,
  revision: revision.parse('48100'),
  totalKeys: 4_210,
  liveKeys: 4_000,
  hash: '00000001',
}

function catalogue(
  proved: Catalogue['proved'] = [snapshotOf('2026-11-22T02:00:00.000Z')],
  lineages: readonly Lineage[] = [],
): Catalogue {
  return { proved, lineages, refused: [] }
}

function lineage(openedAt: string, previousClusterId: string, clusterId: string): Lineage {
  return lineageSchema.parse({
    version: 1,
    cluster: 'prod',
    recovery: '20261122T030000Z-00000000',
    openedAt,
    restoredFrom: { key: 'daily/x.db', versionId: '1', sha256: 'a'.repeat(64) },
    previousClusterId,
    clusterId,
  })
}

describe('a snapshot is plausible', () => {
  test('when it goes on where the newest proved one stood', () => {
    assert.deepEqual(reasonsAgainst(saved, CLUSTER_ID, catalogue(), limits), [])
    const same = { ...saved, revision: revision.parse('48000') }
    assert.deepEqual(reasonsAgainst(same, CLUSTER_ID, catalogue(), limits), [], 'nothing was written since')
  })

  test('when it is the first one, whatever it holds', () => {
    assert.deepEqual(reasonsAgainst({ ...saved, totalKeys: 1 }, OTHER_ID, catalogue([]), limits), [])
  })

  test('under the ID that a restore gave the cluster', () => {
    const after = catalogue(undefined, [lineage('2026-11-22T03:00:00.000Z', CLUSTER_ID, OTHER_ID)])
    assert.deepEqual(reasonsAgainst(saved, OTHER_ID, after, limits), [])
  })

  test('under the ID of the last of two restores with no backup in between', () => {
    const after = catalogue(undefined, [
      lineage('2026-11-22T03:00:00.000Z', CLUSTER_ID, OTHER_ID),
      lineage('2026-11-22T04:00:00.000Z', CLUSTER_ID, THIRD_ID),
    ])
    assert.deepEqual(reasonsAgainst(saved, THIRD_ID, after, limits), [])
  })
})

test('a cluster ID that a person accepts in the cluster file is no stranger’s', () => {
  const accepting = { ...limits, acceptClusterId: OTHER_ID }
  assert.deepEqual(reasonsAgainst(saved, OTHER_ID, catalogue(), accepting), [])
  assert.equal(reasonsAgainst(saved, THIRD_ID, catalogue(), accepting).length, 1)
})

describe('a snapshot is implausible', () => {
  const because = (differs: Partial<SavedSnapshot>, id = CLUSTER_ID, held = catalogue()) =>
    reasonsAgainst({ ...saved, ...differs }, id, held, limits)

  test('when it holds no keys, even the first one', () => {
    assert.deepEqual(because({ totalKeys: 0 }, CLUSTER_ID, catalogue([])), ['it holds no keys'])
  })

  test('when it is another cluster’s', () => {
    const reasons = because({}, OTHER_ID)
    assert.equal(reasons.length, 1)
    assert.match(reasons[0]!, /cluster ID is 1111222233334444.*cdf818194e3a8c32/)
  })

  test('when its ID is that of a restore which an even newer backup has left behind', () => {
    const newer = catalogue(
      [snapshotOf('2026-11-22T06:00:00.000Z')],
      [lineage('2026-11-22T03:00:00.000Z', CLUSTER_ID, OTHER_ID)],
    )
    assert.equal(because({}, OTHER_ID, newer).length, 1)
  })

  test('when its revision is behind, to the last digit', () => {
    assert.match(because({ revision: revision.parse('47999') })[0]!, /revision 47999 is behind 48000/)
    const high = catalogue([snapshotOf('2026-11-22T02:00:00.000Z', { revision: '9007199254740993' })])
    assert.equal(because({ revision: revision.parse('9007199254740992') }, CLUSTER_ID, high).length, 1)
  })

  test('when it holds far fewer keys than are usual', () => {
    const uncounted = { liveKeys: null }
    assert.match(
      because({ ...uncounted, totalKeys: 2_099 })[0]!,
      /holds 2099 versions of keys where 4200 are usual/,
    )
    assert.deepEqual(because({ ...uncounted, totalKeys: 2_100 }), [])
  })

  test('when it is far smaller than is usual', () => {
    assert.match(because({ sizeBytes: 7_000_000 })[0]!, /is 7000000 bytes where 25000032 are usual/)
  })

  test('when far fewer keys are alive, though its history makes up for them', () => {
    assert.deepEqual(because({ totalKeys: 9_000, liveKeys: 40 }), [
      'it holds 40 live keys where 4000 are usual',
    ])
    assert.deepEqual(
      because({ totalKeys: 3, liveKeys: 4_000 }),
      [],
      'a restore has compacted its history away, and all is alive',
    )
    assert.deepEqual(because({ liveKeys: null }), [], 'not counted is not few')
  })

  test('for each reason at once', () => {
    assert.equal(because({ totalKeys: 0, liveKeys: 0, sizeBytes: 33 }, OTHER_ID).length, 4)
  })
})

describe('what is usual', () => {
  const uncounted = { ...saved, liveKeys: null }
  const of = (keys: number[]) =>
    catalogue(
      keys.map((totalKeys, index) =>
        snapshotOf(`2026-11-22T02:${String(59 - index).padStart(2, '0')}:00.000Z`, { totalKeys }),
      ),
    )

  test('is the median, which one strange snapshot does not move', () => {
    assert.deepEqual(
      reasonsAgainst({ ...uncounted, totalKeys: 500 }, CLUSTER_ID, of([1_000, 1_000, 1_000_000]), limits),
      [],
    )
    assert.match(
      reasonsAgainst({ ...uncounted, totalKeys: 749 }, CLUSTER_ID, of([1_000, 2_000]), limits)[0]!,
      /1500 are usual/,
    )
  })

  test('is of the recent ones only', () => {
    const grown = of([...Array.from({ length: 8 }, () => 1_000), ...Array.from({ length: 20 }, () => 9_000)])
    assert.deepEqual(reasonsAgainst({ ...uncounted, totalKeys: 600 }, CLUSTER_ID, grown, limits), [])
  })
})
