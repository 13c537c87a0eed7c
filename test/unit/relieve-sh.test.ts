/** The scripts that compact and defragment, on a real etcd. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ACTION_SCRIPTS } from '../../systems/node/action-scripts.ts'
import { NO_ETCD, ThrowawayEtcd } from './throwaway-etcd.ts'

describe('on a real etcd', { skip: NO_ETCD }, () => {
  let etcd: ThrowawayEtcd
  let recovery: string
  before(async () => {
    recovery = mkdtempSync(join(tmpdir(), 'requorum-relieve-'))
    etcd = await ThrowawayEtcd.start()
  })
  after(async () => {
    await etcd.stop()
    rmSync(recovery, { recursive: true, force: true })
  })

  function perform(
    action: 'compact' | 'defragment',
    ...args: string[]
  ): { code: number | null; said: string } {
    const argv = ['-c', ACTION_SCRIPTS[action], 'dash', recovery, ...args]
    const { status, stdout, stderr } = spawnSync('dash', argv, { encoding: 'utf8' })
    return { code: status, said: `${stdout}${stderr}`.trim() }
  }
  const databaseBytes = (): number => statSync(join(etcd.directory, 'data/member/snap/db')).size

  test('history is given back, any number of times, and the content stays', async () => {
    let last = ''
    for (let at = 0; at < 60; at += 1) last = await etcd.put('/registry/big', `${at} ${'x'.repeat(200_000)}`)
    // etcd writes to its file in batches, 100 ms after a put at the latest (--backend-batch-interval).
    for (let looks = 0; looks < 300 && databaseBytes() <= 8_000_000; looks += 1) await sleep(100)
    const before = databaseBytes()
    assert.ok(before > 8_000_000, `${before} bytes`)

    const compacted = perform('compact', last, ...etcd.etcdctl())
    assert.deepEqual(compacted, {
      code: 0,
      said: `compacted: what was before revision ${last} is gone from the keyspace`,
    })
    assert.ok(databaseBytes() >= before, 'the file stays as big as it was')
    // As an attempt after one whose answer was lost.
    assert.deepEqual(perform('compact', last, ...etcd.etcdctl()), {
      code: 0,
      said: `compacted before, to revision ${last} or further`,
    })

    const defragmented = { code: 0, said: 'defragmented: the database holds only what is in use' }
    assert.deepEqual(perform('defragment', ...etcd.etcdctl()), defragmented)
    const small = databaseBytes()
    assert.ok(small < before / 10, `${small} of ${before} bytes`)
    assert.deepEqual(perform('defragment', ...etcd.etcdctl()), defragmented)

    const [command = '', ...args] = etcd.etcdctl()
    const { stdout } = spawnSync(command, [...args, 'get', '--print-value-only', '/registry/big'], {
      encoding: 'utf8',
    })
    assert.match(stdout, /^59 x+\n$/)
  })

  test('an etcd that does not answer is tried again: 75', () => {
    const [command = ''] = etcd.etcdctl()
    const nobody = [command, '--endpoints=http://127.0.0.1:1', '--command-timeout=1s', '--dial-timeout=1s']
    assert.equal(perform('compact', '2', ...nobody).code, 75)
    assert.equal(perform('defragment', ...nobody).code, 75)
  })

  test('a revision that is still to come is nothing that was compacted', () => {
    const ended = perform('compact', '999999999', ...etcd.etcdctl())
    assert.equal(ended.code, 75)
    assert.match(ended.said, /future revision/)
  })
})
