/** Nodes on which a member joins that did not stand there before: fenced, made anew, under another name or address. */
import assert from 'node:assert/strict'
import { afterEach, test, type TestContext } from 'node:test'
import { readEtcdFlags, withFullMemberList } from '../../domain/etcd-manifest.ts'
import { FENCED_MANIFESTS } from '../../domain/node-paths.ts'
import type { ReplaceVerdict } from '../../domain/verdict.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { peerUrl } from '../../lab/hosts/etcd-manifest.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import { findHost } from '../../lab/hosts/lab-hosts.ts'
import { endOf } from '../../lab/operator.ts'
import { requorum } from './command.ts'
import { ALL_VOTE, clusterIds, members, memberList, typedEtcdctl, until } from './members.ts'
import { differences, failureOf, fileText, matches, makeSchedule, schedulePaused } from './recoveries.ts'
import { editClusterFile, useLab } from './use-lab.ts'

const own = useLab({ keys: 500 })
const MANIFEST = '/etc/kubernetes/manifests/etcd.yaml'
const STOP = "systemctl stop kubelet; systemctl stop 'static-pod-etcd-*'"

async function replaced(
  t: TestContext,
  request: { node?: string; insteadOf?: string } = {},
  shows: RegExp = /Replaces the etcd member/,
): Promise<ReplaceVerdict> {
  const { operator } = own()
  const handle = await operator.startReplacement(request)
  const waiting = await operator.untilCheckpoint('replace')
  if (waiting === undefined)
    throw new Error(`It ended before it asked: ${JSON.stringify(await endOf(handle))}`)
  assert.match(waiting.shows, shows)
  await operator.decide(waiting, 'approve')
  const ended = await endOf<ReplaceVerdict>(handle)
  assert.ok('verdict' in ended, JSON.stringify(ended))
  const { verdict } = ended
  t.diagnostic(verdict.steps.map(({ title, seconds }) => `${title} ${seconds} s`).join('; '))
  assert.equal(verdict.outcome, 'replaced')
  assert.deepEqual(
    verdict.checks.filter((one) => one.verdict === 'fail'),
    [],
  )
  return verdict
}

/** Nodes as a list of objects in the cluster file, one of them changed. */
function changeNode(name: string, change: Record<string, string>): Promise<() => Promise<void>> {
  return editClusterFile(own().lab, (file) => {
    const nodes = file['nodes']
    if (!Array.isArray(nodes)) throw new Error('the cluster file has no nodes')
    const found: unknown = nodes.find((node: unknown) => JSON.stringify(node).includes(`"${name}"`))
    Object.assign(found ?? {}, change)
  })
}

afterEach(async () => {
  assert.equal((await members(own().lab)).length, 3)
  assert.equal((await clusterIds(own().lab)).size, 1)
})

test('a fenced node is found by itself, its member joins from the manifests that were kept, and none is left there', async (t) => {
  const { lab } = own()
  const host = 'cp-03'
  const before = await readAll(lab.hosts)
  const text = await fileText(lab, host, MANIFEST)
  await atConsole(
    lab.hosts,
    host,
    `mkdir -p ${FENCED_MANIFESTS} && mv ${MANIFEST} ${FENCED_MANIFESTS}/ && systemctl stop 'static-pod-etcd-*'`,
  )
  const { node } = await replaced(t, {}, /Its manifest was kept from starting in/)
  assert.equal(node, host)
  assert.deepEqual(await matches(lab, host, `${FENCED_MANIFESTS}/*`), [])
  const { initialCluster } = readEtcdFlags(await fileText(lab, host, MANIFEST))
  assert.equal(await fileText(lab, host, MANIFEST), withFullMemberList(text, initialCluster))
  assert.deepEqual(await members(lab), ALL_VOTE)
  assert.deepEqual(differences(before, await readAll(lab.hosts)), [])
})

test('a node made anew under its name: refused without its certificates, then it gets a manifest of its own', async (t) => {
  const { lab, operator } = own()
  const host = 'cp-02'
  const text = await fileText(lab, host, MANIFEST)
  const pki = '/etc/kubernetes/pki/etcd'
  await atConsole(
    lab.hosts,
    host,
    `${STOP}; rm -rf /var/lib/etcd ${MANIFEST}; mv ${pki} /root/pki-kept; systemctl start kubelet`,
  )
  const refused = failureOf(await endOf(await operator.startReplacement({ node: host })))
  assert.equal(refused.code, 'step-refused')
  assert.match(refused.message, /peer\.crt is not there/)
  assert.match(refused.message, /kubeadm init phase certs etcd-\$of --config/)

  // Another node's, copied by somebody in a hurry: no peer would take them.
  await atConsole(lab.hosts, host, `cp -a /root/pki-kept ${pki}`)
  const other = await fileText(lab, 'cp-01', `${pki}/peer.crt`)
  await atConsole(lab.hosts, host, `cat >${pki}/peer.crt`, [], { input: other })
  const wrong = failureOf(await endOf(await operator.startReplacement({ node: host })))
  assert.match(wrong.message, /peer\.crt is not good for /)
  assert.equal((await members(lab)).length, 3, 'nothing was removed')

  await atConsole(lab.hosts, host, `rm -rf ${pki} && mv /root/pki-kept ${pki}`)
  await replaced(t, { node: host }, /cp-02 has no etcd manifest: it gets that of cp-01/)
  const { initialCluster } = readEtcdFlags(await fileText(lab, host, MANIFEST))
  assert.equal(await fileText(lab, host, MANIFEST), withFullMemberList(text, initialCluster))
  const { stdout } = await atConsole(lab.hosts, host, `stat -c '%a %U' ${MANIFEST} /var/lib/etcd`)
  assert.equal(stdout, '600 root\n700 root\n')
  assert.deepEqual(await members(lab), ALL_VOTE)
})

test('while it waits nobody is locked out and backups go on; a backup of that time changes nothing', async () => {
  const { lab, operator } = own()
  await makeSchedule(own())
  const handle = await operator.startReplacement({ node: 'cp-03' })
  const waiting = await operator.untilCheckpoint('replace')
  assert.ok(waiting)
  assert.equal(await schedulePaused(own()), false)
  assert.deepEqual(await matches(lab, 'cp-01', '/var/lib/requorum/lock'), [])
  const backup = await operator.backup()
  assert.ok('verdict' in backup && backup.verdict.outcome === 'proved', JSON.stringify(backup))
  await operator.decide(waiting, 'refuse')
  const ended = await endOf<ReplaceVerdict>(handle)
  assert.ok('verdict' in ended && ended.verdict.outcome === 'refused')
})

test('under another address: the old member goes by name, the new one joins at its new peer URL, and back again', async (t) => {
  const { lab } = own()
  const host = 'cp-03'
  const { address } = findHost(lab.hosts, host)
  const moved = address.replace(/\.\d+$/, '.77')
  const pki = '/etc/kubernetes/pki/etcd'
  // A second address on the same cable, and certificates that are good for both.
  await atConsole(
    lab.hosts,
    host,
    `set -e
     ip address add ${moved}/24 dev eth0
     cd ${pki}
     for of in server peer; do
       printf 'subjectAltName=DNS:${host},DNS:localhost,IP:127.0.0.1,IP:${address},IP:${moved}\\nextendedKeyUsage=serverAuth,clientAuth\\n' >/tmp/ext
       openssl req -new -key $of.key -subj /CN=${host} -out /tmp/$of.csr
       openssl x509 -req -in /tmp/$of.csr -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" -days 30 -extfile /tmp/ext -out /tmp/$of.crt
       cat /tmp/$of.crt >$of.crt
     done`,
  )
  const before = await readAll(lab.hosts)
  const putBack = await changeNode(host, { peerUrl: `https://${moved}:2380` })
  const verdict = await replaced(
    t,
    { node: host, insteadOf: host },
    /Whoever approves says that cp-03 \(https:\/\/[\d.]+:2380\) is switched off/,
  )
  assert.notEqual(verdict.removed, null)
  const urls = async (): Promise<string[]> => (await memberList(lab)).map((words) => words[3] ?? '').sort()
  assert.ok((await urls()).includes(`https://${moved}:2380`))
  assert.ok(!(await urls()).includes(`https://${address}:2380`))
  assert.match(
    await fileText(lab, host, MANIFEST),
    new RegExp(`--advertise-client-urls=https://${moved}:2379`),
  )

  await putBack()
  await replaced(t, { node: host, insteadOf: `https://${moved}:2380` })
  assert.deepEqual(await urls(), lab.hosts.hosts.map(({ name }) => peerUrl(findHost(lab.hosts, name))).sort())
  assert.deepEqual(differences(before, await readAll(lab.hosts)), [])
  await atConsole(lab.hosts, host, `ip address del ${moved}/24 dev eth0`)
})

test('under another name, by the command: the member of the old name goes, and the new name is in every list', async (t) => {
  const { lab, operator } = own()
  const putBack = await changeNode('cp-02', { name: 'cp-22' })
  try {
    const { code, out, error } = await requorum(lab, 'replace', lab.name, 'cp-22', '--instead-of', 'cp-02')
    const waiting = await operator.untilCheckpoint('replace')
    assert.ok(waiting, out + error)
    t.diagnostic(`the command ended with ${code}`)
    assert.match(waiting.shows, /member cp-02 by cp-22/)
    await operator.decide(waiting, 'approve')
    const ended = await endOf<ReplaceVerdict>(operator.client.workflow.getHandle(`recovery/${lab.name}`))
    assert.ok('verdict' in ended && ended.verdict.outcome === 'replaced', JSON.stringify(ended))
    assert.deepEqual(await members(lab), ['cp-01 voter', 'cp-03 voter', 'cp-22 voter'])
    assert.equal(readEtcdFlags(await fileText(lab, 'cp-02', MANIFEST)).name, 'cp-22')
    await until('health', async () => {
      await typedEtcdctl(lab, 'cp-02', 'endpoint health')
      return true
    })
  } finally {
    await putBack()
  }
})
