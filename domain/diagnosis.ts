import type { ClusterConfig } from './cluster-config.ts'
import { recoveryUnderWay, unaskableMembers, unreachedNodes } from './diagnosis/access.ts'
import { illApiServers } from './diagnosis/api-servers.ts'
import { SETTLED_SECONDS } from './diagnosis/condition.ts'
import { brokenMember, corruptSomewhere, quorumLost, stoppedMembers } from './diagnosis/members.ts'
import { corruptMembers, everyNode, leaderOf, pictureOf, type Picture } from './diagnosis/picture.ts'
import { diskFull, quotaReached, spaceFindings } from './diagnosis/space.ts'
import { expiredCertificates, timeFindings, wrongClock } from './diagnosis/time.ts'
import type { DiagnosisKind, Evidence, NextStep, Trouble } from './diagnosis/trouble.ts'
import { cutOff, oddMembers, unsettled } from './diagnosis/unsteady.ts'
import { healthyNodes, reachedNodes, type NodeSurvey } from './survey.ts'

export type { DiagnosisKind, Evidence, NextStep } from './diagnosis/trouble.ts'

/** What is the matter with a cluster, as far as looking tells; nothing was changed to find it out. */
export interface Diagnosis {
  readonly cluster: string
  readonly kind: DiagnosisKind
  /** The nodes that the answer is about; none when it is about all or nobody. */
  readonly nodes: readonly string[]
  /** One sentence. */
  readonly summary: string
  readonly evidence: readonly Evidence[]
  /** What to do now, in order; empty when all is well. */
  readonly next: readonly NextStep[]
  /** What else is not as it should be; to be looked at after the main thing. */
  readonly findings: readonly Evidence[]
  /** How many times every node was looked at. */
  readonly looks: number
}

/**
 * The rules, in the order in which a person would want them: each one's advice would do harm, or could not be
 * followed, while one above it holds.
 *
 * 1. Where a recovery is at work, nothing it does is an illness.
 * 2. A wrong clock makes good certificates bad; bad certificates and a full disk make good members look dead.
 * 3. What can't be asked may be well.
 * 4. Starting what is stopped costs nothing, replacing one member costs no data, a restore costs both.
 * 5. Only then what is merely unsteady, odd, or not etcd's.
 */
const RULES: readonly ((picture: Picture) => Trouble | null)[] = [
  recoveryUnderWay,
  wrongClock,
  expiredCertificates,
  unaskableMembers,
  quotaReached,
  diskFull,
  stoppedMembers,
  brokenMember,
  corruptSomewhere,
  unreachedNodes,
  quorumLost,
  cutOff,
  unsettled,
  oddMembers,
  illApiServers,
]

/**
 * Says what is the matter with a cluster and what to do next.
 *
 * @param looks - one or more looks at all nodes, oldest first. One look is not trusted where members come and
 *   go: `worthAnotherLook` says when to take more.
 */
export function diagnose(config: ClusterConfig, looks: readonly (readonly NodeSurvey[])[]): Diagnosis {
  const picture = pictureOf(config, looks)
  const [main, ...others] = RULES.flatMap((rule) => rule(picture) ?? [])
  const findings = [
    ...others.filter((other) => isNews(other, main)).map(({ summary }) => ({ node: null, fact: summary })),
    ...timeFindings(picture),
    ...spaceFindings(picture),
    ...strayManifests(picture),
  ]
  if (main !== undefined) {
    const { kind, nodes, summary, evidence, next } = main
    return { cluster: config.cluster, kind, nodes, summary, evidence, next, findings, looks: looks.length }
  }
  const leader = leaderOf(picture)
  return {
    cluster: config.cluster,
    kind: 'healthy',
    nodes: [],
    summary: `${config.cluster} is healthy: ${config.nodes.length} of ${config.nodes.length} members stand in the quorum${leader === null ? '' : `, ${leader} leads`}.`,
    evidence: everyNode(picture),
    next: [],
    findings: [...findings, ...youngProcesses(picture)],
    looks: looks.length,
  }
}

/** Rules whose answer no further look can change: dates, disks, alarms, clocks and locks don't flap. */
const SETTLED_RULES: readonly (typeof RULES)[number][] = [
  recoveryUnderWay,
  wrongClock,
  expiredCertificates,
  quotaReached,
  diskFull,
]

/**
 * Whether the last look may have caught a moment: somebody without a leader or an answer, a process that was
 * just started, a quorum that is there at one look and not at another. A picture that stands still is one of
 * these too where quorum is lost; the looks that are taken then are what tells it from flapping.
 */
export function worthAnotherLook(config: ClusterConfig, looks: readonly (readonly NodeSurvey[])[]): boolean {
  const last = looks.at(-1) ?? []
  const picture = pictureOf(config, looks)
  if (corruptMembers(last).length > 0 || SETTLED_RULES.some((rule) => rule(picture) !== null)) return false
  const healthy = healthyNodes(last)
  return reachedNodes(last).some(
    (node) => !healthy.includes(node) || (node.symptoms?.etcdAgeSeconds ?? SETTLED_SECONDS) < SETTLED_SECONDS,
  )
}

/** Another rule that speaks of the same nodes says the same in other words; and nobody is to read "restore" here. */
function isNews(other: Trouble, main: Trouble | undefined): boolean {
  if (other.kind === 'restore-quorum') return false
  return other.nodes.length === 0 || other.nodes.some((node) => main?.nodes.includes(node) !== true)
}

function youngProcesses(picture: Picture): Evidence[] {
  return picture.nodes.flatMap(({ name, seen }) => {
    const age = seen?.symptoms?.etcdAgeSeconds ?? SETTLED_SECONDS
    return age < SETTLED_SECONDS
      ? [{ node: name, fact: `etcd was started ${age} s before the last look` }]
      : []
  })
}

function strayManifests(picture: Picture): Evidence[] {
  return picture.nodes.flatMap(({ name, seen }) =>
    (seen?.strayManifests ?? []).map((file) => ({
      node: name,
      fact: `${file} lies among the static pods' manifests: the kubelet loads it too, whatever its ending`,
    })),
  )
}
