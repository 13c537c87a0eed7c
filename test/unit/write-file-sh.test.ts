import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { WRITE_FILE } from '../../systems/node/node.ts'

const dir = mkdtempSync(join(tmpdir(), 'requorum-write-file-'))
after(() => rmSync(dir, { recursive: true, force: true }))

const path = join(dir, 'recoveries', 'ended')
const write = (input: string, size: number) =>
  spawnSync('sh', ['-c', WRITE_FILE, 'sh', path, String(size)], { input, encoding: 'utf8' })

describe('a file on a node', () => {
  test('is written whole, for root alone', () => {
    assert.equal(write('restored\n', 9).status, 0)
    assert.equal(readFileSync(path, 'utf8'), 'restored\n')
    assert.equal(statSync(path).mode & 0o777, 0o600)
  })

  // A worker that was killed in mid-write left an empty mark, and the next attempt took it for the mark.
  test('stays what it was when the worker dies while it sends', () => {
    for (const input of ['', 'und']) {
      const { status, stderr } = write(input, 9)
      assert.equal(status, 75)
      assert.match(stderr, /not all of it arrived/)
    }
    assert.equal(readFileSync(path, 'utf8'), 'restored\n')
    assert.deepEqual(readdirSync(join(dir, 'recoveries')), ['ended'], 'and nothing is left beside it')
  })
})
