import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  addToRevision,
  canonicalJson,
  compactUtc,
  compareRevisions,
  etcdId,
  revision,
  utcTime,
} from '../../domain/values.ts'

const INT64_MAX = 2n ** 63n - 1n
const int64 = fc.bigInt({ min: 0n, max: INT64_MAX })
const asRevision = (value: bigint) => revision.parse(value.toString())

describe('revisions', () => {
  test('keep every digit beyond 2^53', () => {
    assert.equal(addToRevision(asRevision(9_007_199_254_740_993n), 2n), '9007199254740995')
    assert.equal(compareRevisions(asRevision(9_007_199_254_740_993n), asRevision(9_007_199_254_740_992n)), 1)
  })

  test('are compared as numbers, not as text', () => {
    assert.equal(compareRevisions(revision.parse('9'), revision.parse('10')), -1)
    assert.equal(compareRevisions(revision.parse('007'), revision.parse('7')), 0)
  })

  test('order and add as 64-bit integers do, whichever they are', () => {
    fc.assert(
      fc.property(int64, int64, (a, b) => {
        assert.equal(compareRevisions(asRevision(a), asRevision(b)), a < b ? -1 : a > b ? 1 : 0)
        const [low, rest] = [a / 2n, b / 2n]
        assert.equal(BigInt(addToRevision(asRevision(low), rest)), low + rest)
      }),
    )
  })

  test('are never negative, fractional or beyond 19 digits', () => {
    for (const wrong of ['-1', '1.5', '1e9', '', ' 1', '1'.repeat(20)]) {
      assert.equal(revision.safeParse(wrong).success, false, wrong)
    }
    assert.equal(revision.safeParse(48_211).success, false, 'a JSON number may have lost digits already')
  })
})

describe('etcd IDs', () => {
  test('are 16 hex digits, as text', () => {
    assert.equal(etcdId.parse('8e9e05c52164694d'), '8e9e05c52164694d')
    for (const wrong of [
      '8E9E05C52164694D',
      '8e9e05c52164694',
      10276657743932975437n,
      10276657743932975000,
    ]) {
      assert.equal(etcdId.safeParse(wrong).success, false)
    }
  })
})

describe('times in names', () => {
  test('are UTC and say so', () => {
    assert.equal(compactUtc(new Date('2026-11-22T02:14:00.987Z')), '20261122T021400Z')
    assert.equal(compactUtc(new Date('2026-11-22T03:14:00+01:00')), '20261122T021400Z')
  })

  test('sort as the times do', () => {
    const second = fc.integer({ min: 0, max: 4_102_444_800 })
    fc.assert(
      fc.property(second, second, (a, b) => {
        const [left, right] = [compactUtc(new Date(a * 1_000)), compactUtc(new Date(b * 1_000))]
        assert.equal(left < right, a < b)
        assert.equal(left === right, a === b)
      }),
    )
  })

  test('a local time is no UTC time', () => {
    assert.equal(utcTime.safeParse('2026-11-22T02:14:00+01:00').success, false)
    assert.equal(utcTime.safeParse('2026-11-22T02:14:00').success, false)
    assert.equal(utcTime.safeParse('2026-11-22T02:14:00Z').success, true)
  })
})

/** The same content with the keys of every object in another order. */
function shuffled(value: unknown, seed: number): unknown {
  if (Array.isArray(value)) return value.map((inner) => shuffled(inner, seed))
  if (value === null || typeof value !== 'object') return value
  const entries = Object.entries(value).map(([key, inner]): [string, unknown] => [key, shuffled(inner, seed)])
  const turn = entries.length === 0 ? 0 : seed % entries.length
  return Object.fromEntries([...entries.slice(turn), ...entries.slice(0, turn)].reverse())
}

describe('canonical JSON', () => {
  test('has its keys in order at every depth and no white space', () => {
    assert.equal(
      canonicalJson({ b: [{ d: 1, c: null }], a: 'x y', B: { '10': 1, '9': 2 } }),
      '{"B":{"9":2,"10":1},"a":"x y","b":[{"c":null,"d":1}]}',
    )
  })

  test('is the same for the same content in another order', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), fc.nat(), (value, seed) => {
        assert.equal(canonicalJson(shuffled(value, seed)), canonicalJson(value))
      }),
    )
  })

  test('is other for other content: the order of a list counts', () => {
    assert.notEqual(canonicalJson(['cp-01', 'cp-02']), canonicalJson(['cp-02', 'cp-01']))
    assert.notEqual(canonicalJson({ a: '1' }), canonicalJson({ a: 1 }))
  })

  test('loses nothing that JSON can say', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        assert.deepEqual(JSON.parse(canonicalJson(value)), JSON.parse(JSON.stringify(value)))
      }),
    )
  })
})
