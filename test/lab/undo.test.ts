import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { atConsole } from '../../lab/hosts/console.ts'
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import type { Lab } from '../../lab/lab.ts'
import { recoveryWorkflowId } from '../../domain/messages.ts'
import type { RestoreVerdict } from '../../domain/verdict.ts'
import {
  approveToTheEnd,
  attempts,
  beforeRestore,
  beforeRestoreEverywhere,
  byHand,
  consentedRestore,
  differences,
  failureOf,
  fileText,
  makeSchedule,
  matches,
  readAllWhenUp,
  schedulePaused,
  timesOf,
  traces,
  typed,
  untilStep,
  verdictOf,
} from './recoveries.ts'
import { everyByteStays, makeRoom, undone } from './undone.ts'
import { controlPlaneFiles, editClusterFile, everyHost, standStill, useLab, wakeUp } from './use-lab.ts'

const MIB = 1_048_576
const LOCK = '/var/lib/requorum/lock'
const FILLER = '/var/lib/lab-filler'

const up = useLab({ keys: 1_000, diskBytes: 1_024 * MIB })

// Up to the restore that works, quorum is lost because nothing runs: every byte stands still and can be compared.

test('refused at "destroy", every byte is where it was', async () => {
  const own = up()
  await makeSchedule(own)
  const backedUp = await own.operator.backup()
  assert.ok('verdict' in backedUp && backedUp.verdict.outcome === 'proved', JSON.stringify(backedUp))
  await standStill(own.lab)
  const verdict = await everyByteStays(own, async () => {
    const { operator } = own
    await operator.startRestore()
    const waiting = await operator.untilCheckpoint('destroy')
    assert.ok(waiting)
    await operator.decide(waiting, 'refuse', 'bea')
    return verdictOf(await operator.result())
  })
  assert.equal(verdict.outcome, 'refused')
  assert.deepEqual(verdict.setAside, [])
})

test('not answered in time at "destroy", every byte is where it was', async () => {
  const own = up()
  const { lab, operator } = own
  const putBack = await editClusterFile(lab, (file) => (file['approval'] = { destroy: { timeout: '5s' } }))
  const verdict = await everyByteStays(own, async () => {
    await operator.startRestore()
    return verdictOf(await operator.result())
  })
  await putBack()
  assert.equal(verdict.outcome, 'timed-out')
})

test("a node that can't be reached is named and nothing is touched", async (t) => {
  const own = up()
  const { lab, operator } = own
  const traced = await everyHost(lab, (host) => traces(lab, host))
  const cut = findFault('cut-network')
  await cut.inject(lab.hosts, 'cp-02')
  const began = performance.now()
  await everyByteStays(own, async () => {
    await operator.startRestore()
    const failure = failureOf(await operator.result())
    assert.equal(failure.code, 'nodes-missing')
    assert.match(failure.message, /cp-02 of \S+ can't be reached\. Nothing was touched\./)
    assert.doesNotMatch(failure.message, /cp-01|cp-03/)
  })
  t.diagnostic(`it said so after ${seconds(began)}`)
  await cut.mend?.(lab.hosts, 'cp-02')
  assert.deepEqual(await everyHost(lab, (host) => traces(lab, host)), traced)
})

test('when the restore fails on one node, all nodes get their old state back', async () => {
  const { lab } = up()
  const real = await beforeRestore(lab, 'cp-03', 'echo "cp-03 has a bad day" >&2; exit 3')
  const failure = await undone(up())
  await real()
  assert.equal(failure.code, 'restore-undone')
  assert.match(failure.message, /cp-03/)
  assert.match(failure.message, /cp-03 has a bad day/)
  // What was restored on the others is kept beside the old data: nothing is deleted.
  for (const host of ['cp-01', 'cp-02']) {
    assert.equal((await matches(lab, host, '/var/lib/etcd.undone.*/member/snap/db')).length, 1)
  }
  await makeRoom(up())
})

test("when a node's disk runs full in the middle of the restore, all nodes get their old state back", async () => {
  const { lab } = up()
  const full = 'fallocate -l $(( $(stat -f -c "%a * %S" /var/lib) )) FILLER; cat /dev/zero >>FILLER'
  const real = await beforeRestore(
    lab,
    'cp-03',
    `( ${full.replaceAll('FILLER', FILLER)} ) 2>/dev/null || true`,
  )
  try {
    const failure = await undone(up())
    assert.equal(failure.code, 'restore-undone', failure.message)
    assert.match(failure.message, /cp-03/)
  } finally {
    await real()
    await atConsole(lab.hosts, 'cp-03', `rm -f ${FILLER}`)
  }
  await makeRoom(up())
})

test('when etcd of one node does not start after the restore, all nodes get their old state back', async () => {
  const own = up()
  const { lab } = own
  const putBack = await editClusterFile(lab, (file) => (file['limits'] = { start: '20s' }))
  const failure = await undone(up(), async () => {
    await untilStep(own, 'Wait for etcd')
    await wakeUntilWithdrawn(lab, ['cp-01', 'cp-02'])
  })
  await putBack()
  assert.equal(failure.code, 'restore-undone')
  assert.match(failure.message, /etcd did not become one healthy cluster within 20 s/)
  assert.match(failure.message, /cp-03 doesn't answer/)
  for (const { name } of lab.hosts.hosts) {
    const kept = await matches(lab, name, '/var/lib/etcd.undone.*/member/snap/db')
    assert.equal(kept.length, 1, `the restored data of ${name} is kept`)
  }
  await makeRoom(up())
})

test('when a restored member holds another keyspace than the rest, all nodes get their old state back', async () => {
  const own = up()
  const { lab } = own
  // Whole, of the same version, and another one: that of an empty etcd.
  const other = await readFile(join(lab.hosts.binDir, '../../../../seed.db'), 'base64')
  await atConsole(lab.hosts, 'cp-02', 'base64 -d >/root/other.db', [], { input: other })
  const real = await beforeRestore(
    lab,
    'cp-02',
    'shift 3; exec /usr/local/bin/etcdutl.real snapshot restore /root/other.db "$@"',
  )
  const putBack = await editClusterFile(lab, (file) => (file['limits'] = { start: '20s' }))
  try {
    const failure = await undone(own, async () => {
      await untilStep(own, 'Wait for etcd')
      await wakeUntilWithdrawn(lab, ['cp-01', 'cp-02', 'cp-03'])
    })
    assert.equal(failure.code, 'restore-undone')
    assert.match(failure.message, /cp-02/)
  } finally {
    await putBack()
    await real()
  }
  await makeRoom(own)
})

test('cancelled between consent and opening, it is undone', async () => {
  const own = up()
  const { lab, operator } = own
  const real = await beforeRestoreEverywhere(lab, 'sleep 3')
  const failure = await undone(up(), async () => {
    await untilStep(own, 'Restore the snapshot')
    await operator.client.workflow.getHandle(recoveryWorkflowId(lab.name)).cancel()
  })
  await real()
  assert.equal(failure.code, 'cancelled')
  assert.match(failure.message, /data and manifests are what they were/)
  await makeRoom(up())
})

test("after a termination the journal's commands, typed as they stand, bring the old state back", async (t) => {
  const own = up()
  const { lab, operator } = own
  const files = await everyHost(lab, (host) => controlPlaneFiles(lab, host))
  const real = await beforeRestoreEverywhere(lab, 'sleep 5')
  await consentedRestore(own)
  const { caught } = await untilStep(own, 'Restore the snapshot')
  const handle = operator.client.workflow.getHandle(recoveryWorkflowId(lab.name))
  const { runId } = await handle.describe()
  await handle.terminate('somebody pulled the plug')
  t.diagnostic(`caught in the step: ${String(caught)}`)

  const recovery = await newestRecovery()
  assert.ok((await matches(lab, 'cp-01', '/var/lib/etcd.corrupt.*')).length > 0, 'it is in the middle')
  await byHand(lab, recovery, 'Go back by hand')
  assert.deepEqual(await everyHost(lab, (host) => controlPlaneFiles(lab, host)), files)
  // A step that was still at work when the run was terminated does not come back on top of it.
  await sleep(6_000)
  assert.deepEqual(await everyHost(lab, (host) => controlPlaneFiles(lab, host)), files)
  await real()

  // The lock outlives the run, and says whose it is.
  await operator.startRestore()
  const failure = failureOf(await operator.result())
  assert.equal(failure.code, 'lock-held')
  assert.ok(failure.message.includes(`${recoveryWorkflowId(lab.name)}/${runId}`), failure.message)
  assert.ok(failure.message.includes(`requorum adopt ${lab.name}`), failure.message)
  await everyHost(lab, (host) => atConsole(lab.hosts, host, `rm ${LOCK}`))
})

test('with the lock of the dead run removed and the real etcdutl back, a restore works, over a cut network too', async (t) => {
  const own = up()
  const { lab } = own
  await wakeUp(lab)
  const contents = await readAll(lab.hosts)
  await destroyQuorum(lab.hosts)
  const fast = await beforeRestore(lab, 'cp-02', 'sleep 5')
  const cut = findFault('cut-network')

  await consentedRestore(own)
  const { caught } = await untilStep(own, 'Restore the snapshot')
  await cut.inject(lab.hosts, 'cp-02')
  await sleep(10_000)
  await cut.mend?.(lab.hosts, 'cp-02')
  const verdict = await approveToTheEnd(own)
  await fast()
  t.diagnostic(`caught in the step: ${String(caught)}; ${timesOf(verdict)}`)

  assert.equal(verdict.outcome, 'restored')
  assert.deepEqual(differences(contents, await readAll(lab.hosts)).slice(0, 5), [])
  for (const { name } of lab.hosts.hosts) {
    const started = await attempts(lab, name, verdict.recovery)
    assert.deepEqual([...new Set(Object.values(started))], [1], `no step was begun twice on ${name}`)
  }
  assert.equal(await schedulePaused(own), false, 'the pause that the dead run left is lifted too')
})

test("the journal's commands alone, typed as they stand, bring a healthy cluster with the snapshot's content", async () => {
  const own = up()
  const { lab, operator } = own
  const contents = await readAll(lab.hosts)
  await destroyQuorum(lab.hosts)
  await operator.startRestore()
  const waiting = await operator.untilCheckpoint('destroy')
  assert.ok(waiting)
  const recovery = /recoveries\/([^/]+)\/journal\.md/.exec(waiting.shows)?.[1] ?? ''
  // The first step can't begin anywhere, so the journal is written and nothing has been done.
  const unit = 'hold-the-first-step'
  await everyHost(lab, (host) =>
    atConsole(
      lab.hosts,
      host,
      `mkdir -p "/var/lib/requorum/steps/$1"
       systemd-run --quiet --collect --unit=${unit} flock "/var/lib/requorum/steps/$1/lock" sleep 600`,
      [`${recovery.toLowerCase()}.stop-the-control-plane`],
    ),
  )
  await operator.decide(waiting, 'approve')
  await untilStep(own, 'Stop the control plane')
  await operator.client.workflow.getHandle(recoveryWorkflowId(lab.name)).terminate('the engine is lost')

  await byHand(lab, recovery, 'Go on by hand')
  assert.deepEqual(differences(contents, await readAllWhenUp(lab)).slice(0, 5), [])
  for (const host of lab.hosts.hosts) {
    const manifest = await fileText(lab, host.name, '/etc/kubernetes/manifests/etcd.yaml')
    const list = lab.hosts.hosts.map(({ name, address }) => `${name}=https://${address}:2380`).join(',')
    assert.ok(manifest.includes(`- --initial-cluster=${list}\n`))
    assert.ok(manifest.includes('- --initial-cluster-state=existing\n'))
    assert.equal((await matches(lab, host.name, '/var/lib/etcd.corrupt.*')).length > 0, true)
  }

  // What else the run held is let go of as the journal says.
  const journal = await fileText(lab, 'cp-01', `/var/lib/requorum/recoveries/${recovery}/journal.md`)
  const resume = journal.split('\n').find((line) => line.startsWith('temporal schedule toggle '))
  assert.ok(resume, 'the journal says how the schedule goes on')
  await typed(lab, resume)
  assert.equal(await schedulePaused(own), false)
  assert.ok(journal.includes(`rm ${LOCK}`), 'the journal says how the lock is removed')
  await everyHost(lab, (host) => atConsole(lab.hosts, host, `rm ${LOCK}; systemctl stop ${unit}`))
})

async function newestRecovery(): Promise<RestoreVerdict['recovery']> {
  const found = await matches(up().lab, 'cp-01', '/var/lib/requorum/recoveries/*/journal.md')
  return found.at(-1)?.split('/').at(-2) ?? ''
}

function seconds(began: number): string {
  return `${((performance.now() - began) / 1_000).toFixed(1)} s`
}

/**
 * Kubelets wake up and start the restored etcd; each falls asleep again as soon as that has ended, and stays so although
 * the way back wakes it, so that the old data can be compared before the old etcd writes to it.
 */
function wakeUntilWithdrawn(lab: Lab, hosts: readonly string[]): Promise<unknown> {
  return Promise.all(
    hosts.map((host) =>
      atConsole(
        lab.hosts,
        host,
        `systemctl start kubelet
         systemd-run --quiet --collect /bin/sh -c '
           until pgrep -x etcd >/dev/null; do sleep 0.05; done
           while [ -e /etc/kubernetes/manifests/etcd.yaml ] || pgrep -x etcd >/dev/null; do sleep 0.05; done
           for again in $(seq 100); do systemctl stop kubelet; sleep 0.1; done'`,
      ),
    ),
  )
}
