import type { ClusterConfig, NodeConfig } from '../cluster-config.ts'
import {
  hasFencedEtcd,
  membersNamedBy,
  NO_LEADER,
  quorumHolds,
  quorumSize,
  type Member,
  type MemberStatus,
  type NodeSurvey,
  type ReachedNode,
} from '../survey.ts'
import type { EtcdId } from '../values.ts'
import { conditionOf, healthyStatus, type Condition, type Surroundings } from './condition.ts'
import type { Evidence } from './trouble.ts'

export interface NodePicture {
  readonly name: string
  readonly at: NodeConfig
  /** The last look, if it reached the node. */
  readonly seen: ReachedNode | null
  readonly condition: Condition
  /** The fact behind the condition, for people. */
  readonly fact: string
  /** Answered for itself at one look at least. */
  readonly answered: boolean
}

export interface Picture {
  readonly config: ClusterConfig
  readonly nodes: readonly NodePicture[]
  /** A quorum was seen at one look at least; whatever else was seen, nothing may be restored over it. */
  readonly quorumSeen: boolean
  readonly quorumNow: boolean
  readonly quorumSize: number
  /** The member list of whoever could say, newest look first; empty when nobody could. */
  readonly members: readonly Member[]
  readonly looks: readonly (readonly NodeSurvey[])[]
}

/** @param looks - oldest first; at least one, each of all nodes */
export function pictureOf(config: ClusterConfig, looks: readonly (readonly NodeSurvey[])[]): Picture {
  const last = looks.at(-1) ?? []
  const healthy = [...looks]
    .reverse()
    .flatMap((look) => look.flatMap((node) => healthyStatus(node, look.length)))
  const clusterId = healthy[0]?.clusterId ?? null
  const accused = corruptMembers(last)
  const fenced = last.filter((node) => node.reached && hasFencedEtcd(node)).length
  return {
    config,
    nodes: config.nodes.map((at) =>
      nodePicture(
        at,
        looks.map((look) => look.find(({ node }) => node === at.name) ?? notLookedAt(at.name)),
        { configured: config.nodes.length, clusterId, accused },
      ),
    ),
    quorumSeen: looks.some(quorumHolds),
    quorumNow: quorumHolds(last),
    quorumSize: quorumSize(config.nodes.length - fenced),
    members: healthy[0]?.members ?? [],
    looks,
  }
}

export function withCondition(picture: Picture, ...conditions: readonly Condition[]): NodePicture[] {
  return picture.nodes.filter(({ condition }) => conditions.includes(condition))
}

export function names(nodes: readonly { readonly name: string }[]): string {
  const all = nodes.map(({ name }) => name)
  return all.length < 2 ? all.join('') : `${all.slice(0, -1).join(', ')} and ${all.at(-1) ?? ''}`
}

export function statusOf(node: NodePicture): MemberStatus | null {
  return node.seen?.member.answers === true ? node.seen.member : null
}

/** The node whose member leads, if any of those that answer knows one. */
export function leaderOf(picture: Picture): string | null {
  const leads = (node: NodePicture): boolean => {
    const status = statusOf(node)
    return status !== null && status.healthy && status.leaderId === status.memberId
  }
  return picture.nodes.find(leads)?.name ?? null
}

export function knowsLeader(node: NodePicture): boolean {
  const status = statusOf(node)
  return status !== null && status.leaderId !== NO_LEADER
}

export function everyNode(picture: Picture): Evidence[] {
  return picture.nodes.map(({ name, fact }) => ({ node: name, fact }))
}

/** The member ID of a node: by its own word, or by that of its peers. */
export function memberIdOf(picture: Picture, node: NodePicture): EtcdId | null {
  const known = picture.members.find(
    ({ name, peerUrls }) => name === node.name || peerUrls.includes(node.at.peerUrl),
  )
  return known?.id ?? statusOf(node)?.memberId ?? null
}

function nodePicture(at: NodeConfig, looks: readonly NodeSurvey[], around: Surroundings): NodePicture {
  const last = looks.at(-1) ?? notLookedAt(at.name)
  const [condition, fact] = last.reached
    ? conditionOf(last, looks, around)
    : (['unreached', `can't be reached: ${last.reason}`] as const)
  return {
    name: at.name,
    at,
    seen: last.reached ? last : null,
    condition,
    fact,
    answered: looks.some((look) => look.reached && look.member.answers),
  }
}

function notLookedAt(node: string): NodeSurvey {
  return { node, reached: false, reason: 'it was not looked at' }
}

/** The members that etcd's alarm CORRUPT names at this look. */
export function corruptMembers(look: readonly NodeSurvey[]): EtcdId[] {
  return membersNamedBy('CORRUPT', look)
}
