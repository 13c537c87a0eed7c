import { z } from 'zod'
import { atConsole } from './console.ts'
import { EtcdGateway, memberList } from './etcd-gateway.ts'
import { etcdManifest, peerUrl, type InitialMember } from './etcd-manifest.ts'
import type { LabHost, LabHosts } from './lab-hosts.ts'

/** How long one member may take to be healthy; a busy machine needs more than an idle one. */
const MEMBER_LIMIT_MS = 60_000

/**
 * Forms the etcd cluster as kubeadm does: the first host alone with its own name in the member
 * list, then one learner after the other, each announced, started and promoted, so that the
 * manifests differ from host to host as they do on a real cluster. A cluster that is there is left alone.
 */
export async function formCluster(lab: LabHosts, say: (line: string) => void): Promise<void> {
  const [first, ...others] = lab.hosts
  if (first === undefined) throw new Error('A lab needs at least one host.')
  const gateway = await EtcdGateway.connect(lab, [first])
  await setPace(lab, 0.1)
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
    await setPace(lab, 1)
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

/**
 * How fast the kubelet stand-in is, until the host reboots: 1 takes its time as a real kubelet
 * does, 0.1 a tenth of it.
 */
export async function setPace(lab: LabHosts, factor: number): Promise<void> {
  await Promise.all(
    lab.hosts.map((host) => atConsole(lab, host.name, 'echo "$1" >/run/kubelet-pace', [String(factor)])),
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
