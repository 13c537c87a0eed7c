import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { localCopiesToPrune } from '../../domain/retention.ts'
import { manifestKeyOf, prove, snapshotKey, snapshotManifestSchema } from '../../domain/snapshot.ts'
import { sha256 } from '../../domain/values.ts'
import { snapshotOf } from './examples.ts'

const snapshot = snapshotOf('2026-11-22T02:00:00.000Z')
const { key, versionId, sizeBytes } = snapshot
const stored = { key, versionId, sizeBytes, sha256: snapshot.sha256 }
const reason = (verdict: ReturnType<typeof prove>) => ('refused' in verdict ? verdict.refused : null)

describe('a snapshot', () => {
  test('is proved when the store holds its version with its size and checksum', () => {
    assert.equal(reason(prove(snapshot, stored)), null)
  })

  test('is proved by size alone where the store keeps no checksum', () => {
    assert.equal(reason(prove(snapshot, { ...stored, sha256: null })), null)
  })

  test('is refused when its version is gone', () => {
    assert.match(reason(prove(snapshot, null)) ?? '', /version .* is gone from the store/)
  })

  test('is refused when it is empty or cut in the store', () => {
    assert.match(
      reason(prove(snapshot, { ...stored, sizeBytes: 0 })) ?? '',
      /holds 0 bytes, the manifest says 25000032/,
    )
    assert.match(reason(prove(snapshot, { ...stored, sizeBytes: sizeBytes - 1 })) ?? '', /the manifest says/)
  })

  test('is refused when its bytes are other ones', () => {
    assert.match(
      reason(prove(snapshot, { ...stored, sha256: sha256.parse('b'.repeat(64)) })) ?? '',
      /SHA-256/,
    )
  })
})

describe('the key of a snapshot', () => {
  test('is below daily/ or quarantine/, named in UTC, after the prefix', () => {
    const taken = new Date('2026-11-22T03:14:05.678+01:00')
    assert.equal(snapshotKey('', 'daily', taken), 'daily/snapshot-20261122T021405Z.db')
    assert.equal(
      snapshotKey('site-a/', 'quarantine', taken),
      'site-a/quarantine/snapshot-20261122T021405Z.db',
    )
  })

  test('gives its manifest’s key, which is never the same', () => {
    assert.equal(
      manifestKeyOf('a.db/daily/snapshot-20261122T021405Z.db'),
      'a.db/daily/snapshot-20261122T021405Z.json',
    )
  })

  test('sorts by time and is a local copy’s name that retention knows', () => {
    const second = fc.integer({ min: 946_684_800, max: 4_102_444_800 })
    fc.assert(
      fc.property(second, second, (a, b) => {
        const [left, right] = [a, b].map((at) => snapshotKey('p/', 'daily', new Date(at * 1_000)))
        assert.equal(left! < right!, a < b)
        const name = left!.slice('p/daily/'.length)
        const newer = snapshotKey('p/', 'daily', new Date((a + 1) * 1_000))
        assert.deepEqual(
          localCopiesToPrune([name, newer.slice('p/daily/'.length)], [{ key: left! }, { key: newer }], 1),
          [name],
        )
      }),
    )
  })
})

describe('a manifest', () => {
  test('survives being written and read', () => {
    assert.deepEqual(snapshotManifestSchema.parse(JSON.parse(JSON.stringify(snapshot))), snapshot)
  })

  test('is refused when an ID or revision is a number, a version ID is missing, or it is of a later format', () => {
    for (const differs of [
      { revision: 48_000 },
      { versionId: '' },
      { version: 2 },
      { sizeBytes: 0 },
      { sha256: 'A'.repeat(64) },
      { source: { node: 'cp-01', memberId: 10276657743932975000 } },
      { takenAt: '2026-11-22T02:00:00' },
    ]) {
      assert.equal(
        snapshotManifestSchema.safeParse({ ...snapshot, ...differs }).success,
        false,
        JSON.stringify(differs),
      )
    }
  })
})
