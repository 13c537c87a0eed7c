import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { exclusively } from '../../lab/parts/exclusive.mjs'

test('one at a time, also when each deletes the directory that is locked', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'requorum-exclusive-'))
  const directory = join(parent, 'lab')
  let [inside, done] = [0, 0]
  const work = async (): Promise<void> => {
    inside += 1
    assert.equal(inside, 1)
    await sleep(2)
    // As the last thing of it, as a lab does when it goes down; those who wait for their turn wait on what is gone now.
    rmSync(directory, { recursive: true })
    inside -= 1
    done += 1
  }
  try {
    await Promise.all(
      Array.from({ length: 12 }, async (_, at) => {
        await sleep(at)
        await exclusively(directory, work)
      }),
    )
    assert.equal(done, 12)
  } finally {
    await rm(parent, { recursive: true, force: true })
  }
})
