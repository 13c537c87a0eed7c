/** What goes wrong around a replacement, one real fault a test, each with its one right end. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { peerUrl } from '../../lab/hosts/etcd-manifest.ts'
import { findHost } from '../../lab/hosts/lab-hosts.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import type { WaitingCheckpoint } from '../../domain/progress.ts'
import { clusterIds, holdEtcdctl, inject, members, memberList, mend, until } from './members.ts'
import { differences, failureOf, untilStep } from './recoveries.ts'
import { replaced, replacementsOn, threeVotersAfterEach } from './replacements.ts'
import { editClusterFile, useLab } from './use-lab.ts'

// As kubeadm forms it: a first node that begins anew has the IDs of the cluster that it was the first of.
const own = useLab({ joinOneByOne: true, keys: 500 })

const { consented, end } = replacementsOn(own)
threeVotersAfterEach(own)

async function atRetry(): Promise<WaitingCheckpoint> {
  const waiting = await own().operator.untilCheckpoint('retry', 480_000)
  if (waiting === undefined) throw new Error(`It ended and did not wait: ${JSON.stringify(await end())}`)
  return waiting
}

/** Keys and values; what a run writes to prove that writes go through is not among them. */
async function keyspace() {
  return readAll(own().lab.hosts)
}

test('the first node wiped, with the manifest that kubeadm gave it, peers down: refused, and nothing is touched', async () => {
  const { lab, operator } = own()
  const manifest = await atConsole(lab.hosts, 'cp-01', 'cat /etc/kubernetes/manifests/etcd.yaml')
  assert.doesNotMatch(manifest.stdout, /initial-cluster-state/, 'as kubeadm wrote it for the first node')
  const kept = 'cp -a /var/lib/etcd /var/lib/lab-kept-etcd'
  await atConsole(lab.hosts, 'cp-01', `systemctl stop kubelet; systemctl stop 'static-pod-etcd-*'; ${kept}`)
  for (const host of ['cp-02', 'cp-03']) await inject(lab, 'stop-etcd', host)
  await atConsole(lab.hosts, 'cp-01', 'find /var/lib/etcd -mindepth 1 -delete; systemctl start kubelet')
  await until('a cluster of its own', async () => (await members(lab, ['cp-01'])).join() === 'cp-01 voter')

  for (const node of ['cp-01', 'cp-02']) {
    await operator.startReplacement({ node })
    const { code, message } = failureOf(await end())
    assert.equal(code, 'quorum-missing', message)
  }
  assert.equal((await memberList(lab, ['cp-01'])).length, 1)

  await atConsole(
    lab.hosts,
    'cp-01',
    `systemctl stop kubelet; systemctl stop 'static-pod-etcd-*'
     rm -rf /var/lib/etcd && mv /var/lib/lab-kept-etcd /var/lib/etcd && systemctl start kubelet`,
  )
  for (const host of ['cp-02', 'cp-03']) await mend(lab, 'stop-etcd', host)
})

test('the first node wiped, with the manifest that kubeadm gave it, peers up: replaced, and there is one cluster', async (t) => {
  const { lab } = own()
  const before = await keyspace()
  const [cluster] = await clusterIds(lab)
  await inject(lab, 'wipe-data', 'cp-01')
  const verdict = replaced(await (await consented('cp-01'))(), t)
  assert.equal(verdict.node, 'cp-01')
  assert.deepEqual([...(await clusterIds(lab))], [cluster])
  assert.deepEqual(differences(before, await keyspace()), [])
  const { stdout } = await atConsole(lab.hosts, 'cp-01', 'cat /etc/kubernetes/manifests/etcd.yaml')
  assert.match(stdout, /--initial-cluster=cp-01=.*,cp-02=.*,cp-03=.*\n.*--initial-cluster-state=existing/)
})

test('a second member dies between the removal and the promotion: it waits, says that the quorum is gone, and goes on', async (t) => {
  const { lab, operator } = own()
  const before = await keyspace()
  await inject(lab, 'corrupt-database', 'cp-02')
  const letGo = await holdEtcdctl(lab, ['cp-01', 'cp-03'], 'member add')
  const result = await consented('cp-02')
  await untilStep(own(), 'Add it as a learner')
  assert.deepEqual(await members(lab), ['cp-01 voter', 'cp-03 voter'])
  await inject(lab, 'stop-etcd', 'cp-03')
  await letGo()

  const waiting = await atRetry()
  assert.match(waiting.shows, /The others do not hold the quorum now/)
  assert.match(waiting.shows, /cp-03: no etcd process runs/)
  await mend(lab, 'stop-etcd', 'cp-03')
  await until('the quorum', async () => (await members(lab)).length === 2)
  await operator.decide(waiting, 'approve')
  const verdict = replaced(await result(), t)
  assert.deepEqual(
    verdict.approvals.map(({ checkpoint }) => checkpoint),
    ['replace: approved', 'retry: approved'],
  )
  assert.deepEqual(differences(before, await keyspace()), [])
})

test('a learner that never catches up: the step ends within its limit, waits, and goes on when that is mended', async (t) => {
  const { lab, operator } = own()
  const putBack = await editClusterFile(lab, (file) => (file['limits'] = { start: '20s' }))
  await inject(lab, 'cut-peers', 'cp-03')
  const began = Date.now()
  const result = await consented('cp-03')
  const { step } = await untilStep(own(), 'Wait until it has caught up, and promote it')
  const waiting = await atRetry()
  const seconds = (Date.now() - Date.parse(step.startedAt)) / 1_000
  t.diagnostic(
    `waited ${seconds.toFixed(0)} s for the learner, ${((Date.now() - began) / 1_000).toFixed(0)} s in all`,
  )
  assert.match(waiting.shows, /was not promoted within 20 s/)
  assert.match(
    waiting.shows,
    /The others hold the quorum without it \(cp-01, cp-02 took a linearizable read\)/,
  )
  assert.deepEqual(await members(lab, ['cp-01']), ['cp-01 voter', 'cp-02 voter', ' learner'].sort())
  await putBack() // a longer limit is what somebody may mend, too
  await mend(lab, 'cut-peers', 'cp-03')
  await operator.decide(waiting, 'approve')
  replaced(await result(), t)
})

test('the node is rebooted between the removal and the start: what was kept survives, and it goes on', async (t) => {
  const { lab } = own()
  const letGo = await holdEtcdctl(lab, ['cp-01', 'cp-03'], 'member add')
  const result = await consented('cp-02')
  await untilStep(own(), 'Add it as a learner')
  await inject(lab, 'reboot-host', 'cp-02')
  await until('its kubelet', async () => {
    const { stdout } = await atConsole(lab.hosts, 'cp-02', 'systemctl is-active kubelet || true')
    return stdout.trim() === 'active'
  })
  const { stdout } = await atConsole(lab.hosts, 'cp-02', 'pgrep -x etcd || true')
  assert.equal(stdout, '', 'the old member does not come back with the host')
  await letGo()
  replaced(await result(), t)
})

test('the removed member comes back with its old data and manifest: etcd refuses it, the cluster is unharmed, and it is replaced again', async (t) => {
  const { lab } = own()
  const host = 'cp-02'
  const manifest = '/etc/kubernetes/manifests/etcd.yaml'
  await atConsole(lab.hosts, host, `cp -p ${manifest} /root/old-etcd.yaml`)
  const { setAside } = replaced(await (await consented(host))(), t)
  const old = setAside[0]?.path ?? ''
  const [before, ids] = [await keyspace(), (await memberList(lab)).map(([id]) => id).sort()]

  await atConsole(
    lab.hosts,
    host,
    `systemctl stop kubelet; systemctl stop 'static-pod-etcd-*'
     mv -T /var/lib/etcd /var/lib/etcd.new && mv -T "$1" /var/lib/etcd
     cat /root/old-etcd.yaml >${manifest}
     systemctl start kubelet`,
    [old],
  )
  const log = `cat /var/log/pods/kube-system_etcd-*/etcd/*.log`
  await until('etcd’s refusal', async () => {
    const { stdout } = await atConsole(lab.hosts, host, log)
    return /permanently removed|has been removed|removed from the cluster/i.test(stdout)
  })
  assert.deepEqual((await memberList(lab, ['cp-01'])).map(([id]) => id).sort(), ids)
  assert.deepEqual(differences(before, await keyspace()), [])

  // Found without being named: its own last words say it.
  const verdict = replaced(await (await consented())(), t)
  assert.equal(verdict.node, host)
  assert.deepEqual(differences(before, await keyspace()), [])
})

test('a member that flaps: without a name it is left alone after repeated looks, named it is replaced', async (t) => {
  const { lab, operator } = own()
  const host = 'cp-03'
  await inject(lab, 'flap-etcd', host)
  try {
    await operator.startReplacement()
    const { code, message } = failureOf(await end())
    assert.equal(code, 'nothing-to-replace', message)
    assert.match(message, /etcd on .*cp-03 is not steady, and nothing proves that its data is lost/)
    const looks = (await operator.progress()).steps.filter(({ title }) => /^Look /.test(title))
    assert.ok(looks.length > 2, String(looks.length))
    t.diagnostic(`${looks.length} looks`)

    const result = await consented(host)
    // The disk or the memory that made it flap is changed while its etcd is stopped.
    await untilStep(own(), 'Set its data aside')
    await atConsole(lab.hosts, host, 'systemctl stop lab-flap-etcd; rm -f /run/kubelet-pace')
    const verdict = replaced(await result(), t)
    assert.equal(verdict.node, host)
  } finally {
    await atConsole(
      lab.hosts,
      host,
      'systemctl stop lab-flap-etcd 2>/dev/null || true; rm -f /run/kubelet-pace',
    )
  }
})

/** Which of the lab's hosts has which peer URL: what a second cluster would be told by. */
test('at the end the members are those of the cluster file, one for each node', async () => {
  const { lab } = own()
  const listed = (await memberList(lab)).map((words) => `${words[2] ?? ''} ${words[3] ?? ''}`).sort()
  assert.deepEqual(
    listed,
    lab.hosts.hosts.map(({ name }) => `${name} ${peerUrl(findHost(lab.hosts, name))}`).sort(),
  )
})
