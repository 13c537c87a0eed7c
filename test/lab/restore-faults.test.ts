/** Restores that meet what nobody planned for: see test/faults/README.md. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import type { RestoreVerdict } from '../../domain/verdict.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { EtcdGateway, memberList } from '../../lab/hosts/etcd-gateway.ts'
import { readAll, type WholeKeyspace } from '../../lab/hosts/keyspace.ts'
import { findHost, type LabHosts } from '../../lab/hosts/lab-hosts.ts'
import { proved, startBackup, until } from './backup-runs.ts'
import {
  approveToTheEnd,
  beforeRestore,
  consentedRestore,
  differences,
  etcdctl,
  failureOf,
  makeSchedule,
  matches,
  untilStep,
} from './recoveries.ts'
import { StoreDoor } from './store-door.ts'
import { everyByteStays, makeRoom, undone } from './undone.ts'
import { editClusterFile, everyHost, standStill, useLab, wakeUp } from './use-lab.ts'

const MIB = 1_048_576

const up = useLab({ keys: 500, diskBytes: 1_024 * MIB })

// Up to the restore that works, quorum is lost because nothing runs: every byte stands still and can be compared.

test('a backup that runs when a recovery begins is waited for before anything is touched', async () => {
  const own = up()
  const { lab, operator } = own
  await makeSchedule(own)
  proved(await operator.backup())
  const door = await StoreDoor.before(lab)
  let real: (() => Promise<void>) | undefined
  try {
    const put = door.hold('request', (method, path) => method === 'PUT' && path.includes('.db'))
    const running = await startBackup(own)
    await put.arrived
    await standStill(lab)
    real = await beforeRestore(lab, 'cp-03', 'exit 3')
    await everyByteStays(own, async () => {
      await consentedRestore(own)
      const { caught } = await untilStep(own, 'Wait for a running backup')
      assert.ok(caught, 'it waits for as long as the backup is held')
      assert.equal((await operator.progress()).steps.at(-1)?.title, 'Wait for a running backup')
      put.release()
      proved(await running.ended)
      const { step } = await untilStep(own, 'Wait for a running backup')
      assert.notEqual(step.state, 'failed')
      // The restore itself is another test's: here it goes no further than this.
      assert.equal(failureOf(await operator.resultWithoutRetry()).code, 'restore-undone')
      const waited = (await operator.progress()).steps.find(
        ({ title }) => title === 'Wait for a running backup',
      )
      assert.ok(waited?.note?.includes(running.workflowId), waited?.note ?? 'no note')
    })
  } finally {
    await real?.()
    await door.close()
  }
  await makeRoom(own)
})

test('a data directory that is a mount is refused, with its node, before anything is touched', async () => {
  const own = up()
  const { lab, operator } = own
  await everyByteStays(own, async () => {
    await atConsole(lab.hosts, 'cp-02', 'mount --bind /var/lib/etcd /var/lib/etcd')
    try {
      await operator.startRestore()
      const failure = failureOf(await operator.result())
      assert.equal(failure.code, 'step-refused')
      assert.match(failure.message, /cp-02[\s\S]*mount/)
    } finally {
      await atConsole(lab.hosts, 'cp-02', 'umount /var/lib/etcd')
    }
  })
})

test('a staged copy that rots on one node after it was approved is found there, and all is undone', async () => {
  const own = up()
  const { lab, operator } = own
  const failure = await everyByteStays(own, async () => {
    await operator.startRestore()
    const waiting = await operator.untilCheckpoint('destroy')
    assert.ok(waiting)
    await atConsole(
      lab.hosts,
      'cp-02',
      `file=$(ls /var/lib/etcd-backups/staged-*)
       middle=$(( $(stat -c %s "$file") / 2 ))
       byte=$(od -An -tu1 -j "$middle" -N 1 "$file")
       printf "\\\\$(printf %o $(( byte ^ 1 )))" | dd of="$file" bs=1 seek="$middle" conv=notrunc status=none`,
    )
    await operator.decide(waiting, 'approve')
    return failureOf(await operator.resultWithoutRetry())
  })
  assert.equal(failure.code, 'restore-undone')
  assert.match(failure.message, /cp-02[\s\S]*isn't the snapshot of the plan/)
  await makeRoom(own)
})

test('when the kernel kills a restore for want of memory, half of its files written, all is undone', async () => {
  const own = up()
  const half = `
    for word; do
      case $word in --data-dir=*) half=\${word#*=}/member/snap; mkdir -p "$half"; head -c 4096 /dev/zero >"$half/db" ;; esac
    done
    kill -s KILL $$`
  const real = await beforeRestore(own.lab, 'cp-03', half)
  try {
    const failure = await undone(own)
    assert.equal(failure.code, 'restore-undone')
    assert.match(failure.message, /cp-03/)
    assert.match(failure.message, /137|[Kk]illed/)
  } finally {
    await real()
  }
  await makeRoom(own)
})

let contents: WholeKeyspace
let verdict: RestoreVerdict
/** What the recovery said of its alarms. */
let disarmed = ''

test('an old member that is alive on one node does not mix into the restored cluster', async () => {
  const own = up()
  const { lab } = own
  await atConsole(lab.hosts, 'cp-02', 'cp -a /var/lib/etcd /var/lib/old-etcd')
  await wakeUp(lab)
  await backupUnderAlarm()
  contents = await readAll(lab.hosts)
  await destroyQuorum(lab.hosts)
  await startOldMember(lab.hosts, 'cp-02')

  await consentedRestore(own)
  verdict = await approveToTheEnd(own)
  const { steps } = await own.operator.progress()
  disarmed = steps.find(({ title }) => title.startsWith('Disarm alarms'))?.note ?? ''
  assert.equal(verdict.outcome, 'restored')
  assert.deepEqual(differences(contents, await readAll(lab.hosts)).slice(0, 5), [])
  const gateway = await EtcdGateway.connect(lab.hosts)
  const { members } = await gateway.call('/v3/cluster/member/list', {}, memberList)
  gateway.close()
  assert.deepEqual(members.map(({ name }) => name).sort(), ['cp-01', 'cp-02', 'cp-03'])
  const { stdout } = await atConsole(
    lab.hosts,
    'cp-02',
    'systemctl is-active old-member; journalctl --unit=old-member | grep -c -i "cluster.ID.mismatch" || true',
  )
  const [active, mismatches] = stdout.trim().split('\n')
  assert.equal(active, 'active', 'it is another etcd than the one that was to be stopped, and is left alone')
  assert.ok(Number(mismatches) > 0, 'the restored members answer it by their cluster ID')
  await atConsole(lab.hosts, 'cp-02', 'systemctl stop old-member')
})

test('an alarm NOSPACE that the snapshot brings along is disarmed before the cluster opens', async () => {
  const { lab } = up()
  const step = verdict.steps.find(({ title }) => title === 'Disarm alarms and probe with a write')
  assert.ok(step, 'the step was made')
  assert.match(disarmed, /disarmed NOSPACE of /)
  assert.ok(verdict.checks.some(({ name, verdict: seen }) => name === 'no alarms' && seen === 'pass'))
  assert.equal(await etcdctl(lab, 'cp-01', 'alarm', 'list'), '')
  await etcdctl(lab, 'cp-01', 'put', '/registry/lab/after', 'it takes writes')
})

const LATE_ETCDCTL = '/usr/local/bin/late-etcdctl'
const HOLD = '/run/lab-hold-save'
const HELD = '/run/lab-held-save'

/** A backup whose snapshot has the alarm in it: raised after the members were surveyed, before the save begins. */
async function backupUnderAlarm(): Promise<void> {
  const own = up()
  const { lab } = own
  const script = `#!/bin/sh
case " $* " in *" snapshot save "*) touch ${HELD}; while [ -e ${HOLD} ]; do sleep 0.05; done ;; esac
exec /usr/local/bin/etcdctl "$@"
`
  await everyHost(lab, (host) =>
    atConsole(lab.hosts, host, `cat >${LATE_ETCDCTL}; chmod 755 ${LATE_ETCDCTL}; touch ${HOLD}`, [], {
      input: script,
    }),
  )
  const putBack = await editClusterFile(lab, (file) => {
    file['etcd'] = { etcdctl: LATE_ETCDCTL, etcdutl: '/usr/local/bin/etcdutl' }
  })
  try {
    const running = await startBackup(own)
    await until('a save', async () => {
      const held = await everyHost(lab, (host) => matches(lab, host, HELD))
      return held.flat().length > 0 ? true : undefined
    })
    await alarm(lab.hosts, 'ACTIVATE')
    await everyHost(lab, (host) => atConsole(lab.hosts, host, `rm -f ${HOLD}`))
    proved(await running.ended)
  } finally {
    await putBack()
    await alarm(lab.hosts, 'DEACTIVATE')
  }
}

async function alarm(lab: LabHosts, action: 'ACTIVATE' | 'DEACTIVATE'): Promise<void> {
  const gateway = await EtcdGateway.connect(lab)
  try {
    const { members } = await gateway.call('/v3/cluster/member/list', {}, memberList)
    const memberID = members[0]?.ID ?? ''
    await gateway.call('/v3/maintenance/alarm', { action, memberID, alarm: 'NOSPACE' }, z.unknown())
  } finally {
    gateway.close()
  }
}

/** An etcd of the old cluster, on ports of its own, that looks for its old peers. */
async function startOldMember(lab: LabHosts, host: string): Promise<void> {
  const pki = '/etc/kubernetes/pki/etcd'
  const { address } = findHost(lab, host)
  const urls = { client: 'https://127.0.0.1:12379', peer: `https://${address}:12380` }
  await atConsole(
    lab,
    host,
    `systemd-run --quiet --collect --unit=old-member etcd --name="$1" --data-dir=/var/lib/old-etcd \\
       --listen-client-urls=${urls.client} --advertise-client-urls=${urls.client} --listen-peer-urls=${urls.peer} \\
       --cert-file=${pki}/server.crt --key-file=${pki}/server.key --trusted-ca-file=${pki}/ca.crt --client-cert-auth \\
       --peer-cert-file=${pki}/peer.crt --peer-key-file=${pki}/peer.key --peer-trusted-ca-file=${pki}/ca.crt \\
       --peer-client-cert-auth`,
    [host],
  )
}
