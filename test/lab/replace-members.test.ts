/** A member list that somebody has worked on, and a node, a store or a network that is not there for a while. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { peerUrl } from '../../lab/hosts/etcd-manifest.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import { findHost } from '../../lab/hosts/lab-hosts.ts'
import { inject, memberList, members, mend, typedEtcdctl, until } from './members.ts'
import { differences, failureOf, untilStep } from './recoveries.ts'
import { replaced, replacementsOn, threeVotersAfterEach } from './replacements.ts'
import { editClusterFile, useLab } from './use-lab.ts'

const own = useLab({ keys: 500 })
const { consented, end } = replacementsOn(own)
threeVotersAfterEach(own)

/** An address of the lab's network where no host is. */
const NOBODY = 'https://10.64.255.9:2380'

const urlOf = (host: string): string => peerUrl(findHost(own().lab.hosts, host))
const typed = (words: string): Promise<string> => typedEtcdctl(own().lab, 'cp-01', words)

/** The ID of the member at this peer URL, as etcdctl types it. */
async function idAt(url: string): Promise<string> {
  const found = (await memberList(own().lab, ['cp-01'])).find((words) => words[3] === url)
  assert.ok(found?.[0] !== undefined, `no member at ${url}`)
  return found[0]
}

/** etcd refuses until all voters have been connected for five seconds. */
function addMember(name: string, how: '' | '--learner', url: string): Promise<void> {
  return until('the member to be added', async () => {
    await typed(`member add ${name} ${how} --peer-urls=${url}`)
    return true
  })
}

/** As after a replacement by hand that somebody gave up: the old member is gone, a new one was added and never started. */
async function addedByHand(host: string, how: '' | '--learner'): Promise<void> {
  const { lab } = own()
  await atConsole(lab.hosts, host, "systemctl stop kubelet; systemctl stop 'static-pod-etcd-*'")
  await typed(`member remove ${await idAt(urlOf(host))}`)
  await addMember(host, how, urlOf(host))
  await atConsole(lab.hosts, host, 'systemctl start kubelet')
}

for (const [what, how] of [
  ['a member that was added and never started, listed without a name,', ''],
  ['a learner that was left over by a replacement of yesterday', '--learner'],
] as const) {
  test(`${what} is replaced, and no key is lost`, async (t) => {
    const { lab } = own()
    const before = await readAll(lab.hosts)
    await addedByHand('cp-02', how)
    const listed = (await memberList(lab, ['cp-01'])).find((words) => words[3] === urlOf('cp-02'))
    assert.deepEqual(listed?.slice(1, 3), ['unstarted', ''])
    const verdict = replaced(await (await consented('cp-02'))(), t)
    assert.equal(verdict.node, 'cp-02')
    assert.equal(verdict.removed, listed?.[0])
    assert.deepEqual(differences(before, await readAll(lab.hosts)), [])
  })
}

test('an entry of which nobody knows, the double of a member’s name too, is named; nothing is touched until somebody removed it', async (t) => {
  const { lab, operator } = own()
  await addMember('cp-02', '--learner', NOBODY)
  await inject(lab, 'wipe-data', 'cp-02')
  const before = (await memberList(lab, ['cp-01'])).sort()
  await operator.startReplacement({ node: 'cp-02' })
  const { code, message } = failureOf(await end())
  assert.equal(code, 'config-invalid', message)
  assert.ok(message.includes(NOBODY), message)
  assert.deepEqual((await memberList(lab, ['cp-01'])).sort(), before)

  await typed(`member remove ${await idAt(NOBODY)}`)
  replaced(await (await consented('cp-02'))(), t)
})

test('a member whose peer URL was changed: the plan of its node is refused with the URL, by its URL it is replaced', async (t) => {
  const { lab, operator } = own()
  const before = await readAll(lab.hosts)
  await typed(`member update ${await idAt(urlOf('cp-03'))} --peer-urls=${NOBODY}`)
  await operator.startReplacement({ node: 'cp-03' })
  const { code, message } = failureOf(await end())
  assert.equal(code, 'config-invalid', message)
  assert.ok(message.includes(NOBODY), message)

  const verdict = replaced(await (await consented({ node: 'cp-03', insteadOf: NOBODY }))(), t)
  assert.equal(verdict.node, 'cp-03')
  assert.ok((await memberList(lab)).some((words) => words[3] === urlOf('cp-03')))
  assert.deepEqual(differences(before, await readAll(lab.hosts)), [])
})

test('a broken node that can’t be reached is named, and its member stays until it can', async () => {
  const { lab, operator } = own()
  await inject(lab, 'cut-network', 'cp-02')
  try {
    await operator.startReplacement({ node: 'cp-02' })
    const { code, message } = failureOf(await end())
    assert.equal(code, 'nodes-missing', message)
    assert.match(message, /cp-02 .*can't be reached\. Nothing was touched/)
    assert.equal((await members(lab, ['cp-01'])).length, 3)
  } finally {
    await mend(lab, 'cut-network', 'cp-02')
  }
})

test('a backup before that fails is in the plan: refused, nothing is touched; waived by the consent, it goes on', async (t) => {
  const { lab, operator } = own()
  await inject(lab, 'wipe-data', 'cp-03')
  const putBack = await editClusterFile(lab, (file) => {
    file['store'] = { ...Object(file['store']), bucket: 'nobody-made-this' }
  })
  try {
    await operator.startReplacement({ node: 'cp-03' })
    const waiting = await operator.untilCheckpoint('replace')
    assert.ok(waiting, 'it ended before it asked')
    assert.match(waiting.shows, /nobody-made-this/)
    const manifests = await manifestsOn('cp-01')
    await operator.decide(waiting, 'refuse')
    const ended = await end()
    assert.ok('verdict' in ended && ended.verdict.outcome === 'refused', JSON.stringify(ended))
    assert.equal((await members(lab, ['cp-01'])).length, 3)
    assert.equal(await manifestsOn('cp-01'), manifests)

    const verdict = replaced(await (await consented('cp-03'))(), t)
    assert.doesNotMatch(verdict.backup, /^daily\//)
    t.diagnostic(verdict.backup)
  } finally {
    await putBack()
  }
})

test('a promotion that etcd refuses for a while is asked for until the learner has caught up', async (t) => {
  const { lab } = own()
  await inject(lab, 'wipe-data', 'cp-03')
  const result = await consented('cp-03')
  await untilStep(own(), 'Make an empty data directory')
  // The new member needs a while for the snapshot of the others.
  await inject(lab, 'slow-network', 'cp-03')
  try {
    await untilStep(own(), 'Wait until it has caught up, and promote it')
    const refused = await typed(`member promote ${await idAt(urlOf('cp-03'))}`).catch((error: unknown) =>
      String(error),
    )
    assert.match(refused, /learner .*sync|can only promote a learner/i)
    replaced(await result(), t)
  } finally {
    await mend(lab, 'slow-network', 'cp-03')
  }
})

/** What etcd writes into its own directory goes on. */
async function manifestsOn(host: string): Promise<string> {
  const { stdout } = await atConsole(
    own().lab.hosts,
    host,
    'cd /etc/kubernetes/manifests && stat -c "%n %a %u %Y" * && sha256sum *',
  )
  return stdout
}
