/**
 * `requorum diagnose` on a real lab: the opening scene of the source runbook and its look-alikes. One lab for all
 * of them; each scene is taken back before the next, and the advice is typed as it stands where it can be.
 */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Diagnosis, NextStep } from '../../domain/diagnosis.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import { waitForAll } from '../../lab/hosts/form-cluster.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import { requorum } from './command.ts'
import { leaderOf } from './members.ts'
import { differences, etcdctl, makeSchedule, readAllWhenUp } from './recoveries.ts'
import { controlPlaneFiles, everyHost, useLab } from './use-lab.ts'

// As kubeadm forms it: a first node that begins anew has the IDs of the cluster that it was the first of.
const own = useLab({ joinOneByOne: true, keys: 3_000 })
const NAMES = ['cp-01', 'cp-02', 'cp-03']

test('a healthy cluster is healthy, and looking changes no file of the control plane', async (t) => {
  const { lab } = own()
  const files = await everyHost(lab, (host) => traces(host))
  const diagnosis = await diagnosed(t, 'healthy', [])
  assert.deepEqual(await everyHost(lab, (host) => traces(host)), files)
  assert.match(diagnosis.summary, /3 of 3 members stand in the quorum, cp-0\d leads/)
  const { code, out } = await requorum(lab, 'diagnose', lab.name, '--exit-code')
  assert.equal(code, 0)
  assert.match(
    out,
    /^HEALTHY: .*\n\nWhat .*nothing was touched:\n {2}cp-01 {2}is healthy and (leads|follows)/,
  )
})

test('a wrong clock: set it, and leave etcd alone', async (t) => {
  await during('skew-clock', ['cp-03'], async () => {
    const diagnosis = await diagnosed(t, 'hands-off', ['cp-03'])
    assert.match(diagnosis.summary, /clock of cp-03 is wrong/)
    assert.match(factOf(diagnosis, 'cp-03'), /1\.0 h ahead of the other nodes'/)
  })
})

test('a leader that is cut off from its peers: the network, and not its data', async (t) => {
  const { lab } = own()
  const leader = await leaderOf(own().lab)
  await during('cut-peers', [leader], async () => {
    await otherLeader(leader)
    const diagnosis = await diagnosed(t, 'hands-off', [leader])
    assert.match(diagnosis.summary, /cut off from its peers; the others hold the quorum/)
    assert.match(factOf(diagnosis, leader), /runs and answers, and knows no leader/)
    // The commands that it prints say the same.
    const step = diagnosis.next.find(({ on }) => on === leader)
    assert.ok(step)
    const { stdout } = await atConsole(lab.hosts, leader, step.commands.join('\n'))
    assert.match(stdout, /is not reached\n.*is not reached\n$/)
  })
})

test("a node that can't be reached while the others hold: hands off, and it is named", async (t) => {
  await during('cut-network', ['cp-02'], async () => {
    const diagnosis = await diagnosed(t, 'hands-off', ['cp-02'])
    assert.match(diagnosis.summary, /has its quorum; cp-02 can't be reached/)
  })
})

test('expired etcd certificates: renew them, with their dates, and restore nothing', async (t) => {
  await during('expire-certificates', NAMES, async () => {
    const diagnosis = await diagnosed(t, 'expired-certificates', NAMES)
    for (const node of NAMES) {
      const facts = factsOf(diagnosis, node).join('\n')
      assert.match(facts, /etcd-server: valid from 2024-01-01T00:00:00\.000Z until 2025-01-01T00:00:00\.000Z/)
      assert.match(facts, /etcd-peer: /)
    }
    assert.ok(typedBy(diagnosis).includes('kubeadm certs renew all'))
  })
})

test('a disk that is full to its last byte: make room first', async (t) => {
  await during('fill-disk', ['cp-03'], async () => {
    const diagnosis = await diagnosed(t, 'no-space', ['cp-03'])
    assert.match(factOf(diagnosis, 'cp-03'), /free below \/var\/lib\/etcd; etcd needs 61 MiB/)
  })
})

test('the alarm NOSPACE: the commands it prints, typed as they stand, clear it', async (t) => {
  const { lab } = own()
  const fault = findFault('fill-quota')
  await fault.inject(lab.hosts, 'cp-02')
  const diagnosis = await diagnosed(t, 'no-space', ['cp-02'])
  assert.match(factOf(diagnosis, 'cp-02'), /alarm:NOSPACE; database .* quota 16 MiB/)
  // Content of its own weight stays too much for the quota, as the advice says: what fills it goes first.
  await etcdctl(lab, 'cp-01', 'del', '--prefix', '/registry/lab-filler/')
  await type(diagnosis.next.filter(({ on }) => on !== null))
  assert.equal(await etcdctl(lab, 'cp-01', 'alarm', 'list'), '')
  await etcdctl(lab, 'cp-02', 'put', '/registry/after', 'a write')
  await fault.mend?.(lab.hosts, 'cp-02')
  await waitForAll(lab.hosts)
})

test('etcd’s own alarm CORRUPT, under which writes are refused: replace the member that it names', async (t) => {
  await during('accuse-member', ['cp-03'], async () => {
    const diagnosis = await diagnosed(t, 'replace-member', ['cp-03'])
    assert.match(factOf(diagnosis, 'cp-03'), /alarm CORRUPT names this member/)
    assert.match(diagnosis.summary, /cp-01 and cp-02 hold the quorum/)
    await assert.rejects(etcdctl(own().lab, 'cp-01', 'put', '/registry/after', 'a write'), /corrupt cluster/)
  })
})

test('an etcd that was stopped by a signal: wake it, as it prints', async (t) => {
  const { lab } = own()
  await during('freeze-etcd', ['cp-03'], async () => {
    const diagnosis = await diagnosed(t, 'restart', ['cp-03'])
    assert.match(factOf(diagnosis, 'cp-03'), /process was stopped \(state T\)/)
    await type(diagnosis.next.filter(({ on }) => on !== null))
    await waitForAll(lab.hosts)
  })
})

test('a quorum that is only stopped: start it again, nothing is lost', async (t) => {
  const { lab } = own()
  const content = await readAll(lab.hosts)
  await during('stop-etcd', ['cp-01', 'cp-02'], async () => {
    // The third one is started anew without a quorum, and answers nobody until there is one.
    await findFault('crash-etcd').inject(lab.hosts, 'cp-03')
    const diagnosis = await diagnosed(t, 'restart', ['cp-01', 'cp-02'])
    assert.match(diagnosis.summary, /Quorum is lost only because etcd on cp-01 and cp-02 is not running/)
    await type(diagnosis.next.filter(({ on }) => on !== null))
    await waitForAll(lab.hosts)
  })
  assert.deepEqual(differences(content, await readAll(lab.hosts)), [])
})

test('the opening scene: one corrupted in mid-defragmentation, the two others flapping: replace that one', async (t) => {
  const { lab } = own()
  await findFault('corrupt-in-defrag').inject(lab.hosts, 'cp-02')
  await during('flap-etcd', ['cp-01', 'cp-03'], async () => {
    const diagnosis = await diagnosed(t, 'replace-member', ['cp-02'])
    assert.match(factOf(diagnosis, 'cp-02'), /etcd doesn't stay up; its last words: /)
    assert.ok(diagnosis.looks > 1, 'one look is not trusted')
  })
})

test('with the two steady again the commands it prints, typed as they stand, replace the member', async (t) => {
  const { lab } = own()
  const content = await readAllWhenUp(lab)
  await waitForAll({ ...lab.hosts, hosts: lab.hosts.hosts.filter(({ name }) => name !== 'cp-02') })
  await makeSchedule(own())
  const diagnosis = await diagnosed(t, 'replace-member', ['cp-02'])
  assert.match(diagnosis.summary, /cp-01 and cp-03 hold the quorum/)
  await type(diagnosis.next)
  await waitForAll(lab.hosts)
  const voters = await etcdctl(lab, 'cp-01', 'member', 'list')
  assert.equal(voters.match(/started, cp-0\d,.*, false$/gm)?.length, 3, voters)
  assert.deepEqual(
    differences(content, await readAll(lab.hosts)).filter((one) => !/load/.test(one)),
    [],
  )
  const kept = await atConsole(lab.hosts, 'cp-02', 'ls -d /var/lib/etcd.corrupt.*')
  assert.match(kept.stdout, /^\/var\/lib\/etcd\.corrupt\.\d{8}T\d{6}Z\n$/, 'nothing was deleted')
})

test('quorum lost for good: restore, with the reason on each node; and never past a node nobody saw', async (t) => {
  const { lab } = own()
  await destroyQuorum(lab.hosts)
  await during(
    'cut-network',
    ['cp-03'],
    async () => {
      const unseen = await diagnosed(t, 'hands-off', ['cp-03'])
      assert.match(unseen.summary, /Restore nothing before it was looked at/)
    },
    { waits: false },
  )
  const diagnosis = await diagnosed(t, 'restore-quorum', NAMES)
  assert.deepEqual(typedBy(diagnosis), [`requorum plan restore ${lab.name}`, `requorum restore ${lab.name}`])
  assert.match(factOf(diagnosis, 'cp-01'), /its last words: /)
  for (const node of ['cp-02', 'cp-03']) assert.match(factOf(diagnosis, node), /no log|last words/)
  const { code, out } = await requorum(lab, 'diagnose', lab.name, '--exit-code')
  assert.equal(code, 6)
  assert.match(out, /^RESTORE AFTER QUORUM LOSS: /)
})

/** Breaks the hosts, does the work, and mends them whatever the work does; etcd is whole again afterwards. */
async function during(
  fault: string,
  hosts: readonly string[],
  work: () => Promise<void>,
  { waits = true } = {},
): Promise<void> {
  const { lab } = own()
  const { inject, mend } = findFault(fault)
  await Promise.all(hosts.map((host) => inject(lab.hosts, host)))
  try {
    await work()
  } finally {
    if (mend !== undefined) await Promise.all(hosts.map((host) => mend(lab.hosts, host)))
  }
  if (waits && fault !== 'flap-etcd') await waitForAll(lab.hosts)
}

/** What the real command says, for programs. */
async function diagnosed(
  t: TestContext,
  kind: Diagnosis['kind'],
  nodes: readonly string[],
): Promise<Diagnosis> {
  const { lab } = own()
  const { code, out, error, seconds } = await requorum(lab, 'diagnose', lab.name, '--json')
  assert.equal(code, 0, error + out)
  // eslint-disable-next-line no-restricted-properties, @typescript-eslint/no-unsafe-assignment -- our own document, in which IDs are text
  const diagnosis: Diagnosis = JSON.parse(out)
  t.diagnostic(
    `${diagnosis.kind} after ${diagnosis.looks} looks in ${seconds.toFixed(1)} s: ${diagnosis.summary}`,
  )
  assert.equal(diagnosis.kind, kind, out)
  assert.deepEqual(diagnosis.nodes, nodes, out)
  return diagnosis
}

function factsOf({ evidence }: Diagnosis, node: string): string[] {
  return evidence.filter((one) => one.node === node).map(({ fact }) => fact)
}

function factOf(diagnosis: Diagnosis, node: string): string {
  return factsOf(diagnosis, node)[0] ?? ''
}

function typedBy({ next }: Diagnosis): string[] {
  return next.flatMap(({ commands }) => commands)
}

/** Does each step where it says, in order. What only looks again is left out. */
async function type(steps: readonly NextStep[]): Promise<void> {
  const { lab } = own()
  for (const { on, commands } of steps) {
    if (on !== null) {
      await atConsole(lab.hosts, on, commands.join('\n'), [], { timeoutMs: 300_000 })
      continue
    }
    // Replaced by Requorum itself it is in replace.test.ts; here it is done by hand.
    for (const command of commands.filter((one) => !/^requorum (diagnose|replace) /.test(one))) {
      const [program, ...args] = command.split(' ')
      assert.equal(program, 'requorum')
      const { code, error } = await requorum(lab, ...args)
      assert.equal(code, 0, error)
    }
  }
}

/** Waits until the others have chosen another leader. */
async function otherLeader(cutOff: string, limitMs = 60_000): Promise<void> {
  const { lab } = own()
  const others = lab.hosts.hosts.filter(({ name }) => name !== cutOff)
  await waitForAll({ ...lab.hosts, hosts: others }, limitMs)
}

/** Every file of the control plane but etcd's own, which an idle etcd writes to as well. */
async function traces(host: string): Promise<string> {
  const files = await controlPlaneFiles(own().lab, host)
  return files
    .split('\n')
    .filter((line) => !line.includes('var/lib/etcd/member'))
    .join('\n')
}
