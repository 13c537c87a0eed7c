/** A restored cluster that is given up: every byte of what was there before the restore, and none of what came after. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AdoptVerdict } from '../../domain/adopt-verdict.ts'
import { recoveryWorkflowId, TASK_QUEUE, type AdoptRequest } from '../../domain/messages.ts'
import type { WaitingCheckpoint } from '../../domain/progress.ts'
import type { RollBackVerdict } from '../../domain/roll-back-text.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { readAll, type WholeKeyspace } from '../../lab/hosts/keyspace.ts'
import { requorum } from './command.ts'
import {
  approveToTheEnd,
  consentedRestore,
  differences,
  etcdctl,
  failureOf,
  makeSchedule,
  matches,
  readAllWhenUp,
  schedulePaused,
  startAdoption,
  terminateRecovery,
  untilStep,
} from './recoveries.ts'
import { controlPlaneFiles, everyHost, standStill, useLab, wakeUp } from './use-lab.ts'

const up = useLab({ keys: 500 })
const LOCK = '/var/lib/requorum/lock'

let before: { files: string[]; content: WholeKeyspace }
let restore: string

test('a restore is opened and written to', async () => {
  const own = up()
  const { lab, operator } = own
  await makeSchedule(own)
  const failure = await rollBackFails()
  assert.equal(failure.code, 'nothing-to-roll-back')
  assert.match(failure.message, /No restore of \S+ was opened/)

  const backedUp = await operator.backup()
  assert.ok('verdict' in backedUp && backedUp.verdict.outcome === 'proved', JSON.stringify(backedUp))
  // What the snapshot lacks, and the old data has.
  await etcdctl(lab, 'cp-01', 'put', '/registry/after-the-backup', 'old')
  const content = await readAll(lab.hosts)
  await standStill(lab)
  before = { files: await everyHost(lab, (host) => controlPlaneFiles(lab, host)), content }

  await consentedRestore(own)
  await untilStep(own, 'Wait for etcd')
  await everyHost(lab, (host) => atConsole(lab.hosts, host, 'systemctl start kubelet'))
  const verdict = await approveToTheEnd(own)
  assert.equal(verdict.outcome, 'restored')
  restore = verdict.recovery
  await etcdctl(lab, 'cp-01', 'put', '/registry/after-the-restore', 'new')
  assert.equal(await etcdctl(lab, 'cp-01', 'get', '/registry/after-the-backup'), '')
})

test('a wrong consent changes nothing, and a refusal leaves the restored cluster as it is', async () => {
  const { lab, operator } = up()
  const started = await requorum(lab, 'roll-back', lab.name)
  assert.equal(started.code, 4, started.error)
  assert.match(started.out, new RegExp(`back to what it was before the restore ${restore}`))
  assert.match(started.out, /Lost: everything written since it was opened at \S+, .*\(\d+ revisions so far\)/)
  assert.match(started.out, /Backup before: `daily\//)
  const waiting = await operator.untilCheckpoint('rollback')
  assert.ok(waiting)
  await operator.signal({ checkpoint: 'rollback', decision: 'approve', plan: '0badc0de', by: 'ana' })
  await operator.signal({ checkpoint: 'destroy', decision: 'approve', plan: waiting.plan, by: 'ana' })
  await operator.decide(waiting, 'refuse', 'bea')
  assert.equal((await lastVerdict()).outcome, 'refused')
  await stillRestored()
})

test('when one node can not take its data back, all go back to the restored cluster with what was written to it', async () => {
  const { lab } = up()
  const [aside = ''] = await matches(lab, 'cp-03', '/var/lib/etcd.corrupt.*')
  // Renaming what something is mounted on is refused by the kernel.
  await atConsole(lab.hosts, 'cp-03', 'mount --bind "$1" "$1"', [aside])
  const manifests = await everyHost(lab, manifestsOf)
  const failure = await rollBackFails('approve')
  await atConsole(lab.hosts, 'cp-03', 'umount "$1"', [aside])
  assert.equal(failure.code, 'rollback-undone', failure.message)
  assert.match(failure.message, /cp-03/)
  assert.match(failure.message, /the restored cluster is back/)
  assert.deepEqual(await everyHost(lab, manifestsOf), manifests)
  await readAllWhenUp(lab)
  await stillRestored()
})

test('terminated while the restored cluster is stopped: another run takes it back, whole', async () => {
  const { lab, operator } = up()
  const manifests = await everyHost(lab, manifestsOf)
  // A kubelet that hangs keeps its etcd running, so the run can be met in the step.
  await atConsole(lab.hosts, 'cp-03', 'systemctl kill --signal=STOP kubelet')
  await startApproved()
  const { caught } = await untilStep(up(), 'Stop the restored cluster')
  assert.ok(caught, 'it was over before it could be met')
  await terminateRecovery(up())
  await atConsole(lab.hosts, 'cp-03', 'systemctl kill --signal=CONT kubelet')

  const waiting = await startedAdoption({ undo: true })
  assert.match(waiting.shows, /undoes rollBack/)
  await operator.decide(waiting, 'approve')
  assert.equal((await lastVerdict<AdoptVerdict>()).outcome, 'undone')
  assert.deepEqual(await everyHost(lab, manifestsOf), manifests)
  await readAllWhenUp(lab)
  await stillRestored()
})

test('every file, owner, mode and manifest is what it was before the restore', async (t) => {
  const { lab } = up()
  // So that nothing writes to the old data before it is compared.
  await everyHost(lab, (host) => atConsole(lab.hosts, host, 'systemctl stop kubelet'))
  await startApproved()
  const verdict = await lastVerdict()
  t.diagnostic(verdict.steps.map(({ title, seconds }) => `${title} ${seconds} s`).join('; '))
  assert.equal(verdict.outcome, 'rolled-back', JSON.stringify(verdict.checks))
  assert.equal(verdict.of, restore)
  assert.deepEqual(await everyHost(lab, (host) => controlPlaneFiles(lab, host)), before.files)
  t.diagnostic(`now: ${verdict.now ?? ''}`)
  assert.match(verdict.now ?? '', /./)
  assert.doesNotMatch(verdict.now ?? '', /A recovery of/)
  for (const { node, path } of verdict.setAside) {
    assert.equal((await matches(lab, node, `${path}/member/snap/db`)).length, 1, 'the restored data is kept')
  }
  await nothingHeld()

  await wakeUp(lab)
  assert.deepEqual(differences(before.content, await readAll(lab.hosts)), [])
  assert.equal(await etcdctl(lab, 'cp-01', 'get', '/registry/after-the-restore'), '')
})

test('backups belong to the old cluster again, and there is nothing left to roll back', async () => {
  const { lab, operator } = up()
  for (let at = 0; at < 2; at += 1) {
    const backedUp = await operator.backup()
    assert.ok('verdict' in backedUp && backedUp.verdict.outcome === 'proved', JSON.stringify(backedUp))
  }
  const failure = await rollBackFails()
  assert.equal(failure.code, 'nothing-to-roll-back')
  assert.match(failure.message, /etcd\.corrupt\.\S+ is not on cp-01 any more/)
  assert.match((await requorum(lab, 'snapshots', lab.name)).out, new RegExp(`roll-back of ${restore}`))
})

test('terminated on its way, by whatever step: another run brings the roll-back of a second restore to its end', async (t) => {
  const own = up()
  const { lab, operator } = own
  const content = await readAll(lab.hosts)
  await standStill(lab)
  const files = await everyHost(lab, (host) => controlPlaneFiles(lab, host))
  await consentedRestore(own)
  await untilStep(own, 'Wait for etcd')
  await everyHost(lab, (host) => atConsole(lab.hosts, host, 'systemctl start kubelet'))
  assert.equal((await approveToTheEnd(own)).outcome, 'restored')
  await everyHost(lab, (host) => atConsole(lab.hosts, host, 'systemctl stop kubelet'))

  await startApproved()
  await untilStep(own, 'Set the restored data aside')
  await terminateRecovery(own)
  const waiting = await startedAdoption()
  assert.match(waiting.shows, /goes on with rollBack/)
  await operator.decide(waiting, 'approve')
  const verdict = await lastVerdict<AdoptVerdict>()
  t.diagnostic(verdict.steps.map(({ title, seconds }) => `${title} ${seconds} s`).join('; '))
  assert.equal(verdict.outcome, 'rolled-back', JSON.stringify(verdict.checks))
  assert.deepEqual(await everyHost(lab, (host) => controlPlaneFiles(lab, host)), files)
  await nothingHeld()

  await wakeUp(lab)
  assert.deepEqual(differences(content, await readAll(lab.hosts)), [])
})

async function start(): Promise<void> {
  const { lab, operator } = up()
  await operator.client.workflow.start('rollBack', {
    taskQueue: TASK_QUEUE,
    workflowId: recoveryWorkflowId(lab.name),
    args: [{ cluster: lab.name }],
  })
}

async function startApproved(): Promise<void> {
  const { operator } = up()
  await start()
  const waiting = await operator.untilCheckpoint('rollback')
  if (waiting !== undefined) await operator.decide(waiting, 'approve')
}

async function startedAdoption(wishes: Partial<AdoptRequest> = {}): Promise<WaitingCheckpoint> {
  const { operator } = up()
  await startAdoption(up(), wishes)
  const waiting = await operator.untilCheckpoint('adopt')
  if (waiting === undefined) throw new Error(JSON.stringify(await operator.result()))
  return waiting
}

async function rollBackFails(decision?: 'approve'): Promise<{ code: string; message: string }> {
  const { operator } = up()
  await start()
  if (decision !== undefined) {
    const waiting = await operator.untilCheckpoint('rollback')
    assert.ok(waiting, 'it ended before it asked')
    await operator.decide(waiting, decision)
  }
  return failureOf(await operator.result())
}

function lastVerdict<Verdict = RollBackVerdict>(): Promise<Verdict> {
  const { lab, operator } = up()
  const workflowId = recoveryWorkflowId(lab.name)
  return operator.client.workflow.getHandle<() => Promise<Verdict>>(workflowId).result()
}

/** With what was written to it, and the old data beside it. */
async function stillRestored(): Promise<void> {
  const { lab } = up()
  assert.match(await etcdctl(lab, 'cp-01', 'get', '/registry/after-the-restore'), /new/)
  for (const { name } of lab.hosts.hosts) {
    assert.equal((await matches(lab, name, '/var/lib/etcd.corrupt.*')).length, 1)
    assert.deepEqual(await matches(lab, name, '/var/lib/etcd.rolledback.*'), [])
  }
  await nothingHeld()
}

async function nothingHeld(): Promise<void> {
  const { lab } = up()
  for (const { name } of lab.hosts.hosts) assert.deepEqual(await matches(lab, name, LOCK), [])
  assert.equal(await schedulePaused(up()), false)
}

async function manifestsOf(host: string): Promise<string> {
  const { stdout } = await atConsole(
    up().lab.hosts,
    host,
    "cd /etc/kubernetes/manifests && sha256sum *.yaml && stat -c '%n %U:%G %a' *.yaml",
  )
  return stdout
}
