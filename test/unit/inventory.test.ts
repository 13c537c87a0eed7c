import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareInventories } from '../../domain/inventory.ts'
import { sha256 } from '../../domain/values.ts'

const promised = {
  keys: 42,
  leased: 1,
  metadata: sha256.parse('a'.repeat(64)),
  sample: sha256.parse('b'.repeat(64)),
  kinds: { pods: 40, configmaps: 1 },
}
const verdicts = (...inventories: Parameters<typeof compareInventories>): string[] =>
  compareInventories(...inventories).map(({ name, verdict }) => `${name}: ${verdict}`)

describe('what a restored etcd holds, against the manifest', () => {
  test('passes when counts and digest are the same', () => {
    assert.deepEqual(verdicts(promised, promised), ['object counts: pass', 'content: pass'])
  })

  test('fails by a digest alone where one key, or one of the values that were looked at, differs', () => {
    const other = sha256.parse('d'.repeat(64))
    for (const [differs, word] of [
      [{ metadata: other }, /lease: different; .* equal$/],
      [{ sample: other }, /lease: equal; .* different$/],
    ] as const) {
      const found = { ...promised, ...differs }
      assert.deepEqual(verdicts(promised, found), ['object counts: pass', 'content: fail'])
      assert.match(compareInventories(promised, found)[1]?.evidence ?? '', word)
    }
  })

  test('names the kinds whose counts differ, and those that are new or gone', () => {
    const found = { ...promised, keys: 41, kinds: { pods: 39, secrets: 1 } }
    assert.equal(
      compareInventories(promised, found)[0]?.evidence,
      'keys: 41 instead of 42; pods: 39 instead of 40; configmaps: 0 instead of 1; secrets: 1 instead of 0',
    )
  })

  test('tells keys of no kind that are missing by their number', () => {
    assert.deepEqual(verdicts(promised, { ...promised, keys: 41 }), ['object counts: fail', 'content: pass'])
  })

  test('compares the counts alone with an early manifest, and says so', () => {
    const early = { keys: promised.keys, leased: promised.leased, kinds: promised.kinds }
    assert.deepEqual(verdicts(early, promised), ['object counts: pass', 'content: skipped'])
    assert.match(compareInventories(early, promised)[1]?.evidence ?? '', /an early one/)
  })

  test('skips both where the manifest has none, and fails both where the restored one could not be read', () => {
    const none = { skipped: 'compacted' }
    assert.deepEqual(verdicts(none, promised), ['object counts: skipped', 'content: skipped'])
    assert.deepEqual(verdicts(promised, none), ['object counts: fail', 'content: fail'])
  })
})
