/** What may die, or begin again, in the middle of a backup; and the schedule that begins them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { atConsole } from '../../lab/hosts/console.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import { killWorker, startWorker } from '../../lab/services/worker.ts'
import { proved, refusal, startBackup, until } from './backup-runs.ts'
import { fillTo } from './big-keyspace.ts'
import { BucketAdmin } from './bucket-admin.ts'
import { requorum } from './command.ts'
import { HeldSaves } from './held-save.ts'
import { nothingAmiss } from './nothing-amiss.ts'
import { useLab, wakeUp } from './use-lab.ts'

/** Far more than connections hold on their way: a save that is held has more to come. */
const ENOUGH_BYTES = 48 * 1024 * 1024
const BACKUPS = '/var/lib/etcd-backups'
const own = useLab({ keys: 300 })

test('a worker killed in mid-save: the next one attaches to the save that runs, and there is only one', async () => {
  const { lab } = own()
  await fillTo(lab.hosts, ENOUGH_BYTES)
  const saves = await HeldSaves.prepare(lab)
  try {
    await saves.hold()
    const run = await startBackup(own())
    const source = await saves.untilHeld()
    await killWorker(lab.dir)
    await startWorker(lab.dir, () => undefined)
    await saves.release()
    const verdict = proved(await run.ended)
    assert.equal(verdict.source, source)
    assert.equal(await saves.count(source), 1)
    const step = `/var/lib/requorum/steps/backup-${run.runId.slice(-12)}.save`
    const { stdout } = await atConsole(
      lab.hosts,
      source,
      `cd ${step} && ls -d *.started *.receipt; ls -A ${BACKUPS}`,
    )
    const name = verdict.key.slice('daily/'.length)
    assert.deepEqual(
      stdout.split('\n').filter((line) => /^\d+\.|^\./.test(line)),
      ['1.receipt', '1.started'],
    )
    assert.equal(stdout.split('\n').filter((line) => line === name).length, 1)
  } finally {
    await saves.end()
    await startWorker(lab.dir, () => undefined)
  }
})

for (const { fault, dies } of [
  { fault: 'freeze-etcd', dies: 'hangs' },
  { fault: 'stop-etcd', dies: 'ends and stays away' },
  { fault: 'kill-host', dies: 'loses its host' },
  { fault: 'cut-network', dies: 'loses its network' },
]) {
  test(`a source that ${dies} in mid-save: another node serves`, async (t) => {
    const { lab } = own()
    const saves = await HeldSaves.prepare(lab)
    const death = findFault(fault)
    let source = ''
    try {
      await saves.hold()
      const run = await startBackup(own())
      source = await saves.untilHeld()
      await death.inject(lab.hosts, source)
      const began = performance.now()
      await saves.releaseWhere(source)
      const verdict = proved(await run.ended)
      t.diagnostic(`${((performance.now() - began) / 1000).toFixed(1)} s from the fault to the verdict`)
      assert.notEqual(verdict.source, source)
    } finally {
      if (source !== '') await death.mend?.(lab.hosts, source)
      await wakeUp(lab)
      await saves.end()
    }
    // What a source saved by itself meanwhile is a local copy like any other.
    await until('the end of what the source still did', async () => {
      const left = `systemctl list-units --no-legend --plain 'requorum-*'`
      return (await atConsole(lab.hosts, source, left)).stdout.trim() === '' || undefined
    })
    // Without power half a save stays there: the local copies' pruning takes it a day later.
    if (fault === 'kill-host') await atConsole(lab.hosts, source, `rm -f ${BACKUPS}/.*.partial.part`)
    await nothingAmiss(own())
  })
}

test('a schedule made by the command backs up by the command, and a backup that runs is not begun twice', async (t) => {
  const { lab } = own()
  const applied = await requorum(lab, 'schedule', 'apply', lab.name)
  assert.equal(applied.code, 0, applied.error)
  assert.match(applied.out, /overlap +skip/)
  const again = await requorum(lab, 'schedule', 'apply', lab.name)
  assert.match(again.out, /already what the file says/)

  const done = await requorum(lab, 'backup', 'now', lab.name, '--wait')
  assert.equal(done.code, 0, done.error + done.out)
  t.diagnostic(`requorum backup now --wait: ${done.seconds.toFixed(1)} s`)
  const bucket = await BucketAdmin.of(lab)
  const key = /daily\/snapshot-\d{8}T\d{6}Z\.db/.exec(done.out)?.[0] ?? ''
  assert.equal((await bucket.manifest(key)).cluster, lab.name)

  const saves = await HeldSaves.prepare(lab)
  try {
    await saves.hold()
    const first = await requorum(lab, 'backup', 'now', lab.name)
    assert.equal(first.code, 0, first.error)
    const source = await saves.untilHeld()
    const second = await requorum(lab, 'backup', 'now', lab.name)
    assert.equal(second.code, 0, second.error)
    assert.match(second.out, /runs already/)
    const workflowId = /backup\/\S+Z/.exec(first.out)?.[0]
    assert.ok(workflowId !== undefined && second.out.includes(workflowId), 'it names the one that runs')
    await saves.release()
    const { operator } = own()
    await operator.client.workflow.getHandle(workflowId).result()
    assert.equal(await saves.count(source), 1)
  } finally {
    await saves.end()
  }
})

test('a backup is refused when the node has no room for it, and leaves the disk as it was', async () => {
  const { lab, operator } = own()
  const fill = findFault('fill-disk')
  const hosts = lab.hosts.hosts.map((host) => host.name)
  for (const host of hosts) {
    await atConsole(
      lab.hosts,
      host,
      `fallocate -l $(( $(stat -f -c '%a * %S' /var/lib) - 100 * 1048576 )) /var/lib/lab-filler`,
    )
  }
  try {
    const failure = refusal(await operator.backup(), 'no-source')
    for (const host of hosts) assert.match(failure, new RegExp(`${host} has \\d+ MiB free`))
  } finally {
    for (const host of hosts) await fill.mend?.(lab.hosts, host)
  }
})
