import { z } from 'zod'
import type { Member, MemberSilence, MemberStatus } from '../../domain/survey.ts'
import type { Revision } from '../../domain/values.ts'
import type { ControlPlaneNode } from '../node/control-plane-node.ts'
import { countField, decimalField, idField, parseEtcdJson, revisionField } from './etcd-json.ts'
import { etcdReason, mustEtcdctl, runEtcdctl } from './etcdctl.ts'

const header = z.object({ cluster_id: idField, member_id: idField, revision: revisionField })

// Fields that are zero are left out by etcd's JSON encoder.
const statusShape = z
  .array(
    z.object({
      Status: z.object({
        header,
        version: z.string().default(''),
        dbSize: countField,
        dbSizeInUse: countField,
        leader: idField,
        raftIndex: decimalField,
        raftTerm: decimalField,
        raftAppliedIndex: decimalField,
        errors: z.array(z.string()).default([]),
        isLearner: z.boolean().default(false),
      }),
    }),
  )
  .min(1)

const memberListShape = z.object({
  members: z
    .array(
      z.object({
        ID: idField,
        name: z.string().default(''),
        peerURLs: z.array(z.string()).default([]),
        isLearner: z.boolean().default(false),
      }),
    )
    .default([]),
})

// The compact revision of a keyspace that was never compacted is -1, which is no revision.
const hashShape = z
  .array(z.object({ HashKV: z.object({ header, hash: countField, compact_revision: decimalField }) }))
  .min(1)

const alarmShape = z.object({
  alarms: z.array(z.object({ memberID: idField, alarm: z.bigint() })).default([]),
})

/** What the node's member says of itself and, where a quorum stands behind it, of its peers. */
export async function readMember(at: ControlPlaneNode): Promise<MemberStatus | MemberSilence> {
  const status = await runEtcdctl(at, ['endpoint', 'status', '--write-out=json'], { timeoutSeconds: 5 })
  if (status.code !== 0) return { answers: false, reason: etcdReason(status.stderr) }
  // A linearizable read: it goes through only where a quorum stands behind this member.
  const health = await runEtcdctl(
    at,
    ['get', '--consistency=l', '--limit=1', '--keys-only', 'requorum/quorum-probe'],
    {
      timeoutSeconds: 5,
    },
  )
  // Who may not read hears so only once the read went through: etcd asks for the rights after it (Range in its v3_server.go).
  const healthy =
    health.code === 0 || /etcdserver: (permission denied|user name is empty)/.test(health.stderr)
  const seen = parseEtcdJson(statusShape, status.stdout, 'etcdctl endpoint status')[0]?.Status
  if (seen === undefined) return { answers: false, reason: 'etcdctl endpoint status printed nothing' }
  return {
    answers: true,
    memberId: seen.header.member_id,
    clusterId: seen.header.cluster_id,
    leaderId: seen.leader,
    isLearner: seen.isLearner,
    version: seen.version,
    revision: seen.header.revision,
    raftTerm: seen.raftTerm,
    raftIndex: seen.raftIndex,
    raftAppliedIndex: seen.raftAppliedIndex,
    dbSizeBytes: seen.dbSize,
    dbSizeInUseBytes: seen.dbSizeInUse,
    errors: seen.errors,
    healthy,
    // etcdctl 3.5 asks for the list with a linearizable read and has no flag against it (3.6 has).
    members: healthy ? await readMembers(at) : [],
  }
}

/** The member list; needs quorum. */
export async function readMembers(at: ControlPlaneNode): Promise<Member[]> {
  const text = await mustEtcdctl(at, ['member', 'list', '--write-out=json'], { timeoutSeconds: 5 })
  return parseEtcdJson(memberListShape, text, 'etcdctl member list').members.map((member) => ({
    id: member.ID,
    name: member.name,
    peerUrls: member.peerURLs,
    isLearner: member.isLearner,
  }))
}

export interface KeyspaceHash {
  readonly hash: number
  /** Decimal; `-1` where nothing was ever compacted. */
  readonly compactRevision: string
}

/** The hash of the keyspace up to a revision, of a running member; comparable where the compact revision is the same. */
export async function readHash(at: ControlPlaneNode, revision: Revision): Promise<KeyspaceHash> {
  const text = await mustEtcdctl(at, ['endpoint', 'hashkv', `--rev=${revision}`, '--write-out=json'], {
    timeoutSeconds: 60,
  })
  const read = parseEtcdJson(hashShape, text, 'etcdctl endpoint hashkv')[0]?.HashKV
  return { hash: read?.hash ?? 0, compactRevision: read?.compact_revision ?? revision }
}

const ALARM_NAMES: Record<string, string> = { '1': 'NOSPACE', '2': 'CORRUPT' }

/** Alarms of the whole cluster; needs quorum. */
export async function readAlarms(at: ControlPlaneNode): Promise<{ memberId: string; alarm: string }[]> {
  const text = await mustEtcdctl(at, ['alarm', 'list', '--write-out=json'])
  return parseEtcdJson(alarmShape, text, 'etcdctl alarm list').alarms.map(({ memberID, alarm }) => ({
    memberId: memberID,
    alarm: ALARM_NAMES[alarm.toString()] ?? `alarm ${alarm}`,
  }))
}

/** Clears every alarm, those under IDs of members that are gone included. */
export async function disarmAlarms(at: ControlPlaneNode): Promise<void> {
  await mustEtcdctl(at, ['alarm', 'disarm'])
}

/** Proves that the cluster takes a write: puts, reads and deletes one key of our own. */
export async function probeWrite(at: ControlPlaneNode, key: string): Promise<void> {
  await mustEtcdctl(at, ['put', key, at.node.name])
  await mustEtcdctl(at, ['del', key])
}
