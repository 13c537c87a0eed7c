import type { ClusterConfig } from './cluster-config.ts'
import { RequorumError } from './failures.ts'
import { leavingMember, type WhoJoins } from './leaving-member.ts'
import { healthyNodes, quorumSize, standsAlone, type Member, type NodeSurvey } from './survey.ts'

/**
 * The other members hold the quorum without this one, in one cluster. Counted are linearizable reads that went
 * through and the voters that the members themselves list, never the cluster file alone.
 *
 * @returns the nodes of those members, in the cluster file's order, and the member list
 * @throws RequorumError `quorum-missing`
 */
export function othersHoldQuorum(
  config: ClusterConfig,
  survey: readonly NodeSurvey[],
  { node, insteadOf }: WhoJoins,
): { readonly helpers: readonly string[]; readonly members: readonly Member[] } {
  const healthy = healthyNodes(survey).flatMap((one) =>
    one.node !== node && one.member.answers && !standsAlone(one, survey.length)
      ? [{ node: one.node, member: one.member }]
      : [],
  )
  // Who goes may be well, on a node of its own: nobody leans on it.
  const listed = healthy[0]?.member.members ?? []
  const goes =
    insteadOf === undefined || listed.length === 0
      ? undefined
      : leavingMember(config, listed, { node, insteadOf })
  const others = healthy.filter(({ member }) => member.memberId !== goes?.id)
  const refuse = (why: string): RequorumError =>
    new RequorumError('quorum-missing', {
      what: `The members of ${config.cluster} besides ${insteadOf ?? node} do not hold the quorum. Nothing was touched.`,
      why,
      todo: `Replacing a member needs the others: see \`requorum diagnose ${config.cluster}\`. Without a quorum it is \`requorum restore ${config.cluster}\`.`,
    })
  const members = others[0]?.member.members ?? []
  const clusters = new Set(others.map(({ member }) => member.clusterId))
  if (clusters.size > 1) throw refuse(`they are of ${clusters.size} clusters: ${[...clusters].join(', ')}`)
  const voters = members.filter((member) => !member.isLearner)
  const standing = others.filter(({ member }) => voters.some(({ id }) => id === member.memberId))
  const needed = quorumSize(voters.length)
  if (others.length === 0 || standing.length < needed) {
    const names = standing.map((one) => one.node).join(', ') || 'none'
    throw refuse(`${names} of them took a linearizable read; ${needed} of ${voters.length} voters are needed`)
  }
  return { helpers: standing.map((one) => one.node), members }
}

/** Whether they lack it now. The quorum is lost for good, or its leader was, and the others elect one this very moment. */
export function othersLackQuorum(
  config: ClusterConfig,
  survey: readonly NodeSurvey[],
  who: WhoJoins,
): boolean {
  try {
    othersHoldQuorum(config, survey, who)
    return false
  } catch (error) {
    return error instanceof RequorumError && error.code === 'quorum-missing'
  }
}

export interface OthersNow {
  readonly quorum: boolean
  /** Who stands in it, or what is so of each. */
  readonly evidence: string
}

/** Whether the members that a replacement leans on hold the quorum now, whatever they did before. */
export function othersNow(helpers: readonly string[], survey: readonly NodeSurvey[]): OthersNow {
  const others = survey.filter(({ node }) => helpers.includes(node))
  const standing = healthyNodes(others).map(({ node }) => node)
  if (standing.length > 0)
    return { quorum: true, evidence: `${standing.join(', ')} took a linearizable read` }
  return { quorum: false, evidence: others.map((one) => `${one.node}: ${silence(one)}`).join('; ') }
}

function silence(one: NodeSurvey): string {
  if (!one.reached) return `not reached, ${one.reason}`
  return one.member.answers ? 'runs, and no linearizable read goes through' : one.member.reason
}
