import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { RequorumError } from '../../domain/failures.ts'
import { failpointsFrom } from '../../workers/failpoints.ts'

test('a worker has no failpoints unless it is told so, and takes none outside of a lab', () => {
  const home = mkdtempSync(join(tmpdir(), 'requorum-failpoints-'))
  try {
    assert.equal(failpointsFrom(undefined, home), null)
    assert.throws(
      () => failpointsFrom(join(home, 'failpoint.json'), home),
      (error) => error instanceof RequorumError && error.code === 'input-invalid',
    )
    writeFileSync(join(home, 'hosts.json'), '{}')
    assert.notEqual(failpointsFrom(join(home, 'failpoint.json'), home), null)
  } finally {
    rmSync(home, { recursive: true })
  }
})
