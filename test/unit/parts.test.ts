import assert from 'node:assert/strict'
import { test } from 'node:test'
import { partBytesFor, partsOf } from '../../domain/parts.ts'

const MIB = 1_048_576

test('a store takes 10,000 parts at most: of a larger object they get larger', () => {
  assert.equal(partBytesFor(6 * 1024 ** 3, 256 * MIB), 256 * MIB)
  assert.equal(partBytesFor(100 * 1024 ** 3, 5 * MIB), 11 * MIB)
})

test('parts follow each other without a gap, and the last one ends with the whole', () => {
  const hashes = ['a', 'b', 'c'].map((digit) => digit.repeat(64))
  const parts = partsOf(10, 4, hashes)
  assert.deepEqual(
    parts.map(({ number, offset, sizeBytes }) => [number, offset, sizeBytes]),
    [
      [1, 0, 4],
      [2, 4, 4],
      [3, 8, 2],
    ],
  )
  assert.deepEqual(
    parts.map(({ sha256 }) => sha256),
    hashes,
  )
  assert.throws(() => partsOf(10, 4, hashes.slice(1)), /3 parts, and 2 hashes/)
})
