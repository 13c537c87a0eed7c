import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test, type TestContext } from 'node:test'
import { withFullMemberList } from '../../domain/etcd-manifest.ts'
import type { RestoreVerdict } from '../../domain/verdict.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { startInformer } from '../../lab/hosts/kubeadm/informer.ts'
import { askShop, kubectl, openShop, placeOrder, shopStock } from '../../lab/hosts/kubeadm/workload.ts'
import { approveToTheEnd, makeSchedule, schedulePaused } from '../lab/recoveries.ts'
import { everyHost } from '../lab/use-lab.ts'
import { sharedLab } from './shared-lab.ts'

const own = sharedLab()

/** What a kubelet would set on the machine. */
const SYSCTLS = ['vm/overcommit_memory', 'vm/panic_on_oom', 'kernel/panic', 'kernel/panic_on_oops']

test('the kubelets of the lab leave the sysctls of the machine alone', async () => {
  const { lab } = own()
  const inside = await everyHost(lab, async (host) => {
    const { stdout } = await atConsole(lab.hosts, host, `cd /proc/sys && cat ${SYSCTLS.join(' ')}`)
    return stdout.trim().split('\n')
  })
  // Kubernetes' own values, which a machine has only by chance: panic after 10 s, always overcommit.
  for (const values of inside) assert.deepEqual(values, ['1', '0', '10', '1'])
  assert.notDeepEqual(
    SYSCTLS.map((name) => readFileSync(`/proc/sys/${name}`, 'utf8').trim()),
    ['1', '0', '10', '1'],
  )
})

/** From before the destruction to after the restore. */
let informer: Awaited<ReturnType<typeof startInformer>> | undefined
let stock: readonly string[] = []
after(() => informer?.stop())

test('a restore that fails on one node gives every node its manifests and its data back', async (t) => {
  const { lab, operator } = own()
  await openShop(lab.hosts)
  informer = await startInformer(lab.hosts)
  stock = await shopStock(lab.hosts)
  await makeSchedule(own())
  const backup = await operator.backup()
  assert.ok('verdict' in backup && backup.verdict.outcome === 'proved', JSON.stringify(backup))
  await placeOrder(lab.hosts, 'order-after-the-backup')

  await destroyQuorum(lab.hosts)
  const before = await everyHost(lab, (host) => manifestFiles(host))
  const directories = await everyHost(lab, (host) => dataDirectory(host))
  await atConsole(lab.hosts, 'cp-02', BREAK_ETCDUTL)
  try {
    const end = await operator.restoreAndApprove()
    assert.ok('code' in end && end.code === 'restore-undone', JSON.stringify(end))
    t.diagnostic(end.message.split('\n')[0] ?? '')
  } finally {
    await atConsole(lab.hosts, 'cp-02', MEND_ETCDUTL)
  }
  assert.deepEqual(await everyHost(lab, (host) => manifestFiles(host)), before)
  // What is in it changes: kubelets go on trying to start what can't start.
  assert.deepEqual(await everyHost(lab, (host) => dataDirectory(host)), directories)
  assert.equal(await schedulePaused(own()), false)
})

test('a destroyed control plane is restored, and a canary proves it', async (t) => {
  const { lab, operator } = own()
  const manifests = await everyHost(lab, (host) => manifestFiles(host))
  await operator.startRestore()
  const verdict = await approveToTheEnd(own(), 900_000)
  tellTimes(t, verdict)
  assert.equal(verdict.outcome, 'restored', JSON.stringify(verdict.checks, null, 2))

  const notPassed = verdict.checks.filter((one) => one.verdict !== 'pass')
  assert.deepEqual(notPassed, [], 'every check was made, and passed')
  for (const name of ['api-servers', 'nodes', 'object-counts', 'service-account-tokens', 'canary']) {
    assert.ok(
      verdict.checks.some((one) => one.name === name),
      `the check ${name} was made`,
    )
  }
  assert.notEqual(verdict.freshBackup, null)
  t.diagnostic(verdict.checks.find(({ name }) => name === 'canary')?.evidence ?? '')

  await t.test('the Deployment from before the snapshot serves, asked from every host', async () => {
    assert.deepEqual([...(await askShop(lab.hosts))].sort(), ['cp-01', 'cp-02', 'cp-03'])
  })
  await t.test('what was stored before the snapshot is back, and what came after is gone', async () => {
    const now = await shopStock(lab.hosts)
    assert.ok(now.some((name) => name.endsWith('/payments')))
    assert.ok(!now.some((name) => name.endsWith('order-after-the-backup')))
    for (const name of stock) assert.ok(now.includes(name), name)
  })
  await t.test('manifests keep every byte but the member list, and owner and mode', async () => {
    const now = await everyHost(lab, (host) => manifestFiles(host))
    for (const [index, files] of now.entries()) {
      for (const [name, was] of manifests[index] ?? []) {
        const is = files.get(name)
        assert.equal(is?.stat, was.stat, name)
        assert.equal(is?.text, name === 'etcd.yaml' ? withFullMemberList(was.text, memberList()) : was.text)
      }
    }
  })
  await t.test('no lease is left of an API server that is not there', async () => {
    const leases = await kubectl(lab.hosts, [
      ...['-n', 'kube-system', 'get', 'leases', '-l', 'apiserver.kubernetes.io/identity=kube-apiserver'],
      ...['-o', 'jsonpath={range .items[*]}{.metadata.labels.kubernetes\\.io/hostname}{"\\n"}{end}'],
    ])
    assert.deepEqual(leases.trim().split('\n').sort(), ['cp-01', 'cp-02', 'cp-03'])
  })
  await t.test('an informer that ran through it saw no time going backwards', async () => {
    const log = await informer?.stop()
    assert.ok(log !== undefined)
    t.diagnostic(
      `${log.events} events, ${log.lists} lists, revision ${log.firstRevision} to ${log.lastRevision}`,
    )
    assert.ok(log.events > 0)
    assert.deepEqual(log.wentBack, [])
    assert.ok(log.lastRevision > 1_000_000_000n)
  })
})

test('kubeadm works with the restored cluster: certificates are renewed, a node leaves and joins again', async () => {
  const { lab } = own()
  await atConsole(lab.hosts, 'cp-01', 'kubeadm certs renew all && kubeadm certs check-expiration', [], LONG)
  const join = await atConsole(
    lab.hosts,
    'cp-01',
    `key=$(kubeadm certs certificate-key)
     kubeadm init phase upload-certs --upload-certs --certificate-key "$key" >/dev/null
     kubeadm token create --ttl 1h --print-join-command --certificate-key "$key" 2>/dev/null`,
    [],
    LONG,
  )
  await atConsole(lab.hosts, 'cp-03', 'kubeadm reset --force', [], LONG)
  await kubectl(lab.hosts, ['delete', 'node', 'cp-03'])
  const address = lab.hosts.hosts.find(({ name }) => name === 'cp-03')?.address ?? ''
  const joinCommand = `${join.stdout.trim()} --apiserver-advertise-address ${address} --ignore-preflight-errors=SystemVerification,ImagePull,Mem,NumCPU`
  await atConsole(lab.hosts, 'cp-03', joinCommand, [], LONG)
  await kubectl(lab.hosts, ['wait', '--for=condition=Ready', 'node', '--all', '--timeout=240s'])
})

const LONG = { timeoutMs: 600_000 }

const BREAK_ETCDUTL = `
  mv /usr/local/bin/etcdutl /usr/local/bin/etcdutl.real
  printf '#!/bin/sh\\ncase "$1 $2" in "snapshot restore") echo "this disk is bad" >&2; exit 1 ;; esac\\nexec /usr/local/bin/etcdutl.real "$@"\\n' >/usr/local/bin/etcdutl
  chmod 755 /usr/local/bin/etcdutl`
const MEND_ETCDUTL = 'mv /usr/local/bin/etcdutl.real /usr/local/bin/etcdutl'

function memberList(): string {
  return own()
    .lab.hosts.hosts.map(({ name, address }) => `${name}=https://${address}:2380`)
    .sort()
    .join(',')
}

/** Owner, mode and inode: the same directory is back in its place, not one like it. */
async function dataDirectory(host: string): Promise<string> {
  const { stdout } = await atConsole(own().lab.hosts, host, "stat -c '%n %U:%G %a %i' /var/lib/etcd")
  return stdout
}

async function manifestFiles(host: string): Promise<Map<string, { stat: string; text: string }>> {
  const { stdout } = await atConsole(
    own().lab.hosts,
    host,
    `cd /etc/kubernetes/manifests && for file in *; do stat -c '%n %U:%G %a' "$file"; base64 -w0 "$file"; echo; done`,
  )
  const lines = stdout.trimEnd().split('\n')
  const files = new Map<string, { stat: string; text: string }>()
  for (let at = 0; at + 1 < lines.length; at += 2) {
    const stat = lines[at] ?? ''
    files.set(stat.split(' ')[0] ?? '', { stat, text: Buffer.from(lines[at + 1] ?? '', 'base64').toString() })
  }
  return files
}

function tellTimes(t: TestContext, verdict: RestoreVerdict): void {
  t.diagnostic(verdict.steps.map(({ title, seconds }) => `${title} ${seconds} s`).join('; '))
}
