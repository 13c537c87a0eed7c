import { readEtcdFlags } from '../etcd-manifest.ts'
import { FENCED_MANIFESTS } from '../node-paths.ts'
import { humanSeconds } from '../progress.ts'
import {
  hasFencedEtcd,
  NO_LEADER,
  standsAlone,
  unaskableNodes,
  type MemberStatus,
  type NodeSurvey,
  type ReachedNode,
} from '../survey.ts'
import type { EtcdId } from '../values.ts'
import { causeOfEnd } from './last-words.ts'

/** What is so of one node's member, over all looks. */
export type Condition =
  /** Stands in the quorum at every look. */
  | 'well'
  /** Did at some looks and not at others, or is another process than before. */
  | 'flapping'
  /** Runs and answers, and no quorum stands behind it. */
  | 'without-quorum'
  | 'learner'
  /** Healthy in a cluster too small to be this one: kubeadm's first node, wiped. */
  | 'stands-alone'
  /** Answers for another cluster than those that hold the quorum. */
  | 'other-cluster'
  /** etcd's own alarm names it. */
  | 'corrupt'
  /** Can't start, and its last words say that its data can't be read. */
  | 'unreadable'
  /** Nothing is there that it could go on from. */
  | 'data-gone'
  /** Its peers have removed it: its data can never rejoin. */
  | 'removed'
  | 'out-of-space'
  /** Runs, and can't be asked, for a reason that is the asking's. */
  | 'unaskable'
  /** Can't start for a reason that is neither its data nor its disk. */
  | 'misconfigured'
  /** Data is there and nothing runs it. */
  | 'stopped'
  /** Its process is there and stands still: it was stopped, or waits for its disk. */
  | 'hung'
  /** Its process lives, is old enough to answer, and is silent: started without a quorum it waits for one. */
  | 'waiting'
  | 'starting'
  /** Ends again and again, and nothing says why. */
  | 'crashing'
  | 'unreached'

/** Conditions in which a member can't come back on its own data, each by evidence and none by mere silence. */
export const LOST: readonly Condition[] = ['unreadable', 'data-gone', 'stands-alone']
/** With a quorum of others, these too: etcd itself has said so. */
export const REPLACEABLE: readonly Condition[] = [...LOST, 'corrupt', 'removed', 'other-cluster']

/** A process younger than this may not have shown yet what is the matter with it. */
export const SETTLED_SECONDS = 60

/** What of the other nodes decides what is so of one. */
export interface Surroundings {
  readonly configured: number
  readonly clusterId: EtcdId | null
  readonly accused: readonly EtcdId[]
}

/** What is so of a node that the last look reached, and the fact behind it. */
export function conditionOf(
  last: ReachedNode,
  looks: readonly NodeSurvey[],
  { configured, clusterId, accused }: Surroundings,
): readonly [Condition, string] {
  const { member } = last
  const wasWell = looks.filter((look) => healthyStatus(look, configured).length > 0).length
  const times = `at ${wasWell} of ${looks.length} looks`
  if (member.answers) {
    if (accused.includes(member.memberId)) return ['corrupt', 'etcd’s alarm CORRUPT names this member']
    if (standsAlone(last, configured)) {
      return [
        'stands-alone',
        `runs as a cluster of its own (${member.members.length} member, revision ${member.revision})`,
      ]
    }
    if (member.isLearner) return ['learner', 'is a learner: it copies, and has no vote yet']
    if (clusterId !== null && member.clusterId !== clusterId) {
      return ['other-cluster', `answers for cluster ${member.clusterId}, the others for ${clusterId}`]
    }
    if (member.healthy && wasWell === looks.length && !restarted(looks)) {
      const role = member.leaderId === member.memberId ? 'leads' : 'follows'
      return ['well', `is healthy and ${role}, revision ${member.revision}, term ${member.raftTerm}`]
    }
    if (wasWell > 0) {
      return [
        'flapping',
        `stood in the quorum ${times}${restarted(looks) ? ', and was restarted between them' : ''}`,
      ]
    }
    const leader =
      member.leaderId === NO_LEADER ? 'knows no leader' : 'knows a leader, and gets no read through'
    return [
      'without-quorum',
      `runs and answers, and ${leader} (revision ${member.revision}, term ${member.raftTerm})`,
    ]
  }
  return silenceOf(last, member.reason, looks, wasWell > 0 ? times : null)
}

function silenceOf(
  last: ReachedNode,
  reason: string,
  looks: readonly NodeSurvey[],
  wasWell: string | null,
): readonly [Condition, string] {
  const { symptoms } = last
  const runs = last.etcdPids.length > 0
  if (runs && last.tools.etcdctl === null)
    return ['unaskable', 'etcd runs, and the node has no etcdctl to ask it with']
  if (!runs && hasFencedEtcd(last)) {
    return [
      'removed',
      `a restore went on without it: its manifests are kept from starting, in ${FENCED_MANIFESTS}`,
    ]
  }
  if (unaskableNodes([last]).length > 0) return ['unaskable', `etcd runs and can't be asked: ${reason}`]
  // Before its words: what an empty member says is only that it found nobody to fetch everything from.
  if (last.dataDir.bytes === 0 && logIsInDataDir(last)) {
    return [
      'data-gone',
      `${last.dataDir.path} ${last.dataDir.exists ? 'holds no log that etcd could go on from' : "doesn't exist"}`,
    ]
  }
  const words = lastWordsOf(looks)
  if (words !== null) {
    const said = `etcd doesn't stay up; its last words: ${words}`
    switch (causeOfEnd(words)) {
      case 'data':
        return ['unreadable', said]
      case 'space':
        return ['out-of-space', said]
      case 'removed':
        return ['removed', said]
      case 'setup':
        return ['misconfigured', said]
      case 'unknown':
        return ['crashing', said]
    }
  }
  if (wasWell !== null) return ['flapping', `stood in the quorum ${wasWell}; now: ${reason}`]
  const everRan = looks.some((look) => look.reached && look.etcdPids.length > 0)
  if (!everRan) {
    if (last.etcdManifest === null)
      return ['stopped', 'no etcd runs: its manifest is not in the kubelet’s directory']
    const { kubelet } = symptoms ?? { kubelet: null }
    if (kubelet === 'active')
      return [
        'crashing',
        'no etcd runs and it said nothing, although the kubelet has its manifest: it waits up to five minutes between starts',
      ]
    return [
      'stopped',
      kubelet === null ? 'no etcd runs, and its data is there' : `no etcd runs; the kubelet is ${kubelet}`,
    ]
  }
  if (!runs || restarted(looks))
    return ['crashing', `etcd ends and is started again; no last words; now: ${reason}`]
  const { etcdAgeSeconds: age, etcdState: state } = symptoms ?? { etcdAgeSeconds: null, etcdState: null }
  if (state === 'T' || state === 't' || state === 'D') {
    return [
      'hung',
      `etcd’s process ${state === 'D' ? 'waits for its disk' : 'was stopped'} (state ${state}): ${reason}`,
    ]
  }
  return age !== null && age < SETTLED_SECONDS
    ? [
        'starting',
        `etcd was started ${humanSeconds(age)} before the last look and does not answer yet: ${reason}`,
      ]
    : ['waiting', `etcd runs and answers nobody, as one does that was started and finds no quorum: ${reason}`]
}

/**
 * What the last run that ended said. A run that has only begun has not said yet what the one before it died
 * of; one that lasts has outlived it.
 */
function lastWordsOf(looks: readonly NodeSurvey[]): string | null {
  for (const look of [...looks].reverse()) {
    if (!look.reached || !look.symptoms?.etcdLog) continue
    const { etcdLog, etcdAgeSeconds } = look.symptoms
    if (etcdLog.fatal !== null) return etcdLog.fatal
    const young = etcdAgeSeconds !== null && etcdAgeSeconds < SETTLED_SECONDS
    if (young && etcdLog.fatalBefore !== null) return etcdLog.fatalBefore
  }
  return null
}

/** Another process at one look than at another. */
function restarted(looks: readonly NodeSurvey[]): boolean {
  const seen = looks.flatMap((look) => (look.reached ? [look.etcdPids.join(' ')] : []))
  return new Set(seen).size > 1
}

/** The survey finds a log below the data directory only; with one elsewhere its absence says nothing. */
function logIsInDataDir({ etcdManifest }: ReachedNode): boolean {
  if (etcdManifest === null) return true
  try {
    return readEtcdFlags(etcdManifest).walDir === null
  } catch {
    return false // an unreadable manifest may say anything
  }
}

/** The member's answer if it stands in this cluster's quorum; else none. */
export function healthyStatus(node: NodeSurvey, configured: number): MemberStatus[] {
  return node.reached && node.member.answers && node.member.healthy && !standsAlone(node, configured)
    ? [node.member]
    : []
}
