import { randomBytes } from 'node:crypto'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { run } from './commands.ts'
import { atConsole } from './console.ts'
import { EtcdGateway, memberList } from './etcd-gateway.ts'
import { etcdManifest, peerUrl, type InitialMember } from './etcd-manifest.ts'
import { hostPaths, type LabHost, type LabHosts } from './lab-hosts.ts'

/** How long one member may take to be healthy; a busy machine needs more than an idle one. */
const MEMBER_LIMIT_MS = 60_000

/**
 * Gives each host the data of one of three members that know each other, from the snapshot of an empty etcd. Their
 * disks have to be mounted, and they have no manifest yet. Their cluster and member IDs are those that a restore gives:
 * new ones.
 */
export async function seedMembers(lab: LabHosts, snapshot: string): Promise<void> {
  const token = `${lab.name}-${randomBytes(6).toString('hex')}`
  await Promise.all(
    lab.hosts.map(async (host) => {
      const dataDir = join(hostPaths(lab, host.name).varLib, 'etcd')
      await run(join(lab.binDir, 'etcdutl'), [
        ...['snapshot', 'restore', snapshot, '--name', host.name, '--data-dir', dataDir],
        ...['--initial-cluster', lab.hosts.map((each) => `${each.name}=${peerUrl(each)}`).join(',')],
        ...['--initial-cluster-token', token, '--initial-advertise-peer-urls', peerUrl(host)],
      ])
      await chmod(dataDir, 0o700)
    }),
  )
}

/**
 * Starts seeded members one after the other, each with the manifest that kubeadm would have left: the first names
 * only itself, the others who was there when they joined. Each check of its start (kubeadm's
 * --experimental-initial-corrupt-check) waits seven seconds for every peer that listens and does not serve yet, so
 * the next one starts when the one before is through it and has opened its metrics.
 */
export async function startSeeded(lab: LabHosts, say: (line: string) => void): Promise<void> {
  for (const [index, host] of lab.hosts.entries()) {
    const joined = lab.hosts.slice(0, index + 1).map((each) => ({ name: each.name, peerUrl: peerUrl(each) }))
    await writeManifest(lab, host, index === 0 ? [] : joined)
    await atConsole(lab, host.name, METRICS_OPEN, [String(MEMBER_LIMIT_MS / 1_000)])
    say(`etcd on ${host.name} runs`)
  }
  await waitForAll(lab)
}

/** $1: how long to wait, in seconds. */
const METRICS_OPEN = `
  tries=$(($1 * 20))
  until bash -c 'exec 3<>/dev/tcp/127.0.0.1/2381' 2>/dev/null; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { echo "etcd did not open 127.0.0.1:2381 within $1 s; see /var/log/pods" >&2; exit 1; }
    sleep 0.05
  done`

/**
 * Forms the etcd cluster as kubeadm does: the first host alone with its own name in the member
 * list, then one learner after the other, each announced, started and promoted, so that its IDs are those that
 * kubeadm's first node comes up with when it has lost its data. A cluster that is there is left alone.
 */
export async function joinOneByOne(lab: LabHosts, say: (line: string) => void): Promise<void> {
  const [first, ...others] = lab.hosts
  if (first === undefined) throw new Error('A lab needs at least one host.')
  const gateway = await EtcdGateway.connect(lab, [first])
  try {
    if (!(await hasData(lab, first))) await writeManifest(lab, first, [])
    let members = await membersWhenHealthy(gateway)
    for (const host of others) {
      if (!members.some((each) => each.peerURLs.includes(peerUrl(host)))) {
        await gateway.insist(
          '/v3/cluster/member/add',
          { peerURLs: [peerUrl(host)], isLearner: true },
          memberList,
          MEMBER_LIMIT_MS,
        )
        members = await membersWhenHealthy(gateway)
        await writeManifest(
          lab,
          host,
          members.map((each) => ({ name: each.name || host.name, peerUrl: each.peerURLs[0] ?? '' })),
        )
      }
      const joined = members.find((each) => each.peerURLs.includes(peerUrl(host)))
      if (joined?.isLearner === true) {
        await gateway.insist('/v3/cluster/member/promote', { ID: joined.ID }, z.unknown(), MEMBER_LIMIT_MS)
      }
      members = await membersWhenHealthy(gateway)
      say(`etcd on ${host.name} joined`)
    }
    await waitForAll(lab)
  } finally {
    gateway.close()
  }
}

/** Waits until every member of the lab answers a linearizable read itself. */
export async function waitForAll(lab: LabHosts, limitMs = MEMBER_LIMIT_MS): Promise<void> {
  await Promise.all(
    lab.hosts.map(async (host) => {
      const gateway = await EtcdGateway.connect(lab, [host])
      try {
        await gateway.insist('/v3/kv/range', { key: 'AA==', keys_only: true }, z.unknown(), limitMs)
      } finally {
        gateway.close()
      }
    }),
  )
}

async function membersWhenHealthy(gateway: EtcdGateway): Promise<z.infer<typeof memberList>['members']> {
  const { members } = await gateway.insist('/v3/cluster/member/list', {}, memberList, MEMBER_LIMIT_MS)
  return members
}

async function hasData(lab: LabHosts, host: LabHost): Promise<boolean> {
  const found = await atConsole(lab, host.name, 'test -e /var/lib/etcd/member', [], { accept: [0, 1] })
  return found.exitCode === 0
}

async function writeManifest(lab: LabHosts, host: LabHost, joined: readonly InitialMember[]): Promise<void> {
  // The directory and its mode as kubeadm leaves them; written beside and renamed, so that the
  // kubelet never reads half a file (it ignores names with a leading dot).
  const script = `
    mkdir -p -m 0700 /var/lib/etcd
    umask 077
    cat >/etc/kubernetes/manifests/.etcd.yaml.new
    mv /etc/kubernetes/manifests/.etcd.yaml.new /etc/kubernetes/manifests/etcd.yaml`
  await atConsole(lab, host.name, script, [], { input: etcdManifest(host, joined, lab.etcdVersion) })
}
