/** How snapshots come to the store and back on a cluster: by the node itself, or through the worker. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { manifestKeyOf } from '../../domain/snapshot.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { killWorker, startWorker } from '../../lab/services/worker.ts'
import { proved, refusal, startBackup, until } from './backup-runs.ts'
import { fillTo } from './big-keyspace.ts'
import { BucketAdmin } from './bucket-admin.ts'
import { nothingAmiss } from './nothing-amiss.ts'
import { requorum } from './command.ts'
import { StoreDoor } from './store-door.ts'
import { editClusterFile, everyHost, useLab } from './use-lab.ts'

const MIB = 1_048_576
const own = useLab({ keys: 3_000 })

/** Runs of curl on the hosts, with all that a process list shows of them. */
async function curls(): Promise<{ host: string; shown: string }[]> {
  const { lab } = own()
  const found = await everyHost(lab, async (host) => {
    // Command line and environment, as root sees them.
    // One that ends meanwhile has nothing to show.
    const look = `set +e; for pid in $(pgrep -x curl); do tr '\\0' ' ' </proc/$pid/cmdline; tr '\\0' ' ' </proc/$pid/environ; echo; done; true`
    const { stdout } = await atConsole(lab.hosts, host, look)
    return { host, shown: stdout }
  })
  return found.filter(({ shown }) => shown.trim() !== '')
}

test('a worker killed in mid-upload: the node goes on by itself, and the object is stored once', async () => {
  const { lab, operator } = own()
  const mend = await editClusterFile(lab, (file) => {
    file['transfer'] = { bandwidth: '1MiB' }
  })
  try {
    const running = await startBackup(own())
    const [sending] = await until('an upload', async () => {
      const found = (await curls()).filter(({ shown }) => shown.includes('--upload-file'))
      return found.length > 0 ? found : undefined
    })
    assert.doesNotMatch(sending?.shown ?? '', /X-Amz|https?:/i, 'nothing of the URL shows')
    await killWorker(lab.dir)
    const alone = await curls().finally(() => startWorker(lab.dir, () => undefined))
    assert.equal(alone.length, 1, 'it goes on without a worker')
    const verdict = proved(await running.ended)
    assert.equal(verdict.broughtBy, verdict.source)
    const versions = await (await BucketAdmin.of(lab)).versions(verdict.key)
    assert.equal(versions.length, 1)
    const left = await everyHost(lab, async (host) => {
      const { stdout } = await atConsole(
        lab.hosts,
        host,
        'ls -A /run/requorum /run/requorum/steps 2>/dev/null || true',
      )
      return stdout
    })
    assert.deepEqual(
      left.filter((names) => /transfer\.|send/.test(names)),
      [],
      'nothing is left of it',
    )
  } finally {
    await mend()
  }
  proved(await operator.backup())
})

test('a worker killed between the parts of an upload: none is sent twice, and it is whole in the store', async () => {
  const { lab, operator } = own()
  await fillTo(lab.hosts, 24 * MIB)
  const mend = await editClusterFile(lab, (file) => {
    file['transfer'] = { bandwidth: '4MiB', partsAbove: '8MiB', partSize: '5MiB' }
  })
  const receipts = async (source: string): Promise<number> => {
    const look = `grep -l -- '^code=0$' /var/lib/requorum/steps/send.*/*.receipt 2>/dev/null | wc -l`
    return Number((await atConsole(lab.hosts, source, look)).stdout)
  }
  try {
    const hosts = lab.hosts.hosts.map(({ name }) => name)
    const before = new Map(await everyHost(lab, async (host) => [host, await receipts(host)] as const))
    const sentBy = async (host: string): Promise<number> => (await receipts(host)) - (before.get(host) ?? 0)
    const running = await startBackup(own())
    const source = await until('the second part', async () => {
      for (const host of hosts) if ((await sentBy(host)) >= 2) return host
      return undefined
    })
    await killWorker(lab.dir)
    await startWorker(lab.dir, () => undefined)
    const verdict = proved(await running.ended)
    assert.equal(verdict.broughtBy, source)
    const bucket = await BucketAdmin.of(lab)
    const { hashOfParts = '', sizeBytes } = await bucket.manifest(verdict.key)
    assert.ok(hashOfParts.endsWith(`-${Math.ceil(sizeBytes / (5 * MIB))}`), hashOfParts)
    assert.equal(await sentBy(source), Math.ceil(sizeBytes / (5 * MIB)), 'each part once')
    assert.equal((await bucket.versions(verdict.key)).length, 1)
    await nothingAmiss(own(), [verdict.key])

    const relayed = await editClusterFile(lab, (file) => {
      file['transfer'] = { way: 'relay', partsAbove: '8MiB', partSize: '5MiB' }
    })
    try {
      const second = proved(await operator.backup())
      assert.equal(second.broughtBy, 'the worker: the cluster file says so')
      await nothingAmiss(own(), [verdict.key, second.key])
    } finally {
      await relayed()
    }
  } finally {
    await mend()
  }
})

test('a node that does not reach the store: the worker relays, and says why', async () => {
  const { lab, operator } = own()
  // The door is on the worker's loopback, where no node is.
  const door = await StoreDoor.before(lab)
  try {
    const verdict = proved(await operator.backup())
    assert.match(verdict.broughtBy ?? '', /^the worker: cp-0\d does not reach the store: curl: \(7\)/)
  } finally {
    await door.close()
  }
})

test('where the cluster file says relay, no node asks the store', async () => {
  const { lab, operator } = own()
  const mend = await editClusterFile(lab, (file) => {
    file['transfer'] = { way: 'relay' }
  })
  try {
    assert.equal(proved(await operator.backup()).broughtBy, 'the worker: the cluster file says so')
  } finally {
    await mend()
  }
})

test('where it says direct and the node can not, the failure names the node and what its curl said', async () => {
  const { lab, operator } = own()
  const mend = await editClusterFile(lab, (file) => {
    file['transfer'] = { way: 'direct' }
  })
  const door = await StoreDoor.before(lab)
  try {
    const ended = await operator.backup()
    assert.ok('message' in ended)
    assert.match(ended.message, /cp-0\d: curl: \(7\) Failed to connect/)
  } finally {
    await door.close()
    await mend()
  }
})

test('packed as the cluster file says, it is proved, rehearsed, pruned and copied for the month like any other', async (t) => {
  const { lab, operator } = own()
  const mend = await editClusterFile(lab, (file) => {
    file['transfer'] = { compression: 'auto' }
    file['backup'] = { keepLocal: 1 }
  })
  const bucket = await BucketAdmin.of(lab)
  try {
    const [first, second] = [proved(await operator.backup()), proved(await operator.backup())]
    for (const { key } of [first, second]) assert.match(key, /^daily\/snapshot-\d{8}T\d{6}Z\.db\.zst$/)
    const { packed, sizeBytes } = await bucket.manifest(second.key)
    assert.ok(packed !== undefined && packed.sizeBytes < sizeBytes, 'it is smaller')
    t.diagnostic(`${sizeBytes} bytes, ${packed.sizeBytes} as stored`)
    if (first.source === second.source)
      assert.deepEqual(second.pruned, [first.key.slice('daily/'.length).replace('.zst', '')])
    assert.deepEqual([...first.warnings, ...second.warnings], [])
    const keys = await nothingAmiss(own(), [first.key, second.key])
    assert.equal(keys[0], second.key)

    const rehearsed = await requorum(lab, 'rehearse', lab.name)
    assert.equal(rehearsed.code, 0, rehearsed.out + rehearsed.error)
    const listed = await requorum(lab, 'snapshots', lab.name)
    assert.match(listed.out, new RegExp(`\\d+ s ago +${second.key}`))
  } finally {
    await mend()
  }
})

test('a restore has every node fetch the snapshot by itself, and where one can not unpack it the worker does', async () => {
  const { lab, operator } = own()
  const mend = await editClusterFile(lab, (file) => {
    file['transfer'] = { compression: 'auto' }
  })
  const { key } = proved(await operator.backup())
  await mend()
  assert.match(key, /zst$/)
  await atConsole(lab.hosts, 'cp-02', 'mv /usr/bin/zstd /usr/bin/zstd-is-away')
  await destroyQuorum(lab.hosts)
  const ended = await operator.restoreAndApprove()
  assert.ok('verdict' in ended, JSON.stringify(ended))
  assert.equal(ended.verdict.outcome, 'restored')
  const fetched = await everyHost(lab, async (host) => {
    const { stdout } = await atConsole(lab.hosts, host, 'cat /var/lib/requorum/steps/fetch.*/*.receipt')
    return stdout
  })
  for (const [at, receipt] of fetched.entries()) assert.match(receipt, at === 1 ? /^code=69$/m : /^code=10$/m)
  assert.equal(ended.verdict.candidate?.key, key)
})

// The last one: a bucket that may lock keeps versions for ever, and what is locked in it.
test('under Object Lock a backup is proved where the bucket locks, each way, and refused where it does not', async () => {
  const { lab, operator } = own()
  const bucket = await BucketAdmin.of(lab)
  for (const way of ['direct', 'relay']) {
    const putBack = await editClusterFile(lab, (file) => {
      file['retention'] = { lock: 'compliance', daily: '2d' }
      file['transfer'] = { way }
    })
    try {
      if (way === 'direct') {
        refusal(await operator.backup(), 'store-refused')
        await bucket.allowLocks()
      }
      const { key, versionId } = proved(await operator.backup())
      const stored = await bucket.head(key, versionId)
      assert.equal(stored.get('x-amz-object-lock-mode'), 'COMPLIANCE')
      const [manifest] = await bucket.versions(manifestKeyOf(key))
      for (const one of [{ key, versionId }, manifest])
        await assert.rejects(bucket.remove(one?.key ?? '', one?.versionId ?? ''), /403/)
    } finally {
      await putBack()
    }
  }
})
