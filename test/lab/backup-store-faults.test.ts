/** A store that is ill while a node brings it a snapshot. Afterwards nothing is amiss: see there. */
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import type { BackupVerdict } from '../../domain/verdict.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { proved, refusal, startBackup, until } from './backup-runs.ts'
import { BucketAdmin } from './bucket-admin.ts'
import { nothingAmiss } from './nothing-amiss.ts'
import { StoreDoor } from './store-door.ts'
import { editClusterFile, everyHost, useLab } from './use-lab.ts'

const own = useLab({ keys: 3_000 })
const upload = (method: string, path: string): boolean => method === 'PUT' && /\/daily\/[^/]*\.db/.test(path)

/** What is proved before each fault; the first test has one to lose, too. */
let before: string[] = []
beforeEach(async () => {
  if (before.length === 0) proved(await own().operator.backup())
  before = await nothingAmiss(own())
})

/** A backup through a door that the nodes come to. */
async function through<Result>(work: (door: StoreDoor) => Promise<Result>): Promise<Result> {
  const door = await StoreDoor.before(own().lab, 'nodes')
  try {
    return await work(door)
  } finally {
    await door.close()
  }
}

/** A backup whose upload is refused so often, and then no more. */
async function refusedAtFirst(status: number, code: string, times: number): Promise<void> {
  const verdict = await through(async (door) => {
    const refusing = door.say(status, code, upload)
    const run = await startBackup(own())
    await until(`${times} refusals`, () => Promise.resolve(refusing.times() >= times || undefined))
    refusing.stop()
    return proved(await run.ended)
  })
  await newestAndOnce(verdict)
}

/** It is the newest proved one, and its object was stored once. */
async function newestAndOnce({ key }: BackupVerdict): Promise<void> {
  const bucket = await BucketAdmin.of(own().lab)
  assert.equal((await bucket.versions(key)).length, 1, key)
  assert.equal((await nothingAmiss(own(), before))[0], key)
}

test('a connection that is reset in mid-upload, and an answer that is lost after it, cost another try each', async () => {
  const verdict = await through(async (door) => {
    const [request, answer] = [door.hold('request', upload), door.hold('answer', upload)]
    const run = await startBackup(own())
    await request.arrived
    request.drop()
    await answer.arrived
    answer.drop()
    return proved(await run.ended)
  })
  await newestAndOnce(verdict)
})

test('a store that is too busy (503) is asked again, until it takes the snapshot, once', () =>
  refusedAtFirst(503, 'SlowDown', 3))

test('a session that ends in mid-backup is taken anew', () => refusedAtFirst(400, 'ExpiredToken', 2))

test('a slow store gets its time', async (t) => {
  const began = performance.now()
  const verdict = await through(async (door) => {
    door.slow(256 * 1024)
    return proved(await own().operator.backup())
  })
  const seconds = (performance.now() - began) / 1_000
  t.diagnostic(`${verdict.sizeBytes} bytes in ${seconds.toFixed(1)} s`)
  assert.ok(seconds > verdict.sizeBytes / (256 * 1024))
  await newestAndOnce(verdict)
})

for (const { what, status, code, ends, says } of [
  { what: 'is full', status: 507, code: 'InsufficientStorage', ends: 'store-unreachable', says: /HTTP 507/ },
  {
    what: 'does not know the credentials any more',
    status: 403,
    code: 'InvalidAccessKeyId',
    ends: 'store-refused',
    says: /credentialsFile/,
  },
  {
    what: 'allows no writing',
    status: 403,
    code: 'AccessDenied',
    ends: 'store-refused',
    says: /s3:PutObject/,
  },
] as const) {
  test(`a store that ${what}: the backup fails with its words, and the newest good one stays the newest`, async () => {
    const failure = await through(async (door) => {
      door.say(status, code, (method) => method === 'PUT')
      return refusal(await own().operator.backup(), ends)
    })
    assert.match(failure, says)
    assert.deepEqual(await nothingAmiss(own(), before), before)
  })
}

test('with uploads failing for longer than local copies are kept none of these goes; afterwards only what is stored', async () => {
  const { lab, operator } = own()
  const mend = await editClusterFile(lab, (file) => {
    file['backup'] = { keepLocal: 1 }
  })
  try {
    proved(await operator.backup())
    const copies = async (): Promise<string[]> => {
      const each = await everyHost(lab, async (host) => {
        const { stdout } = await atConsole(lab.hosts, host, 'ls /var/lib/etcd-backups 2>/dev/null || true')
        return stdout.split('\n').filter((name) => name.endsWith('.db'))
      })
      return each.flat().sort()
    }
    const good = await copies()
    await through(async (door) => {
      door.say(403, 'AccessDenied', (method) => method === 'PUT')
      for (let failing = 0; failing < 3; failing++) refusal(await operator.backup(), 'store-refused')
    })
    const unstored = (await copies()).filter((name) => !good.includes(name))
    assert.equal(unstored.length, 3)
    assert.equal((await copies()).length, good.length + 3, 'none went')
    const { key } = proved(await operator.backup())
    const left = await copies()
    for (const name of [...unstored, key.slice('daily/'.length)]) assert.ok(left.includes(name), name)
    for (const name of unstored)
      await everyHost(lab, (host) => atConsole(lab.hosts, host, `rm -f /var/lib/etcd-backups/${name}`))
  } finally {
    await mend()
  }
})

test('a bucket that keeps no versions any more: what it took is no backup, and it is said why', async () => {
  const { lab, operator } = own()
  const bucket = await BucketAdmin.of(lab)
  await bucket.keepVersions(false)
  try {
    assert.match(refusal(await operator.backup(), 'store-refused'), /version/)
  } finally {
    await bucket.keepVersions(true)
  }
  // The store has an object now that nobody would restore from.
  for (const key of await bucket.keys('daily/'))
    if (!before.includes(key.replace('.json', '.db'))) await bucket.removeAll(key)
  assert.deepEqual(await nothingAmiss(own(), before), before)
})
