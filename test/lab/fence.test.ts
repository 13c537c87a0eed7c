import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { atConsole } from '../../lab/hosts/console.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import { CORRUPT_DATABASE, KILL_ETCD } from '../../lab/hosts/faults/etcd-damage.ts'
import type { FenceVerdict } from '../../domain/fence-watch.ts'
import { fenceWorkflowId, TASK_QUEUE } from '../../domain/messages.ts'
import type { RestoreVerdict } from '../../domain/verdict.ts'
import {
  approveToTheEnd,
  differences,
  etcdctl,
  failureOf,
  fileText,
  makeSchedule,
  matches,
  schedulePaused,
} from './recoveries.ts'
import { controlPlaneFiles, everyHost, useLab } from './use-lab.ts'

const up = useLab({ keys: 500 })
const FENCED = '/var/lib/requorum/fenced'
const MANIFEST = '/etc/kubernetes/manifests/etcd.yaml'

let contents: Awaited<ReturnType<typeof readAll>>

test('a node that nobody reaches is no reason to go on: it is named, with what to do about it', async () => {
  const own = up()
  const { lab } = own
  await makeSchedule(own)
  contents = await readAll(lab.hosts)
  const backedUp = await own.operator.backup()
  assert.ok('verdict' in backedUp && backedUp.verdict.outcome === 'proved', JSON.stringify(backedUp))
  await damage('cp-01', 'cp-02')
  await onSsh('cp-03', 'off')

  const { code, message } = await refused()
  assert.equal(code, 'nodes-missing')
  assert.match(message, /cp-03 of \w+ can't be reached\. Nothing was touched\./)
  assert.match(message, /it could form the old quorum/)
  assert.match(message, new RegExp(`state it: requorum restore ${lab.name} --off cp-03$`, 'm'))
})

test('a statement that reality contradicts is not believed: its etcd answers where SSH does not', async () => {
  const { lab } = up()
  const { code, message } = await refused({ off: ['cp-03'] })
  assert.equal(code, 'not-fenced')
  const address = lab.hosts.hosts.find(({ name }) => name === 'cp-03')?.address ?? ''
  assert.ok(message.includes(`cp-01 reaches etcd for its peers of cp-03 at ${address}:2380`), message)
  assert.ok(message.includes(`cp-02 reaches etcd for its clients of cp-03 at ${address}:2379`), message)
  await onSsh('cp-03', 'on')

  const reached = await refused({ off: ['cp-03'] })
  assert.equal(reached.code, 'not-fenced')
  assert.match(reached.message, /cp-03 of \w+ was stated to be off, and SSH reaches it/)
  const strange = await refused({ off: ['cp-09'] })
  assert.equal(strange.code, 'input-invalid')
})

test('one that was off when it was stated, and is on when it is consented to, is not gone on without', async () => {
  const own = up()
  const { lab, operator } = own
  await power('cp-03', 'off')
  await operator.startRestore({ off: ['cp-03'] })
  const waiting = await operator.untilCheckpoint('destroy')
  assert.ok(waiting, 'it ended before it asked')
  await power('cp-03', 'on')
  await operator.decide(waiting, 'approve')
  const failure = failureOf(await operator.result())
  assert.equal(failure.code, 'not-fenced', failure.message)
  // etcd on them goes on failing and writing; what a restore would do there was not begun.
  for (const host of ['cp-01', 'cp-02']) {
    assert.deepEqual(await matches(lab, host, `/var/lib/etcd.corrupt.* ${MANIFEST}`), [MANIFEST])
  }
  assert.equal(await schedulePaused(own), false)
  for (const { name } of lab.hosts.hosts)
    assert.deepEqual(await matches(lab, name, '/var/lib/requorum/lock'), [])
})

test('with one node off, and that stated, two come back, and the verdict does not keep silent about the third', async (t) => {
  const { lab } = up()
  await power('cp-03', 'off')
  const verdict = await restored({ off: ['cp-03'] }, (shows) => {
    assert.match(shows, /Whoever approves states that it is switched off or cut off/)
    assert.match(shows, /\| cp-03 \| stated to be off \| nothing is done there \| stays \|/)
    assert.match(shows, /The restored cluster has 2 members, and none of them may fail/)
  })
  t.diagnostic(verdict.steps.map(({ title, seconds }) => `${title} ${seconds} s`).join('; '))
  assert.deepEqual(await members('cp-01'), ['cp-01', 'cp-02'])
  assert.deepEqual(
    verdict.setAside.map(({ node }) => node),
    ['cp-01', 'cp-02'],
  )
  const journal = await fileText(lab, 'cp-01', `/var/lib/requorum/recoveries/${verdict.recovery}/journal.md`)
  assert.match(journal, /## Nodes that it goes on without[\s\S]*- cp-03, [\d.]+, https:/)
  assert.deepEqual(
    differences(contents, await readAll({ ...lab.hosts, hosts: lab.hosts.hosts.slice(0, 2) })).slice(0, 5),
    [],
  )
  assert.equal((await fenceRun()).status.name, 'RUNNING')
})

test('when it is switched on again its old etcd is kept from starting, over a reboot too, and its data stays', async (t) => {
  const { lab } = up()
  const began = performance.now()
  await power('cp-03', 'on')
  const before = await stat('cp-03', MANIFEST).catch(() => null)
  const verdict = await fenceEnd()
  t.diagnostic(`fenced ${((performance.now() - began) / 1_000).toFixed(1)} s after it was switched on`)
  assert.equal(verdict.outcome, 'fenced')
  assert.deepEqual(verdict.nodes, [{ node: 'cp-03', state: 'fenced' }])
  await assertFenced('cp-03')
  if (before !== null) {
    assert.equal(await stat('cp-03', `${FENCED}/manifests/etcd.yaml`), before, 'owner, mode and bytes')
  }
  const journal = await fileText(lab, 'cp-03', `${FENCED}/journal.md`)
  assert.ok(journal.includes(`mv ${FENCED}/manifests/*.yaml /etc/kubernetes/manifests/`), journal)
  assert.ok(journal.includes(`requorum replace ${lab.name} cp-03`), journal)

  const data = await controlPlaneFiles(lab, 'cp-03')
  await findFault('reboot-host').inject(lab.hosts, 'cp-03')
  await untilKubelet('cp-03')
  await assertFenced('cp-03')
  assert.equal(await controlPlaneFiles(lab, 'cp-03'), data)
  assert.match(data, /var\/lib\/etcd\/member\/snap\/db/)
  assert.match(data, /var\/lib\/etcd\/member\/wal\/\S+\.wal/)
  assert.deepEqual(await members('cp-01'), ['cp-01', 'cp-02'])
})

test('a node that is fenced and on is no part of the next restore, which says so; one node of three is enough', async () => {
  const { lab } = up()
  await power('cp-02', 'off')
  const { code, message } = await refused({ off: ['cp-02'] })
  assert.equal(code, 'nodes-missing')
  assert.match(message, /An earlier restore of \w+ went on without cp-03/)
  assert.ok(message.includes(`requorum restore ${lab.name} --off cp-02 --off cp-03`), message)

  const verdict = await restored({ off: ['cp-03', 'cp-02'] }, (shows) => {
    assert.match(shows, /The restored cluster has one member, and none of them may fail/)
  })
  assert.deepEqual(await members('cp-01'), ['cp-01'])
  assert.deepEqual(
    verdict.setAside.map(({ node }) => node),
    ['cp-01'],
  )
  // It is a cluster of its own and knows it: no stray first node that was wiped.
  const backup = await up().operator.backup()
  assert.ok('verdict' in backup && backup.verdict.source === 'cp-01', JSON.stringify(backup))
})

test('as long as one is away, another that is started by hand is stopped again; then the fence ends', async () => {
  const { lab } = up()
  assert.equal((await fenceRun()).status.name, 'RUNNING')
  await atConsole(lab.hosts, 'cp-03', `mv ${FENCED}/manifests/etcd.yaml ${MANIFEST}`)
  await until('it is stopped again', async () => (await matches(lab, 'cp-03', MANIFEST)).length === 0)
  await until('it has ended', async () => !(await runsEtcd('cp-03')))

  await power('cp-02', 'on')
  const verdict = await fenceEnd()
  assert.deepEqual(verdict.nodes, [
    { node: 'cp-02', state: 'fenced' },
    { node: 'cp-03', state: 'fenced' },
  ])
  await assertFenced('cp-02')
  await assertFenced('cp-03')
  assert.deepEqual(await members('cp-01'), ['cp-01'])
})

test('started by hand it finds out by itself who is no member, and ends when there is nothing left to do', async () => {
  const { lab, operator } = up()
  await atConsole(lab.hosts, 'cp-02', `mv ${FENCED}/manifests/etcd.yaml ${MANIFEST}`)
  await until('it runs', () => runsEtcd('cp-02'))
  const handle = await operator.client.workflow.start<(request: object) => Promise<FenceVerdict>>('fence', {
    taskQueue: TASK_QUEUE,
    workflowId: fenceWorkflowId(lab.name),
    args: [{ cluster: lab.name }],
  })
  const verdict = await handle.result()
  assert.deepEqual(
    verdict.nodes.map(({ node }) => node),
    ['cp-02', 'cp-03'],
  )
  await assertFenced('cp-02')
  assert.deepEqual(await members('cp-01'), ['cp-01'])
  for (const { name } of lab.hosts.hosts)
    assert.deepEqual(await matches(lab, name, '/var/lib/requorum/lock'), [])
})

test('a fenced node becomes a member again by a replacement, one after the other, until the cluster is whole', async (t) => {
  const { lab, operator } = up()
  for (const [node, grown] of [
    ['cp-02', ['cp-01', 'cp-02']],
    ['cp-03', ['cp-01', 'cp-02', 'cp-03']],
  ] as const) {
    const ended = await operator.replaceAndApprove({ node })
    assert.ok('verdict' in ended, JSON.stringify(ended))
    assert.equal(ended.verdict.outcome, 'replaced')
    assert.deepEqual(
      ended.verdict.checks.filter((check) => check.verdict === 'fail'),
      [],
    )
    t.diagnostic(ended.verdict.steps.map(({ title, seconds }) => `${title} ${seconds} s`).join('; '))
    assert.deepEqual(await members('cp-01'), grown)
    assert.deepEqual(await matches(lab, node, `${MANIFEST} ${FENCED}/manifests/*`), [MANIFEST])
    assert.deepEqual(
      ended.verdict.setAside.map((aside) => aside.node),
      [node],
      'what it held from the cluster before is kept',
    )
  }
  assert.deepEqual(differences(contents, await readAll(lab.hosts)).slice(0, 5), [])
})

/** Neither can be read to its end: nobody gets them back from one another, and no third one from them. */
async function damage(...hosts: readonly string[]): Promise<void> {
  const { lab } = up()
  await everyHost(lab, (host) => atConsole(lab.hosts, host, 'pkill -STOP -x etcd'))
  await Promise.all(hosts.map((host) => atConsole(lab.hosts, host, `${CORRUPT_DATABASE}; ${KILL_ETCD}`)))
  await everyHost(lab, (host) => atConsole(lab.hosts, host, 'pkill -CONT -x etcd || true'))
}

/** Its connections end too: a worker holds one open for a while. */
async function onSsh(host: string, state: 'on' | 'off'): Promise<void> {
  const script = state === 'on' ? 'systemctl start ssh' : 'systemctl stop ssh; pkill -KILL -x sshd || true'
  await atConsole(up().lab.hosts, host, script)
}

async function power(host: string, state: 'on' | 'off'): Promise<void> {
  const fault = findFault('kill-host')
  await (state === 'off' ? fault.inject(up().lab.hosts, host) : fault.mend?.(up().lab.hosts, host))
}

async function refused(request: { off?: string[] } = {}): Promise<{ code: string; message: string }> {
  const { operator } = up()
  await operator.startRestore(request)
  return failureOf(await operator.result())
}

async function restored(request: { off: string[] }, read: (shows: string) => void): Promise<RestoreVerdict> {
  const own = up()
  await own.operator.startRestore(request)
  const waiting = await own.operator.untilCheckpoint('destroy')
  assert.ok(waiting, 'it ended before it asked')
  read(waiting.shows)
  const verdict = await approveToTheEnd(own)
  assert.equal(verdict.outcome, 'restored')
  const all = verdict.checks.find(({ name }) => name === 'every node has a member')
  assert.equal(all?.verdict, 'warn')
  for (const node of request.off) assert.ok(all?.evidence.includes(node), all?.evidence)
  assert.deepEqual(
    verdict.checks.filter((one) => one.verdict === 'fail'),
    [],
  )
  assert.match(verdict.freshBackup ?? '', /^daily\//)
  assert.equal(await schedulePaused(own), false)
  await etcdctl(own.lab, 'cp-01', 'put', '/requorum-test/after', verdict.recovery)
  assert.match(await etcdctl(own.lab, 'cp-01', 'get', '/requorum-test/after'), new RegExp(verdict.recovery))
  await etcdctl(own.lab, 'cp-01', 'del', '/requorum-test/after')
  return verdict
}

async function members(host: string): Promise<string[]> {
  const list = await etcdctl(up().lab, host, 'member', 'list')
  return list
    .trim()
    .split('\n')
    .map((line) => line.split(', ')[2] ?? '')
    .sort()
}

function fence() {
  const { lab, operator } = up()
  return operator.client.workflow.getHandle<() => Promise<FenceVerdict>>(fenceWorkflowId(lab.name))
}

function fenceRun() {
  return fence().describe()
}

/** It may go on as another run meanwhile; the result is that of the last. */
async function fenceEnd(): Promise<FenceVerdict> {
  return fence().result()
}

async function runsEtcd(host: string): Promise<boolean> {
  const { stdout } = await atConsole(up().lab.hosts, host, 'pgrep -x etcd || true')
  return stdout.trim() !== ''
}

async function assertFenced(host: string): Promise<void> {
  const { lab } = up()
  assert.equal(await runsEtcd(host), false, `no etcd runs on ${host}`)
  assert.deepEqual(await matches(lab, host, MANIFEST), [])
  assert.deepEqual(await matches(lab, host, `${FENCED}/manifests/etcd.yaml ${FENCED}/journal.md`), [
    `${FENCED}/manifests/etcd.yaml`,
    `${FENCED}/journal.md`,
  ])
}

async function stat(host: string, path: string): Promise<string> {
  const script = `stat -c '%u:%g %a %s %Y' "$1"; sha256sum <"$1"`
  return (await atConsole(up().lab.hosts, host, script, [path])).stdout
}

/** It has read its directory since the host came up. */
async function untilKubelet(host: string): Promise<void> {
  const { lab } = up()
  await until('the kubelet is up', async () => {
    const { stdout } = await atConsole(lab.hosts, host, 'systemctl is-active kubelet || true')
    return stdout.trim() === 'active'
  })
  // Far longer than it takes to start a pod that it has a manifest of; only a pod that does start can fail this.
  await sleep(10_000)
}

async function until(what: string, look: () => Promise<boolean>, limitMs = 180_000): Promise<void> {
  const deadline = Date.now() + limitMs
  while (!(await look())) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await sleep(500)
  }
}
