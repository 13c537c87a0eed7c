/**
 * Making room in a real etcd: history that nobody needs, a real NOSPACE by a small quota, content that is too big
 * for it, a worker that is killed in the middle of a defragmentation, and a cancellation there.
 */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, test, type TestContext } from 'node:test'
import { WorkflowFailedError } from '@temporalio/client'
import { ApplicationFailure } from '@temporalio/common'
import type { ReliefVerdict } from '../../domain/relief-verdict.ts'
import { recoveryWorkflowId, TASK_QUEUE } from '../../domain/messages.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { ETCDCTL } from '../../lab/hosts/etcdctl.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import { waitForAll } from '../../lab/hosts/form-cluster.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import { killWorker, startWorker } from '../../lab/services/worker.ts'
import { requorum } from './command.ts'
import {
  attempts,
  differences,
  etcdctl,
  fileText,
  makeSchedule,
  schedulePaused,
  untilStep,
} from './recoveries.ts'
import { leaderOf } from './members.ts'
import { editClusterFile, everyHost, useLab } from './use-lab.ts'

const own = useLab({ keys: 2_000 })
const NAMES = ['cp-01', 'cp-02', 'cp-03']
const MIB = 1_048_576
let scheduled: Promise<void> | undefined
beforeEach(() => (scheduled ??= makeSchedule(own())))

test('a database that holds mostly history gives it back on every member, and the content stays', async (t) => {
  const { lab } = own()
  await writeHistory(30)
  const content = await readAll(lab.hosts)
  const leader = await leaderOf(lab)

  const started = await requorum(lab, 'relieve', lab.name)
  assert.equal(started.code, 4, started.error)
  assert.match(started.out, /waits for a person: compact, plan [0-9a-f]{8}/)
  assert.match(started.out, /No alarm stands; writes go through/)
  // It waits, and the cluster goes on living: nothing is locked, the schedule runs.
  assert.deepEqual(await locks(), ['', '', ''])
  assert.equal(await schedulePaused(own()), false)
  const plan = /plan ([0-9a-f]{8})/.exec(started.out)?.[1] ?? ''
  assert.equal((await requorum(lab, 'approve', lab.name, '--plan', plan, '--by', 'ana')).code, 0)
  const watched = await requorum(lab, 'status', lab.name, '--watch')
  assert.equal(watched.code, 0, watched.out + watched.error)
  assert.match(watched.out, /FREED: 3 members of \S+ gave back \d+ MiB; no alarm stands/)
  t.diagnostic(
    watched.out
      .split('\n')
      .filter((line) => / MiB /.test(line))
      .join('\n'),
  )

  const verdict = await lastVerdict()
  assert.equal(verdict.outcome, 'freed')
  assert.equal(verdict.members.at(-1)?.node, leader, 'the leader comes last')
  for (const { node, gainedBytes } of verdict.members)
    assert.ok(gainedBytes > 20 * MIB, `${node}: ${gainedBytes}`)
  assert.match(verdict.freshBackup ?? '', /^daily\//)
  assert.deepEqual(differences(content, await readAll(lab.hosts)), [])
  await nothingHeld(verdict.recovery)

  // What was thrown away is in the copy, and only there.
  const { copy } = verdict
  assert.ok(copy)
  const { stdout } = await atConsole(lab.hosts, copy.node, 'sha256sum -- "$1"', [copy.path])
  assert.equal(stdout.slice(0, 64), copy.sha256)
  const old = String(BigInt(copy.revision) - 1n)
  await assert.rejects(etcdctl(lab, 'cp-01', 'get', `--rev=${old}`, '/registry/history'), /compacted/)
})

test('the alarm NOSPACE, which forbids every write and no backup: room is made, and writes go through', async (t) => {
  const { lab, operator } = own()
  const fault = findFault('fill-quota')
  await fault.inject(lab.hosts, 'cp-02')
  const diagnosis = await requorum(lab, 'diagnose', lab.name)
  assert.match(
    diagnosis.out,
    new RegExp(`\\n1\\. Let Requorum make room.*\\n {5}requorum relieve ${lab.name}\\n`),
  )
  await assert.rejects(etcdctl(lab, 'cp-01', 'put', '/registry/after', 'a write'), /space exceeded/)
  const under = await operator.backup()
  assert.ok('verdict' in under, JSON.stringify(under))
  assert.match(under.verdict.warnings.join('\n'), /refuses every write \(NOSPACE\): requorum relieve/)

  const content = await readAll(lab.hosts)
  const freed = await approvedRun(t)
  assert.equal(freed.outcome, 'freed', JSON.stringify(freed.checks))
  assert.equal(freed.disarmed.length, 1)
  assert.match(freed.freshBackup ?? '', /^daily\//)
  assert.equal(await etcdctl(lab, 'cp-01', 'alarm', 'list'), '')
  assert.deepEqual(differences(content, await readAll(lab.hosts)), [])
  await etcdctl(lab, 'cp-02', 'put', '/registry/after', 'a write')
  await nothingHeld(freed.recovery)
})

test('content that is too big for the quota is told; once it is gone, there is room', async (t) => {
  const { lab } = own()
  // Less than the filler of the test before, which is content and no history.
  await giveQuota('cp-02', 10 * MIB)
  await assert.rejects(etcdctl(lab, 'cp-02', 'put', '/registry/after', 'a write'), /space exceeded/)
  const full = await approvedRun(t)
  assert.equal(full.outcome, 'still-full', JSON.stringify(full.checks))
  assert.match(await etcdctl(lab, 'cp-01', 'alarm', 'list'), /NOSPACE/, 'and etcd says so again')
  assert.equal(full.freshBackup, null)
  assert.match(full.warnings.join('\n'), /cp-02 still has \d+ % of its quota/)
  await nothingHeld(full.recovery)

  // Deletes go through under the alarm.
  await etcdctl(lab, 'cp-01', 'del', '--prefix', '/registry/lab-filler/')
  const freed = await approvedRun(t)
  assert.equal(freed.outcome, 'freed', JSON.stringify(freed.checks))
  assert.equal(await etcdctl(lab, 'cp-01', 'alarm', 'list'), '')
  await findFault('fill-quota').mend?.(lab.hosts, 'cp-02')
  await waitForAll(lab.hosts)
})

test('a worker killed in the middle of a defragmentation: the next one attaches to it, and all goes on', async (t) => {
  const { lab, operator } = own()
  await writeHistory(10)
  const held = await holdDefragmentations()
  try {
    await startAndApprove()
    const { step } = await untilFirstDefragmentation()
    await killWorker(lab.dir)
    await sleep(1_000)
    await startWorker(lab.dir, () => undefined)
    await held.release()
    const verdict = await lastVerdict()
    assert.equal(verdict.outcome, 'freed', JSON.stringify(verdict.checks))
    const first = verdict.members[0]?.node ?? ''
    assert.match(step.title, new RegExp(`${first}$`))
    const done = await Promise.all(NAMES.map((host) => attempts(lab, host, verdict.recovery)))
    assert.deepEqual(
      done.map(({ defragment }) => defragment),
      [1, 1, 1],
    )
    await nothingHeld(verdict.recovery)
    t.diagnostic(verdict.steps.map(({ title, seconds }) => `${title} ${seconds} s`).join('; '))
  } finally {
    await held.end()
  }
  assert.equal((await operator.progress()).waiting, null)
})

test('a cancellation ends between two members, and a second run does the rest', async (t) => {
  const { lab, operator } = own()
  await writeHistory(10)
  const held = await holdDefragmentations()
  const handle = operator.client.workflow.getHandle(recoveryWorkflowId(lab.name))
  try {
    await startAndApprove()
    await untilFirstDefragmentation()
    await handle.cancel()
    await sleep(500)
    await held.release()
    const failure = await handle.result().then(
      () => assert.fail('it was to be cancelled'),
      (error: unknown) => (error instanceof WorkflowFailedError ? error.cause : error),
    )
    assert.ok(failure instanceof ApplicationFailure && failure.type === 'cancelled', String(failure))
    assert.match(failure.message, /defragmented: cp-0\d; not: cp-0\d, cp-0\d;/)
  } finally {
    await held.end()
  }
  await nothingHeld()
  const content = await readAll(lab.hosts)
  assert.equal((await approvedRun(t)).outcome, 'freed')
  assert.deepEqual(differences(content, await readAll(lab.hosts)), [])
})

/** So many versions of one key of a megabyte: history that a compaction drops. */
async function writeHistory(versions: number): Promise<void> {
  await atConsole(
    own().lab.hosts,
    'cp-01',
    `value=$(mktemp)
     for version in $(seq "$1"); do
       { echo "$version"; head -c 1000000 /dev/zero | tr '\\0' h; } >"$value"
       ${ETCDCTL} put /registry/history <"$value" >/dev/null
     done
     rm -f "$value"`,
    [String(versions)],
  )
}

/** Another quota for the etcd of a host that has a small one already. */
async function giveQuota(host: string, bytes: number): Promise<void> {
  const { lab } = own()
  await atConsole(
    lab.hosts,
    host,
    `cd /etc/kubernetes/manifests
     sed "s/--quota-backend-bytes=.*/--quota-backend-bytes=$1/" etcd.yaml >.etcd.yaml.new
     chmod 600 .etcd.yaml.new
     was=$(pgrep -x etcd)
     mv .etcd.yaml.new etcd.yaml
     until [ -n "$(pgrep -x etcd)" ] && [ "$(pgrep -x etcd)" != "$was" ]; do sleep 0.2; done`,
    [String(bytes)],
  )
  await waitForAll(lab.hosts)
}

async function startAndApprove(): Promise<void> {
  const { lab, operator } = own()
  await operator.client.workflow.start('relieve', {
    taskQueue: TASK_QUEUE,
    workflowId: recoveryWorkflowId(lab.name),
    args: [{ cluster: lab.name }],
  })
  const waiting = await operator.untilCheckpoint('compact')
  assert.ok(waiting, 'it ended before it asked')
  await operator.decide(waiting, 'approve')
}

async function approvedRun(t: TestContext): Promise<ReliefVerdict> {
  await startAndApprove()
  const verdict = await lastVerdict()
  const gained = verdict.members.map(
    ({ node, beforeBytes, afterBytes }) => `${node} ${beforeBytes} → ${afterBytes}`,
  )
  t.diagnostic(`${verdict.outcome}: ${gained.join(', ')}`)
  return verdict
}

function lastVerdict(): Promise<ReliefVerdict> {
  const { lab, operator } = own()
  const workflowId = recoveryWorkflowId(lab.name)
  return operator.client.workflow.getHandle<() => Promise<ReliefVerdict>>(workflowId).result()
}

async function untilFirstDefragmentation() {
  const { operator } = own()
  for (;;) {
    const step = (await operator.progress().catch(() => undefined))?.steps.find(({ title }) =>
      title.startsWith('Defragment '),
    )
    if (step !== undefined) return untilStep(own(), step.title)
    await sleep(50)
  }
}

function locks(): Promise<string[]> {
  return everyHost(own().lab, async (host) => {
    const { stdout } = await atConsole(
      own().lab.hosts,
      host,
      'cat /var/lib/requorum/lock 2>/dev/null || true',
    )
    return stdout
  })
}

/** Locks, the schedule, and, where there was a run, a journal on every node that says what is done by hand. */
async function nothingHeld(recovery?: string): Promise<void> {
  assert.deepEqual(await locks(), ['', '', ''])
  assert.equal(await schedulePaused(own()), false)
  if (recovery === undefined) return
  for (const host of NAMES) {
    const path = `/var/lib/requorum/recoveries/${recovery}/journal.md`
    assert.match(await fileText(own().lab, host, path), / compact --physical \d+\n/)
  }
}

const WRAPPER = '/usr/local/bin/held-etcdctl'
const HOLD = '/var/lib/lab-hold-defrag'

/** Gives the hosts an etcdctl whose `defrag` waits for as long as it is held. */
async function holdDefragmentations(): Promise<{ release: () => Promise<void>; end: () => Promise<void> }> {
  const { lab } = own()
  const script = `#!/bin/sh
case " $* " in *" defrag "*) while [ -e ${HOLD} ]; do sleep 0.05; done ;; esac
exec /usr/local/bin/etcdctl "$@"
`
  await everyHost(lab, (host) =>
    atConsole(lab.hosts, host, `cat >${WRAPPER}; chmod 755 ${WRAPPER}; touch ${HOLD}`, [], { input: script }),
  )
  const putBack = await editClusterFile(lab, (file) => {
    file['etcd'] = { etcdctl: WRAPPER, etcdutl: '/usr/local/bin/etcdutl' }
  })
  const release = async (): Promise<void> => {
    await everyHost(lab, (host) => atConsole(lab.hosts, host, `rm -f ${HOLD}`))
  }
  return {
    release,
    end: async () => {
      await release()
      await putBack()
    },
  }
}
