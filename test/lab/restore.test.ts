import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { WorkflowFailedError } from '@temporalio/client'
import { setTimeout as sleep } from 'node:timers/promises'
import { atConsole } from '../../lab/hosts/console.ts'
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import { startEngine } from '../../lab/services/engine.ts'
import { killWorker, startWorker, stopWorker } from '../../lab/services/worker.ts'
import { restoreCommand } from '../../domain/messages.ts'
import type { RestoreVerdict } from '../../domain/verdict.ts'
import {
  approveToTheEnd,
  attempts,
  beforeRestore,
  beforeRestoreEverywhere,
  consentedRestore,
  differences,
  engineDir,
  etcdctl,
  failureOf,
  fileText,
  makeSchedule,
  matches,
  readAllWhenUp,
  shapeOf,
  temporal,
  timesOf,
  traces,
  untilStep,
} from './recoveries.ts'
import { everyHost, useLab, type OwnLab } from './use-lab.ts'

const MANIFEST = '/etc/kubernetes/manifests/etcd.yaml'
const KEYS = 3_000
const quiet = (): undefined => undefined

const up = useLab({ keys: KEYS })

/** The first host's manifest as kubeadm wrote it, before any restore has completed it. */
let kubeadmFirst = ''
/** How an undisturbed restore ended. */
let golden: RestoreVerdict | undefined

test('while quorum holds a restore is refused and nothing is touched', async () => {
  const { lab, operator } = up()
  const before = await everyHost(lab, (host) => traces(lab, host))
  await operator.startRestore()
  const failure = failureOf(await operator.result())
  assert.equal(failure.code, 'quorum-holds')
  assert.match(failure.message, /Nothing was touched/)
  assert.deepEqual(await everyHost(lab, (host) => traces(lab, host)), before)
})

test('under another workflow ID it ends at once with the right command, and nothing is touched', async () => {
  const { lab, operator } = up()
  const before = await everyHost(lab, (host) => traces(lab, host))
  const mine = `my-own-recovery-of-${lab.name}`
  await temporal(lab, [
    ...['workflow', 'start', '--type', 'restoreQuorum', '--task-queue', 'requorum'],
    ...['--workflow-id', mine, '--input', JSON.stringify({ cluster: lab.name })],
  ])
  const handle = operator.client.workflow.getHandle(mine)
  await assert.rejects(handle.result(), (error: unknown) => {
    assert.ok(error instanceof WorkflowFailedError)
    assert.ok(error.cause?.message.includes(restoreCommand(lab.name)), error.cause?.message)
    return true
  })
  const history = await handle.fetchHistory()
  assert.equal(
    history.events?.filter((event) => event.activityTaskScheduledEventAttributes).length,
    0,
    'it ends in its first task',
  )
  assert.deepEqual(await everyHost(lab, (host) => traces(lab, host)), before)
})

test('a destroyed cluster is restored from its backup, undisturbed', async (t) => {
  const own = up()
  const { lab, operator } = own
  await makeSchedule(own)
  kubeadmFirst = await fileText(lab, lab.hosts.hosts[0]?.name ?? '', MANIFEST)
  assert.doesNotMatch(kubeadmFirst, /initial-cluster-state/, "kubeadm's first manifest has no state")
  const before = await readAll(lab.hosts)
  const backedUp = await operator.backup()
  assert.ok('verdict' in backedUp && backedUp.verdict.outcome === 'proved', JSON.stringify(backedUp))
  await destroyQuorum(lab.hosts)
  await consentedRestore(own)
  const verdict = await approveToTheEnd(own)
  golden = verdict
  t.diagnostic(timesOf(verdict))
  assert.equal(verdict.outcome, 'restored')
  assert.deepEqual(verdict.warnings, [])
  assert.deepEqual(differences(before, await readAll(lab.hosts)).slice(0, 5), [])
})

test('the same plan is carried out when the worker is killed in the middle of the restore step', async (t) => {
  const fast = await beforeRestoreEverywhere(up().lab, 'sleep 4')
  await killedAt(t, 'Restore the snapshot')
  await fast()
})

test('the same plan is carried out when the worker is told to stop in the middle of the restore step', async (t) => {
  // Longer than a worker that stops waits for its activities.
  const fast = await beforeRestoreEverywhere(up().lab, 'sleep 20')
  await killedAt(t, 'Restore the snapshot', stopWorker)
  await fast()
})

test('the same plan is carried out when the worker is killed while the control plane is being stopped', (t) =>
  killedAt(t, 'Stop the control plane'))

test('the same plan is carried out when the worker is killed while it waits for etcd', (t) =>
  killedAt(t, 'Wait for etcd'))

test('the same plan is carried out where kubelets take seconds for everything', async (t) => {
  const { lab } = up()
  const slow = findFault('slow-kubelet')
  for (const { name } of lab.hosts.hosts) await slow.inject(lab.hosts, name)
  try {
    await killedAt(t, 'Start etcd')
  } finally {
    for (const { name } of lab.hosts.hosts) await slow.mend?.(lab.hosts, name)
  }
})

test("a first node that came back as an empty cluster of its own doesn't fool the restore", async (t) => {
  const own = up()
  const { lab, operator } = own
  const before = await readAll(lab.hosts)
  const first = lab.hosts.hosts[0]?.name ?? ''
  await atConsole(
    lab.hosts,
    first,
    `cat >/root/etcd.yaml && chmod 600 /root/etcd.yaml && mv /root/etcd.yaml ${MANIFEST}`,
    [],
    {
      input: kubeadmFirst,
    },
  )
  await readAllWhenUp(lab)
  await destroyQuorum(lab.hosts, { damaged: 'cp-03' })
  await untilAlone(own, first)

  await operator.startRestore()
  const waiting = await operator.untilCheckpoint('destroy')
  assert.ok(waiting, 'it is not taken for a quorum')
  assert.match(waiting.shows, new RegExp(`\\| ${first} \\| \\*\\*etcd runs as a cluster of its own\\*\\*`))
  const verdict = await approveToTheEnd(own)
  t.diagnostic(timesOf(verdict))
  assert.equal(verdict.outcome, 'restored')
  assert.deepEqual(differences(before, await readAll(lab.hosts)).slice(0, 5), [])
  assert.match(await fileText(lab, first, MANIFEST), /--initial-cluster-state=existing/)
})

test('an engine that is killed while the run waits keeps it, and the approval then works', async (t) => {
  const own = up()
  const { lab, operator } = own
  const before = await readAll(lab.hosts)
  await destroyQuorum(lab.hosts)
  await operator.startRestore()
  const waiting = await operator.untilCheckpoint('destroy')
  assert.ok(waiting)

  process.kill(lab.engine.pid, 'SIGKILL')
  const engine = await startEngine({ dir: engineDir(lab), say: quiet })
  assert.equal(engine.address, lab.engine.address)
  const still = await operator.untilCheckpoint('destroy')
  assert.equal(still?.digest, waiting.digest, 'it waits for the same consent')

  const verdict = await approveToTheEnd(own)
  t.diagnostic(timesOf(verdict))
  assert.equal(verdict.outcome, 'restored')
  assert.deepEqual(differences(before, await readAll(lab.hosts)).slice(0, 5), [])
})

test('a host that loses power in the middle of the restore step costs nothing but time', async (t) => {
  const own = up()
  const { lab } = own
  const before = await readAll(lab.hosts)
  const fast = await beforeRestore(lab, 'cp-02', 'sleep 6')
  await destroyQuorum(lab.hosts)
  await consentedRestore(own)
  const { caught } = await untilStep(own, 'Restore the snapshot')
  await findFault('reboot-host').inject(lab.hosts, 'cp-02')
  await fast()
  const verdict = await approveToTheEnd(own)
  t.diagnostic(`caught in the step: ${String(caught)}; ${timesOf(verdict)}`)
  assert.equal(verdict.outcome, 'restored')
  assert.deepEqual(shapeOf(verdict), shapeOf(undisturbed()))
  assert.deepEqual(differences(before, await readAll(lab.hosts)).slice(0, 5), [])
})

/** Kills the worker with SIGKILL at a step, starts it again, and holds the end against the undisturbed run's. */
async function killedAt(t: TestContext, title: string, end = killWorker): Promise<void> {
  const own = up()
  const { lab } = own
  const before = await readAll(lab.hosts)
  await destroyQuorum(lab.hosts)
  await consentedRestore(own)
  const { caught } = await untilStep(own, title)
  await end(lab.dir)
  await startWorker(lab.dir, quiet)
  const verdict = await approveToTheEnd(own)
  t.diagnostic(`caught in the step: ${String(caught)}; ${timesOf(verdict)}`)

  assert.deepEqual(shapeOf(verdict), shapeOf(undisturbed()))
  assert.deepEqual(differences(before, await readAll(lab.hosts)).slice(0, 5), [])
  for (const host of lab.hosts.hosts) {
    const started = await attempts(lab, host.name, verdict.recovery)
    assert.deepEqual(started, {
      'stop-the-control-plane': 1,
      'set-the-old-data-aside': 1,
      'restore-the-snapshot': 1,
      'start-etcd': 1,
      'start-controllers-and-what-else-was-stopped': 1,
    })
    assert.deepEqual(await matches(lab, host.name, '/var/lib/requorum/lock'), [])
  }
}

function undisturbed(): RestoreVerdict {
  if (golden === undefined) throw new Error('There is no undisturbed run to compare with: it failed before.')
  return golden
}

/** Waits until a wiped first node runs as a cluster of its own, which kubeadm's manifest makes of it. */
async function untilAlone({ lab }: OwnLab, host: string): Promise<void> {
  const deadline = Date.now() + 120_000
  for (;;) {
    const members = await etcdctl(lab, host, 'member', 'list').catch(() => '')
    if (members.trim().split('\n').filter(Boolean).length === 1) return
    if (Date.now() > deadline) throw new Error(`${host} did not come back as a cluster of its own.`)
    await sleep(500)
  }
}
