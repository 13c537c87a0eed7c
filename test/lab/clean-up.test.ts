/** What recoveries set aside, on real nodes: what is removed is what was seen, and everything that may be needed stays. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CleanUpVerdict } from '../../domain/clean-up-text.ts'
import { recoveryWorkflowId, TASK_QUEUE } from '../../domain/messages.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { waitForAll } from '../../lab/hosts/form-cluster.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import { requorum } from './command.ts'
import { differences, failureOf, matches, readAllWhenUp, verdictOf } from './recoveries.ts'
import { everyHost, useLab } from './use-lab.ts'

const up = useLab({ keys: 500 })
const ALL = '/var/lib/etcd.* /var/lib/requorum/recoveries/*'
let recovery: string
let time: string

test('right after a restore nothing may go, and each thing says why', async () => {
  const { lab, operator } = up()
  const backedUp = await operator.backup()
  assert.ok('verdict' in backedUp && backedUp.verdict.outcome === 'proved', JSON.stringify(backedUp))
  await destroyQuorum(lab.hosts)
  recovery = verdictOf(await operator.restoreAndApprove()).recovery
  time = recovery.split('-')[0] ?? ''

  const said = await requorum(lab, 'cleanup', lab.name, '--watch')
  assert.equal(said.code, 0, said.error)
  assert.match(said.out, /NOTHING: nothing on the nodes of \S+ may be removed yet/)
  assert.match(
    said.out,
    new RegExp(
      `cp-01:/var/lib/etcd\\.corrupt\\.${time}, .*: its recovery was done .* ago, and 7 d are asked for`,
    ),
  )
  assert.equal((await matches(lab, 'cp-01', ALL)).length, 2)
  assert.equal((await requorum(lab, 'cleanup', lab.name, '--older-than', 'soon')).code, 2)
})

test('with a member down, or a lock on a node, nothing is removed', async () => {
  const { lab, operator } = up()
  await atConsole(lab.hosts, 'cp-03', "systemctl stop kubelet; systemctl stop 'static-pod-etcd-*'")
  await start()
  const unwell = failureOf(await operator.result())
  assert.equal(unwell.code, 'cluster-unhealthy', unwell.message)
  assert.match(unwell.message, /cp-03/)
  await atConsole(lab.hosts, 'cp-03', 'systemctl start kubelet')
  await readAllWhenUp(lab)
  await waitForAll(lab.hosts)

  const lock = '/var/lib/requorum/lock'
  await atConsole(lab.hosts, 'cp-02', 'printf "recovery/other/1\\n2026-11-22T02:14:00Z\\n" >"$1"', [lock])
  await start()
  assert.equal(failureOf(await operator.result()).code, 'recovery-running')
  await atConsole(lab.hosts, 'cp-02', 'rm "$1"', [lock])
  assert.equal((await matches(lab, 'cp-01', '/var/lib/etcd.corrupt.*')).length, 1)
})

test('links, mounts and the live data stay under any name; what changed after it was seen is asked for anew', async () => {
  const { lab, operator } = up()
  await atConsole(
    lab.hosts,
    'cp-01',
    `ln -s /var/lib/etcd "/var/lib/etcd.undone.$1"
     mkdir "/var/lib/etcd.restore.$1" && mount --bind /var/lib/etcd "/var/lib/etcd.restore.$1"
     mkdir /var/lib/etcd.corrupt.20200101T000000Z /var/lib/etcd.old`,
    [time],
  )
  const content = await readAll(lab.hosts)
  await start()
  const first = await operator.untilCheckpoint('cleanup')
  assert.ok(first)
  assert.match(first.shows, new RegExp(`cp-02 \\| \`/var/lib/etcd\\.corrupt\\.${time}\``))
  assert.match(first.shows, /etcd\.undone\S+`, .*: it is a symbolic link/)
  assert.match(first.shows, /etcd\.restore\S+`, .*: it is (the live data|a mount)/)
  assert.match(first.shows, /etcd\.corrupt\.20200101T000000Z`, .*: no node knows the recovery/)
  assert.doesNotMatch(first.shows, /etcd\.old/)
  await operator.signal({ checkpoint: 'cleanup', decision: 'approve', plan: '0badc0de', by: 'ana' })
  await atConsole(lab.hosts, 'cp-02', 'touch "/var/lib/etcd.corrupt.$1/somebody-needs-this"', [time])
  await operator.decide(first, 'approve')
  const second = await untilAnother(first.digest)
  assert.equal((await matches(lab, 'cp-01', `/var/lib/etcd.corrupt.${time}`)).length, 1)

  await operator.decide(second, 'approve')
  const verdict = await lastVerdict()
  assert.equal(verdict.outcome, 'cleaned')
  assert.ok(verdict.freedBytes > 0)
  assert.deepEqual(verdict.removed.map(({ node, path }) => `${node} ${path}`).sort(), [
    ...['cp-01', 'cp-02', 'cp-03'].map((node) => `${node} /var/lib/etcd.corrupt.${time}`),
  ])
  for (const { name } of lab.hosts.hosts)
    assert.deepEqual(await matches(lab, name, `/var/lib/etcd.corrupt.${time}*`), [])
  assert.equal(
    (await matches(lab, 'cp-01', `/var/lib/requorum/recoveries/${recovery}/manifests/etcd.yaml`)).length,
    1,
  )
  assert.deepEqual(differences(content, await readAll(lab.hosts)), [])
})

test('with the data gone the manifests of that recovery go too, and nothing else', async () => {
  const { lab, operator } = up()
  await atConsole(
    lab.hosts,
    'cp-01',
    `umount "/var/lib/etcd.restore.$1" && rmdir "/var/lib/etcd.restore.$1" && rm "/var/lib/etcd.undone.$1"`,
    [time],
  )
  const live = await everyHost(lab, (host) => matches(lab, host, '/etc/kubernetes/manifests/* /var/lib/etcd'))
  await start()
  const waiting = await operator.untilCheckpoint('cleanup')
  assert.ok(waiting)
  await operator.decide(waiting, 'approve')
  const verdict = await lastVerdict()
  assert.equal(verdict.outcome, 'cleaned')
  const here = `/var/lib/requorum/recoveries/${recovery}`
  for (const { name } of lab.hosts.hosts) assert.deepEqual(await matches(lab, name, here), [])
  assert.deepEqual(
    verdict.removed.filter(({ path }) => path === here).map(({ node }) => node),
    ['cp-01', 'cp-02', 'cp-03'],
  )
  assert.deepEqual(
    await everyHost(lab, (host) => matches(lab, host, '/etc/kubernetes/manifests/* /var/lib/etcd')),
    live,
  )
  assert.equal(
    (await matches(lab, 'cp-01', '/var/lib/etcd.old /var/lib/etcd.corrupt.20200101T000000Z')).length,
    2,
  )
  for (const { name } of lab.hosts.hosts)
    assert.deepEqual(await matches(lab, name, '/var/lib/requorum/lock'), [])
})

async function start(): Promise<void> {
  const { lab, operator } = up()
  await operator.client.workflow.start('cleanUp', {
    taskQueue: TASK_QUEUE,
    workflowId: recoveryWorkflowId(lab.name),
    args: [{ cluster: lab.name, olderThan: '0s' }],
  })
}

function lastVerdict(): Promise<CleanUpVerdict> {
  const { lab, operator } = up()
  const workflowId = recoveryWorkflowId(lab.name)
  return operator.client.workflow.getHandle<() => Promise<CleanUpVerdict>>(workflowId).result()
}

/** The checkpoint with another plan than that. */
async function untilAnother(digest: string) {
  const { operator } = up()
  for (;;) {
    const waiting = await operator.untilCheckpoint('cleanup')
    assert.ok(waiting, 'it ended before it asked again')
    if (waiting.digest !== digest) return waiting
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
