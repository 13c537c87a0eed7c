import { staticPodFlags } from './static-pod-flags.ts'
import { etcdId, type EtcdId, type Revision } from './values.ts'

/** What one look at one node found. A node that can't be reached is a finding, not an error. */
export type NodeSurvey = ReachedNode | UnreachedNode

export interface UnreachedNode {
  readonly node: string
  readonly reached: false
  readonly reason: string
}

export interface ReachedNode {
  readonly node: string
  readonly reached: true
  readonly bootId: string
  /** The node's clock minus ours, in milliseconds; good to about the round trip. */
  readonly clockSkewMs: number
  readonly member: MemberStatus | MemberSilence
  /** Process IDs of etcd on the node, whoever started them. */
  readonly etcdPids: readonly number[]
  /** Names of the manifests in the static-pod directory, without `.yaml`. */
  readonly staticPods: readonly string[]
  /** Other files there, which the kubelet loads as well (kubernetes#129364); none when not given. */
  readonly strayManifests?: readonly string[]
  /** etcd's manifest as it stands, byte for byte, or null when the directory has none. */
  readonly etcdManifest: string | null
  /** What is kept from starting here, in the fenced directory; missing when nothing is. */
  readonly fenced?: FencedManifests
  readonly dataDir: DirectoryFacts
  readonly snapshotRoomBytes: number
  readonly dataRoomBytes: number
  readonly tools: { readonly etcdctl: string | null; readonly etcdutl: string | null }
  readonly lock: NodeLock | null
  /** What a diagnosis goes by; missing in surveys that were recorded before there was one. */
  readonly symptoms?: Symptoms
}

/** Static pods of a node that a restore went on without: the old member belongs to no cluster any more. */
export interface FencedManifests {
  /** Names of the manifests, without `.yaml`. */
  readonly pods: readonly string[]
  /** etcd's, byte for byte; null when it is not among them. */
  readonly etcdManifest: string | null
}

/** What else one look sees of a node that may be ill. Holds no key and no content, as all of a survey. */
export interface Symptoms {
  /** The node's own time at the look: what certificates are judged by there. */
  readonly clock: string
  /** By how much `clockSkewMs` may be wrong: what of the look's time was not spent on the node, halved. */
  readonly clockErrorMs: number
  /** `active`, `inactive`, `failed`, … as systemd says; null where it knows no kubelet. */
  readonly kubelet: string | null
  /** Seconds since the youngest etcd process began; null when none runs. */
  readonly etcdAgeSeconds: number | null
  /** The kernel's letter for what that process does: S and R live, T was stopped, D waits for the disk. */
  readonly etcdState: string | null
  readonly etcdLog: EtcdLog | null
  /** Of etcd's server, peers, authorities and API server, and the one that etcd is asked with. */
  readonly certificates: readonly Certificate[]
  /** The filesystem that holds the data directory. */
  readonly dataDisk: DiskFacts
  /** Null where the node has no manifest of an API server. */
  readonly apiServer: ApiServerFacts | null
}

/** etcd's newest log below /var/log/pods, where every kubelet puts it. */
export interface EtcdLog {
  /** How often the kubelet has started this pod's etcd again: the number in the name of its newest log. */
  readonly restarts: number
  /** Why it ended, in its own words, if the newest log says so; else null. */
  readonly fatal: string | null
  /** The same of the start before that one. */
  readonly fatalBefore: string | null
}

export interface Certificate {
  /**
   * Whose it is: `etcd-server`, `etcd-peer`, `etcd-client` (with which etcd is asked), their authorities with
   * `-ca`, `apiserver`, `apiserver-etcd-client`.
   */
  readonly name: string
  readonly path: string
  /** ISO 8601 in UTC; null for a file that is missing or holds no certificate. */
  readonly valid: { readonly from: string; readonly until: string } | null
}

export interface DiskFacts {
  readonly sizeBytes: number
  readonly freeBytes: number
  /** Zero on filesystems that count no inodes (btrfs). */
  readonly inodes: number
  readonly freeInodes: number
}

export interface ApiServerFacts {
  readonly pids: readonly number[]
  readonly readyz: ProbeAnswer
  readonly livez: ProbeAnswer
}

/** What an API server on its own node answered to a question that needs no login. */
export interface ProbeAnswer {
  /** The HTTP status; 0 when nothing came; null when the node has nothing to ask with. */
  readonly status: number | null
  /** Names of failing checks, or why no answer came; empty when all is well. */
  readonly why: string
}

export interface DirectoryFacts {
  readonly path: string
  readonly exists: boolean
  /** Of a directory that holds a log, which etcd could go on from; else 0. */
  readonly bytes: number
  readonly isMount: boolean
  /** A symbolic link to where the data is; missing in surveys that were recorded before it was looked at. */
  readonly isLink?: boolean
  /** `uid:gid`, and the octal mode, as `stat` prints them; empty when there is no directory. */
  readonly owner: string
  readonly mode: string
}

/** `etcdctl endpoint status` of the local member, and what it says of its peers. */
export interface MemberStatus {
  readonly answers: true
  readonly memberId: EtcdId
  readonly clusterId: EtcdId
  /** Zero (sixteen zeros) when the member knows no leader. */
  readonly leaderId: EtcdId
  readonly isLearner: boolean
  readonly version: string
  readonly revision: Revision
  readonly raftTerm: string
  readonly raftIndex: string
  readonly raftAppliedIndex: string
  readonly dbSizeBytes: number
  readonly dbSizeInUseBytes: number
  readonly errors: readonly string[]
  /** A linearizable read went through: the one proof that this member stands in a quorum. */
  readonly healthy: boolean
  /** Empty when no quorum stands behind the member: it can't say then. */
  readonly members: readonly Member[]
}

export interface MemberSilence {
  readonly answers: false
  readonly reason: string
}

export interface Member {
  readonly id: EtcdId
  /** Empty for a member that was added and never started. */
  readonly name: string
  readonly peerUrls: readonly string[]
  readonly isLearner: boolean
}

export interface NodeLock {
  /** Workflow ID and run ID of the recovery that holds the node. */
  readonly owner: string
  readonly since: string
}

/** The ID of no member: how etcd says that nobody leads, or that it can't tell whom an alarm is about. */
const NOBODY = etcdId.parse('0000000000000000')
export const NO_LEADER = NOBODY

export function quorumSize(voters: number): number {
  return Math.floor(voters / 2) + 1
}

export function reachedNodes(survey: readonly NodeSurvey[]): ReachedNode[] {
  return survey.filter((node) => node.reached)
}

export function unreachedNodes(survey: readonly NodeSurvey[]): UnreachedNode[] {
  return survey.filter((node) => !node.reached)
}

/** Nodes whose member answered a linearizable read: it stands in a quorum of whatever cluster it is in. */
export function healthyNodes(survey: readonly NodeSurvey[]): ReachedNode[] {
  return reachedNodes(survey).filter((node) => node.member.answers && node.member.healthy)
}

/** A restore went on without this node: its old member belongs to no cluster any more. */
export function hasFencedEtcd({ etcdManifest, fenced }: ReachedNode): boolean {
  return etcdManifest === null && (fenced?.etcdManifest ?? null) !== null
}

/**
 * Does this cluster have its quorum? One linearizable read proves it, if it is this cluster that answered.
 *
 * kubeadm's first node lists only itself in its manifest: wiped and started with its peers down, it becomes
 * an empty cluster that says it is healthy, under the same cluster ID. So a member counts only where its
 * own list of voters could be a majority of the nodes in the cluster file.
 */
export function quorumHolds(survey: readonly NodeSurvey[]): boolean {
  return healthyNodes(survey).some((node) => !standsAlone(node, survey.length))
}

/** A healthy member in a cluster too small to be this one: what it holds is not the cluster's state. */
export function standsAlone(node: Pick<ReachedNode, 'member' | 'etcdManifest'>, configured: number): boolean {
  if (!node.member.answers || !node.member.healthy) return false
  const voters = node.member.members.filter((member) => !member.isLearner)
  return voters.length < quorumSize(configured) && !madeSmall(node.etcdManifest, voters)
}

/**
 * A cluster that somebody made as small as it is, by a restore onto some of the nodes. With `existing` a manifest founds
 * no cluster, so a member whose manifest lists only voters that are there was never one that fell out of a bigger one.
 */
function madeSmall(manifest: string | null, voters: readonly Member[]): boolean {
  if (manifest === null) return false
  const flags = staticPodFlags(manifest)
  const listed = (flags?.get('initial-cluster') ?? '')
    .split(',')
    .map((one) => one.slice(one.indexOf('=') + 1))
  return (
    flags?.get('initial-cluster-state') === 'existing' &&
    listed.every((url) => voters.some(({ peerUrls }) => peerUrls.includes(url)))
  )
}

/**
 * Nodes on which etcd runs and can't be asked, for a reason that is the asking's: certificates, files, rights.
 * Such a silence says nothing about quorum. Expired certificates look like a dead cluster.
 */
export function unaskableNodes(survey: readonly NodeSurvey[]): { node: string; reason: string }[] {
  const ours = /x509|certificate|permission denied|no such file|user name is empty|invalid auth/i
  return reachedNodes(survey).flatMap(({ node, member, etcdPids }) =>
    etcdPids.length > 0 && !member.answers && ours.test(member.reason)
      ? [{ node, reason: member.reason }]
      : [],
  )
}

/** The highest revision that any member still answers for, or null when none answers. */
export function bestKnownRevision(survey: readonly NodeSurvey[]): Revision | null {
  const known = reachedNodes(survey).flatMap((node) =>
    node.member.answers && !standsAlone(node, survey.length) ? [node.member.revision] : [],
  )
  return known.reduce<Revision | null>(
    (best, next) => (best === null || BigInt(next) > BigInt(best) ? next : best),
    null,
  )
}

/**
 * The member to take a snapshot from: a healthy voter without errors of its own, a follower before the
 * leader (a snapshot costs the leader the most), the smallest raft lag, then by name. Never a member that
 * stands alone: what it holds is not the cluster's state.
 */
export function chooseSource(
  survey: readonly NodeSurvey[],
  except: readonly string[] = [],
): ReachedNode | null {
  const voters = healthyNodes(survey).flatMap((node) =>
    node.member.answers &&
    !standsAlone(node, survey.length) &&
    !node.member.isLearner &&
    errorsOfItsOwn(node.member).length === 0 &&
    !except.includes(node.node)
      ? [{ node, member: node.member }]
      : [],
  )
  const newest = voters.reduce(
    (high, { member }) => (BigInt(member.raftIndex) > high ? BigInt(member.raftIndex) : high),
    0n,
  )
  const rank = ({ member }: { member: MemberStatus }) => ({
    leads: member.leaderId === member.memberId ? 1 : 0,
    lag: newest - BigInt(member.raftAppliedIndex),
  })
  voters.sort((a, b) => {
    const [left, right] = [rank(a), rank(b)]
    if (left.leads !== right.leads) return left.leads - right.leads
    if (left.lag !== right.lag) return left.lag < right.lag ? -1 : 1
    return a.node.node < b.node.node ? -1 : 1
  })
  return voters[0]?.node ?? null
}

/** IDs that an alarm names, in any member's words: each repeats all. Zero when etcd could not tell which one it is. */
export function membersNamedBy(alarm: 'CORRUPT' | 'NOSPACE', survey: readonly NodeSurvey[]): EtcdId[] {
  const said = reachedNodes(survey).flatMap(({ member }) => (member.answers ? member.errors : []))
  return [...new Set(said.flatMap((error) => namedBy(alarm, error) ?? []))]
}

export function isSpaceAlarm(error: string): boolean {
  return /alarm:\s*NOSPACE/.test(error)
}

function namedBy(alarm: 'CORRUPT' | 'NOSPACE', error: string): EtcdId | null {
  const [, id, kind] = /memberID:(\d+) alarm:(\w+)/.exec(error) ?? []
  if (id === undefined || kind !== alarm) return null
  return etcdId.parse(BigInt(id).toString(16).padStart(16, '0'))
}

/**
 * Every member repeats the alarm CORRUPT; it says something about the member that it names, if it names one. Under NOSPACE
 * all refuse writes, and what they hold is as whole as ever: a snapshot brings the alarm along, which a restore disarms.
 */
function errorsOfItsOwn({ memberId, errors }: MemberStatus): string[] {
  return errors.filter((error) => {
    if (isSpaceAlarm(error)) return false
    const named = namedBy('CORRUPT', error)
    return named === null || named === NOBODY || named === memberId
  })
}

/** Why each node that can't give a snapshot can't, one line a node. */
export function reasonsAgainstSources(survey: readonly NodeSurvey[]): string[] {
  return survey.flatMap((node) => {
    const reason = reasonAgainstSource(node, survey.length)
    return reason === null ? [] : [`${node.node}: ${reason}`]
  })
}

function reasonAgainstSource(node: NodeSurvey, configured: number): string | null {
  if (!node.reached) return node.reason
  const { member } = node
  if (!member.answers) return `its etcd doesn't answer: ${member.reason}`
  if (!member.healthy) return 'its etcd answers and has no quorum behind it'
  if (standsAlone(node, configured)) return 'its etcd runs as a cluster of its own'
  if (member.isLearner) return 'its etcd is a learner'
  const errors = errorsOfItsOwn(member)
  return errors.length > 0 ? `its etcd says ${errors.join(', ')}` : null
}
