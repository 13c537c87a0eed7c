import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { localCopiesToPrune } from '../../domain/retention.ts'
import { compactUtc } from '../../domain/values.ts'

const copy = (hour: number): string => `snapshot-${compactUtc(new Date(Date.UTC(2026, 10, 22, hour)))}.db`
const proved = (...hours: number[]) => hours.map((hour) => ({ key: `site/daily/${copy(hour)}` }))

describe('local copies', () => {
  test('beyond the newest few go, the oldest first to be old', () => {
    const files = [3, 1, 2, 0].map(copy)
    assert.deepEqual(localCopiesToPrune(files, proved(0, 1, 2, 3), 2), [copy(1), copy(0)])
  })

  test('stay when they are not stored, however old', () => {
    assert.deepEqual(localCopiesToPrune([0, 1, 2, 3].map(copy), proved(1, 2, 3), 1), [copy(2), copy(1)])
  })

  test('stay when no newer one is proved', () => {
    assert.deepEqual(localCopiesToPrune([0, 1].map(copy), proved(0), 1), [])
  })

  test('with names of other people are not ours to remove', () => {
    const foreign = [
      'snapshot.db',
      'snapshot-20260101T000000Z.db.bak',
      '.snapshot-20260101T000000Z.db.partial',
      'etcd.db',
      '',
    ]
    const keys = foreign.map((name) => ({ key: `daily/${name}` }))
    assert.deepEqual(localCopiesToPrune([...foreign, copy(5)], [...keys, ...proved(5)], 1), [])
  })

  test('are pruned safely whatever lies there and whatever is proved', () => {
    const hours = fc.uniqueArray(fc.nat({ max: 40 }))
    const strangers = fc.array(
      fc.oneof(fc.string(), fc.constantFrom('staged-0123456789abcdef.db', 'notes.txt', '../x')),
    )
    fc.assert(
      fc.property(
        hours,
        hours,
        strangers,
        fc.integer({ min: 1, max: 10 }),
        (there, stored, foreign, keep) => {
          const files = [...there.map(copy), ...foreign]
          const gone = localCopiesToPrune(
            files,
            [...proved(...stored), ...foreign.map((key) => ({ key }))],
            keep,
          )
          const ours = there.map(copy).sort().reverse()
          const newestProved = Math.max(-1, ...stored)
          for (const file of gone) {
            assert.ok(ours.includes(file), 'a foreign name')
            assert.ok(stored.map(copy).includes(file), 'an unproved one')
            assert.ok(!ours.slice(0, keep).includes(file), 'one of the newest')
            assert.ok(newestProved >= 0 && file < copy(newestProved), 'none newer is proved')
          }
          const kept = files.filter((file) => !gone.includes(file))
          assert.deepEqual(
            localCopiesToPrune(kept, proved(...stored), keep),
            [],
            'a second time there is nothing',
          )
        },
      ),
    )
  })
})
