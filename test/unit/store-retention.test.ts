import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  EXPIRES_TAG,
  firstOfMonth,
  isSuperseded,
  keptUntil,
  lifecycleRules,
  lockOf,
  monthlyKeyOf,
  supersededBefore,
} from '../../domain/retention.ts'
import { namedSnapshot, snapshotKey } from '../../domain/snapshot.ts'
import { clusterConfig, snapshotOf } from './examples.ts'

const at = (hour: number): Date => new Date(Date.UTC(2026, 10, 22, hour))
const taken = (...hours: number[]) => hours.map((hour) => ({ takenAt: at(hour).toISOString() }))

describe('what may expire', () => {
  test('is what is older than the newest few that are proved', () => {
    const before = supersededBefore(taken(6, 12, 0, 18), 3)
    assert.equal(before, at(6).toISOString())
    assert.ok(isSuperseded(snapshotKey('site/', 'daily', at(0)), before))
    assert.ok(!isSuperseded(snapshotKey('site/', 'daily', at(6)), before))
  })

  test('is nothing while there are no more than the few', () => {
    assert.equal(supersededBefore(taken(0, 6), 3), null)
    assert.equal(supersededBefore([], 1), null)
  })

  test('goes with its manifest and its rehearsals, and leaves alone what has no time in its name', () => {
    const before = at(6).toISOString()
    for (const name of [
      'snapshot-20261122T000000Z.json',
      'snapshot-20261122T000000Z.rehearsed-20261122T090000Z.json',
    ])
      assert.ok(isSuperseded(`daily/${name}`, before), name)
    for (const name of ['notes.txt', 'snapshot-latest.db', 'snapshot-20261122T000000Z'])
      assert.ok(!isSuperseded(`daily/${name}`, before), name)
  })

  test('never is one of the newest few, whatever is proved', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat({ max: 500 })), fc.integer({ min: 1, max: 10 }), (hours, keep) => {
        const before = supersededBefore(taken(...hours), keep)
        const gone = hours.filter(
          (hour) => before !== null && isSuperseded(snapshotKey('', 'daily', at(hour)), before),
        )
        assert.equal(gone.length, Math.max(0, hours.length - keep))
        const kept = hours.filter((hour) => !gone.includes(hour))
        assert.ok(gone.every((hour) => kept.every((newer) => newer > hour)))
      }),
    )
  })
})

describe('the copy of the month', () => {
  test('is the first proved one of the month that the newest lies in', () => {
    const proved = ['2026-12-01T02:00:00Z', '2026-12-01T08:00:00Z', '2026-11-30T20:00:00Z'].map((takenAt) =>
      snapshotOf(takenAt),
    )
    assert.equal(firstOfMonth(proved, '2026-12-01T14:00:00Z')?.takenAt, '2026-12-01T02:00:00Z')
    assert.equal(firstOfMonth(proved, '2027-01-01T02:00:00Z'), null)
  })

  test('has the same name in monthly/, and only the last part of a prefix is changed', () => {
    const key = 'daily/site/daily/snapshot-20261201T020000Z.db'
    assert.equal(monthlyKeyOf(key), 'daily/site/monthly/snapshot-20261201T020000Z.db')
    assert.equal(namedSnapshot(monthlyKeyOf(key)), monthlyKeyOf(key))
  })
})

describe('the rules for the bucket', () => {
  const config = clusterConfig({ retention: { daily: '30d', monthly: '365d', quarantine: '36h' } })
  const { Rules } = lifecycleRules(config)

  test('take snapshots by their tag only, in whole days', () => {
    const tags = [{ Key: EXPIRES_TAG.name, Value: EXPIRES_TAG.value }]
    assert.deepEqual(
      Rules.slice(0, 3).map(({ Filter, Expiration }) => ({ ...Filter, ...Expiration })),
      [
        { And: { Prefix: 'daily/', Tags: tags }, Days: 30 },
        { And: { Prefix: 'monthly/', Tags: tags }, Days: 365 },
        { And: { Prefix: 'quarantine/', Tags: tags }, Days: 2 },
      ],
    )
  })

  test('without a tag take probes, and of the rest only markers without versions and abandoned uploads', () => {
    const [probe, left, ...more] = Rules.filter(({ Filter }) => !('And' in Filter))
    assert.deepEqual(more, [])
    assert.deepEqual(probe?.Filter, { Prefix: 'probe/' })
    assert.deepEqual(left?.Expiration, { ExpiredObjectDeleteMarker: true })
    assert.equal(left?.NoncurrentVersionExpiration, undefined)
  })

  test('say until when the youngest object is kept', () => {
    const objects = [
      { key: 'daily/snapshot-20261122T000000Z.db', modifiedAt: '2026-11-22T00:00:10Z' },
      { key: 'monthly/snapshot-20261101T000000Z.db', modifiedAt: '2026-11-01T00:00:00Z' },
      { key: 'probe/x.txt', modifiedAt: '2030-01-01T00:00:00Z' },
    ]
    assert.equal(keptUntil(config, objects), '2027-11-01T00:00:00.000Z')
    assert.equal(keptUntil(config, objects.slice(0, 1)), '2026-12-22T00:00:10.000Z')
    assert.equal(keptUntil(config, []), null)
  })
})

describe('Object Lock', () => {
  const locking = (lock: string) => ({
    prefix: 'site/',
    retention: clusterConfig({ retention: { lock, daily: '7d', monthly: '40d', quarantine: '2d' } })
      .retention,
  })
  const now = new Date('2026-12-01T10:00:00.250Z')

  test('is for as long as the area keeps what is stored there, in whole seconds', () => {
    const until = (key: string) => lockOf(locking('governance'), `site/${key}`, now)?.until.toISOString()
    assert.equal(until('daily/snapshot-20261201T100000Z.json'), '2026-12-08T10:00:01.000Z')
    assert.equal(until('monthly/snapshot-20261201T100000Z.db'), '2027-01-10T10:00:01.000Z')
    assert.equal(until('quarantine/snapshot-20261201T100000Z.db'), '2026-12-03T10:00:01.000Z')
    assert.equal(until('restores/7c0f.json'), '2027-01-10T10:00:01.000Z')
  })

  test('is of the mode that the cluster file names, and none by default', () => {
    const mode = (lock: string) => lockOf(locking(lock), 'site/daily/x.db', now)?.mode
    assert.deepEqual(['compliance', 'governance', 'none'].map(mode), ['COMPLIANCE', 'GOVERNANCE', undefined])
    const { store, retention } = clusterConfig()
    assert.equal(lockOf({ prefix: store.prefix, retention }, 'daily/x.db', now), null)
  })

  test('is never for a probe, nor for what is not below the prefix', () => {
    assert.equal(lockOf(locking('compliance'), 'site/probe/x.txt', now), null)
    assert.equal(lockOf(locking('compliance'), 'daily/x.db', now), null)
  })
})
