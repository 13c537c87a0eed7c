/** Nodes and members that fail while they give a snapshot. Afterwards nothing is amiss: see there. */
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { atConsole } from '../../lab/hosts/console.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import { proved, startBackup, until } from './backup-runs.ts'
import { fillTo } from './big-keyspace.ts'
import { BucketAdmin } from './bucket-admin.ts'
import { HeldSaves } from './held-save.ts'
import { leaderOf, moveLeader } from './members.ts'
import { nothingAmiss } from './nothing-amiss.ts'
import { editClusterFile, useLab, wakeUp } from './use-lab.ts'

const own = useLab({ keys: 300 })
/** Far more than connections hold on their way: a save that is held has more to come. */
const ENOUGH_BYTES = 24 * 1024 * 1024

/** How long a cable is pulled: the fault itself, and nothing that is waited for. */
const OUTAGE_MS = 8_000

let before: string[] = []
beforeEach(async () => {
  if (before.length === 0) {
    await fillTo(own().lab.hosts, ENOUGH_BYTES)
    proved(await own().operator.backup())
  }
  before = await nothingAmiss(own())
})

test('a source that loses its network in mid-upload goes on when it is back; the object is stored once', async () => {
  const { lab } = own()
  const cut = findFault('cut-network')
  const mend = await editClusterFile(lab, (file) => {
    file['transfer'] = { bandwidth: '2MiB' }
  })
  try {
    const run = await startBackup(own())
    const source = await until('an upload', async () => {
      for (const { name } of lab.hosts.hosts) {
        const { stdout } = await atConsole(lab.hosts, name, 'pgrep -x curl || true')
        if (stdout.trim() !== '') return name
      }
      return undefined
    })
    await cut.inject(lab.hosts, source)
    await sleep(OUTAGE_MS)
    await cut.mend?.(lab.hosts, source)
    const verdict = proved(await run.ended)
    assert.equal(verdict.source, source)
    const bucket = await BucketAdmin.of(lab)
    assert.equal((await bucket.versions(verdict.key)).length, 1)
  } finally {
    await mend()
  }
  await nothingAmiss(own(), before)
})

test('a leader that changes in mid-save: the snapshot is of the same member, and whole', async () => {
  const { lab } = own()
  const saves = await HeldSaves.prepare(lab)
  try {
    await saves.hold()
    const run = await startBackup(own())
    const source = await saves.untilHeld()
    await moveLeader(lab, source)
    assert.equal(await leaderOf(lab), source)
    await saves.release()
    const verdict = proved(await run.ended)
    assert.equal(verdict.source, source)
    assert.equal(await saves.count(source), 1)
  } finally {
    await saves.end()
  }
  await nothingAmiss(own(), before)
})

test('a leader that dies in mid-save, while another member gives the snapshot: it is whole', async () => {
  const { lab } = own()
  const stop = findFault('stop-etcd')
  const saves = await HeldSaves.prepare(lab)
  const leader = await leaderOf(lab)
  try {
    await saves.hold()
    const run = await startBackup(own())
    const source = await saves.untilHeld()
    assert.notEqual(source, leader)
    await stop.inject(lab.hosts, leader)
    await saves.release()
    assert.equal(proved(await run.ended).source, source)
  } finally {
    await stop.mend?.(lab.hosts, leader)
    await wakeUp(lab)
    await saves.end()
  }
  await nothingAmiss(own(), before)
})

test("the alarm CORRUPT: a member that it names gives no snapshot, the others' is whole", async () => {
  const { lab, operator } = own()
  const accuse = findFault('accuse-member')
  const usual = proved(await operator.backup()).source
  await accuse.inject(lab.hosts, usual)
  try {
    assert.notEqual(proved(await operator.backup()).source, usual)
  } finally {
    await accuse.mend?.(lab.hosts, usual)
  }
  await nothingAmiss(own(), before)
})

test("a source whose clock is an hour off: the snapshot's time is the worker's", async () => {
  const { lab, operator } = own()
  const skew = findFault('skew-clock')
  const hosts = lab.hosts.hosts.map(({ name }) => name)
  for (const host of hosts) await skew.inject(lab.hosts, host)
  try {
    const [began, verdict] = [Date.now(), proved(await operator.backup())]
    const { takenAt } = await (await BucketAdmin.of(lab)).manifest(verdict.key)
    assert.ok(Math.abs(Date.parse(takenAt) - began) < 60_000, takenAt)
  } finally {
    for (const host of hosts) await skew.mend?.(lab.hosts, host)
  }
  await nothingAmiss(own(), before)
})

for (const { name, harm } of [
  {
    name: 'has a byte flipped',
    harm: `printf '\\377' | dd of="$1" bs=1 seek=$(( $(stat -c %s "$1") / 2 )) conv=notrunc status=none`,
  },
  { name: 'has lost its trailer', harm: 'truncate -s -32 "$1"' },
  { name: 'is cut in half', harm: 'truncate -s $(( $(stat -c %s "$1") / 2 )) "$1"' },
  { name: 'is empty', harm: 'truncate -s 0 "$1"' },
]) {
  test(`a save that ${name} never leaves its node: another one serves`, async () => {
    const { lab, operator } = own()
    const usual = proved(await operator.backup()).source
    const wrapper = '/usr/local/bin/lying-etcdctl'
    for (const { name: host } of lab.hosts.hosts) {
      const lie = host === usual ? `set -- "$path"; ${harm}` : ':'
      await atConsole(lab.hosts, host, `cat >${wrapper}; chmod 755 ${wrapper}`, [], {
        input: `#!/bin/sh
case " $* " in *" snapshot save "*) ;; *) exec /usr/local/bin/etcdctl "$@" ;; esac
for path; do :; done
/usr/local/bin/etcdctl "$@" || exit
${lie}
`,
      })
    }
    const putBack = await editClusterFile(lab, (file) => {
      file['etcd'] = { etcdctl: wrapper, etcdutl: '/usr/local/bin/etcdutl' }
    })
    try {
      assert.notEqual(proved(await operator.backup()).source, usual)
    } finally {
      await putBack()
    }
    await nothingAmiss(own(), before)
  })
}
