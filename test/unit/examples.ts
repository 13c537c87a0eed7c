/** A cluster of three as tests need it: its file, what a survey finds, its snapshots. */
import { clusterSchema, type ClusterConfig } from '../../domain/cluster-config.ts'
import { prove, snapshotManifestSchema, type ProvedSnapshot } from '../../domain/snapshot.ts'
import type {
  Certificate,
  Member,
  MemberSilence,
  MemberStatus,
  ReachedNode,
  Symptoms,
  UnreachedNode,
} from '../../domain/survey.ts'
import { etcdId, revision } from '../../domain/values.ts'
import { etcdManifest } from '../../lab/hosts/etcd-manifest.ts'

export const HOSTS = [
  { name: 'cp-01', address: '10.0.1.11' },
  { name: 'cp-02', address: '10.0.1.12' },
  { name: 'cp-03', address: '10.0.1.13' },
]
export const NAMES = HOSTS.map(({ name }) => name)
export const MEMBER_IDS = ['8e9e05c52164694d', '91bc3c398fb3c146', 'fd422379fda50e48'].map((id) =>
  etcdId.parse(id),
)
export const CLUSTER_ID = etcdId.parse('cdf818194e3a8c32')
export const RECOVERY = '20261122T021400Z-3fa9c1d2'
export const FULL_LIST = HOSTS.map(({ name, address }) => `${name}=https://${address}:2380`).join(',')

/** The fields of a cluster file that differ from what most tests need, as its YAML would say them. */
export function clusterConfig(
  differs: {
    cluster?: string
    approval?: object
    backup?: object
    store?: object
    limits?: object
    validate?: object
    drill?: object
    freshness?: object
    rehearsal?: object
    retention?: object
  } = {},
): ClusterConfig {
  return clusterSchema.parse({
    cluster: 'prod',
    nodes: HOSTS.map(({ name, address }) => ({ name, address })),
    ...differs,
    store: { bucket: 'etcd-backups', kmsKeyId: 'alias/etcd', ...differs.store },
  })
}

/**
 * etcd.yaml of a node as kubeadm wrote it: the first node's with only itself and no state, the second's with
 * two members, the third's with three, both `existing`.
 */
export function kubeadmManifest(node: string): string {
  const index = HOSTS.findIndex(({ name }) => name === node)
  const host = HOSTS[index]!
  const joined = HOSTS.slice(0, index + 1).map(({ name, address }) => ({
    name,
    peerUrl: `https://${address}:2380`,
  }))
  return etcdManifest({ ...host, sshPort: 22, sshUser: 'root' }, index === 0 ? [] : joined, '3.5.16')
}

export const MEMBERS: readonly Member[] = HOSTS.map(({ name, address }, index) => ({
  id: MEMBER_IDS[index]!,
  name,
  peerUrls: [`https://${address}:2380`],
  isLearner: false,
}))

/** A member that answers; healthy with all three members, unless told otherwise. */
export function answering(node: string, differs: Partial<MemberStatus> = {}): MemberStatus {
  return {
    answers: true,
    memberId: MEMBER_IDS[NAMES.indexOf(node)]!,
    clusterId: CLUSTER_ID,
    leaderId: MEMBER_IDS[0]!,
    isLearner: false,
    version: '3.5.16',
    revision: revision.parse('48211'),
    raftTerm: '7',
    raftIndex: '60000',
    raftAppliedIndex: '60000',
    dbSizeBytes: 25_000_000,
    dbSizeInUseBytes: 20_000_000,
    errors: [],
    healthy: true,
    members: MEMBERS,
    ...differs,
  }
}

export const SILENT: MemberSilence = { answers: false, reason: 'context deadline exceeded' }

/** A node that was reached: the lab's kind, where etcd is the only static pod, with a living quorum. */
export function reached(node: string, differs: Partial<ReachedNode> = {}): ReachedNode {
  return {
    node,
    reached: true,
    bootId: '5b1b1a5e-9d1c-4a57-a3f0-0d2b6a2f0c11',
    clockSkewMs: 3,
    member: answering(node),
    etcdPids: [812],
    staticPods: ['etcd'],
    etcdManifest: kubeadmManifest(node),
    dataDir: {
      path: '/var/lib/etcd',
      exists: true,
      bytes: 190_000_000,
      isMount: false,
      owner: '0:0',
      mode: '700',
    },
    snapshotRoomBytes: 50_000_000_000,
    dataRoomBytes: 50_000_000_000,
    tools: { etcdctl: '3.5.16', etcdutl: '3.5.16' },
    lock: null,
    ...differs,
  }
}

export const LOOKED_AT = '2026-11-22T02:14:00.000Z'

/** What a healthy node of the lab's kind shows besides: settled, with room, with certificates good for a year. */
export function symptoms(differs: Partial<Symptoms> = {}): Symptoms {
  return {
    clock: LOOKED_AT,
    clockErrorMs: 20,
    kubelet: 'active',
    etcdAgeSeconds: 86_400,
    etcdState: 'S',
    etcdLog: { restarts: 0, fatal: null, fatalBefore: null },
    certificates: ['etcd-server', 'etcd-peer', 'etcd-ca', 'etcd-client'].map((name) => certificate(name)),
    dataDisk: {
      sizeBytes: 100_000_000_000,
      freeBytes: 50_000_000_000,
      inodes: 6_000_000,
      freeInodes: 5_000_000,
    },
    apiServer: null,
    ...differs,
  }
}

export function certificate(
  name: string,
  valid: Certificate['valid'] = { from: '2026-03-01T00:00:00.000Z', until: '2027-03-01T00:00:00.000Z' },
): Certificate {
  return { name, path: `/etc/kubernetes/pki/${name}.crt`, valid }
}

export function unreached(node: string): UnreachedNode {
  return { node, reached: false, reason: 'connect ETIMEDOUT' }
}

/** All three nodes after quorum is gone: etcd is silent everywhere. */
export function quorumLost(differs: Partial<ReachedNode> = {}): ReachedNode[] {
  return NAMES.map((node) => reached(node, { member: SILENT, etcdPids: [], ...differs }))
}

/** A proved snapshot, by the time it was taken; `differs` goes into its manifest. */
export function snapshotOf(takenAt: string, differs: Record<string, unknown> = {}): ProvedSnapshot {
  const manifest = snapshotManifestSchema.parse({
    version: 1,
    cluster: 'prod',
    takenAt,
    key: `daily/snapshot-${takenAt.replace(/\.\d+Z$/, 'Z').replaceAll(/[-:]/g, '')}.db`,
    versionId: `v-${takenAt}`,
    sha256: 'a'.repeat(64),
    sizeBytes: 25_000_032,
    source: { node: 'cp-02', memberId: MEMBER_IDS[1] },
    etcd: {
      version: '3.5.16',
      clusterId: CLUSTER_ID,
      members: MEMBERS.map(({ id, name, peerUrls }) => ({ id, name, peerUrls: [...peerUrls] })),
    },
    revision: '48000',
    totalKeys: 4_200,
    hash: '1f2e3d4c',
    inventory: {
      keys: 4_000,
      leased: 40,
      metadata: 'c'.repeat(64),
      sample: 'c'.repeat(64),
      kinds: { pods: 300, 'services/specs': 20 },
    },
    keyFingerprints: { saPub: null, encryptionConfig: null },
    ...differs,
  })
  const { key, versionId, sizeBytes, sha256 } = manifest
  const verdict = prove(manifest, { key, versionId, sizeBytes, sha256 })
  if ('refused' in verdict) throw new Error(verdict.refused)
  return verdict.proved
}
