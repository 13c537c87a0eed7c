import { clusterSchema } from '../../domain/cluster-config.ts'
import type { RestorePreview } from '../../domain/restore-preview.ts'
import { digestOf, planRestore } from '../../domain/restore-plan.ts'
import { prove, snapshotManifestSchema } from '../../domain/snapshot.ts'
import type { NodeSurvey } from '../../domain/survey.ts'

const SHA = 'ab'.repeat(32)
const ID = '8e9e05c52164694d'

const MANIFEST = `spec:
  containers:
    - command:
        - etcd
        - --name=cp-01
        - --data-dir=/var/lib/etcd
        - --initial-advertise-peer-urls=https://127.0.0.1:2380
        - --initial-cluster=cp-01=https://127.0.0.1:2380
      volumeMounts:
        - { name: etcd-data, mountPath: /var/lib/etcd }
  volumes:
    - { name: etcd-data, hostPath: { path: /var/lib/etcd } }
`

/** A plan of the real planner, over nodes and a snapshot that exist on paper only. */
export function previewOnPaper(cluster: string, key: string): RestorePreview {
  const config = clusterSchema.parse({
    cluster,
    nodes: [{ name: 'cp-01', address: '127.0.0.1' }],
    store: { bucket: 'no-such-bucket', kmsKeyId: 'none' },
  })
  const manifest = snapshotManifestSchema.parse({
    version: 1,
    cluster,
    takenAt: '2026-11-22T02:00:00Z',
    key,
    versionId: 'v1',
    sha256: SHA,
    sizeBytes: 4_194_304,
    source: { node: 'cp-01', memberId: ID },
    etcd: { version: '3.5.16', clusterId: ID, members: [] },
    revision: '4711',
    totalKeys: 12,
    hash: 'x',
    inventory: { skipped: 'on paper' },
    keyFingerprints: { saPub: null, encryptionConfig: null },
  })
  const proof = prove(manifest, {
    key,
    versionId: 'v1',
    sizeBytes: manifest.sizeBytes,
    sha256: manifest.sha256,
  })
  if ('refused' in proof) throw new Error(proof.refused)
  const plan = planRestore(config, '20261122T021400Z-0a1b2c3d', [survey()], proof.proved)
  return {
    plan,
    digest: digestOf(plan),
    shows: '### What will happen',
    skipped: [{ key: 'daily/newer.db', reason: 'gone' }],
    warnings: [],
  }
}

function survey(): NodeSurvey {
  return {
    node: 'cp-01',
    reached: true,
    bootId: 'b',
    clockSkewMs: 0,
    member: { answers: false, reason: 'connection refused' },
    etcdPids: [],
    staticPods: ['etcd'],
    etcdManifest: MANIFEST,
    dataDir: { path: '/var/lib/etcd', exists: true, bytes: 1, isMount: false, owner: '0:0', mode: '700' },
    snapshotRoomBytes: 1e9,
    dataRoomBytes: 1e9,
    tools: { etcdctl: '3.5.16', etcdutl: '3.5.16' },
    lock: null,
  }
}
