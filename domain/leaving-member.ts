import { nodeNames, nodeOf, type ClusterConfig } from './cluster-config.ts'
import { RequorumError } from './failures.ts'
import { unfit, API_SERVER, ETCD } from './planned-node.ts'
import type { Member, NodeSurvey } from './survey.ts'

/** Who joins, on which node of the cluster file, and for whom. */
export interface WhoJoins {
  readonly node: string
  /** The member that goes instead of this node's own: by its name, its peer URL, or its node in the cluster file. */
  readonly insteadOf?: string
}

/** @throws RequorumError `input-invalid` when the cluster file has no such node for a member to join on */
export function refuseUnknownNode(config: ClusterConfig, node: string): void {
  if (nodeOf(config, node) !== undefined) return
  throw new RequorumError('input-invalid', {
    what: `The cluster file of ${config.cluster} has no node ${node}. Nothing was touched.`,
    todo: `Its nodes are ${nodeNames(config).join(', ')}. A new one is added to the file first.`,
  })
}

/**
 * The member that goes: the one that the node's peer URL belongs to, or the one that was named.
 *
 * @returns undefined where the node's own was removed before
 * @throws RequorumError `input-invalid`; nothing was touched
 */
export function leavingMember(
  config: ClusterConfig,
  members: readonly Member[],
  { node, insteadOf }: WhoJoins,
): Member | undefined {
  const peerUrl = nodeOf(config, node)?.peerUrl ?? ''
  const own = members.find(({ peerUrls }) => peerUrls.includes(peerUrl))
  if (insteadOf === undefined) return own
  const named = [insteadOf, nodeOf(config, insteadOf)?.peerUrl ?? insteadOf]
  const [leaving, ...more] = members.filter(
    ({ name, peerUrls }) => named.includes(name) || peerUrls.some((url) => named.includes(url)),
  )
  if (leaving === undefined || more.length > 0) {
    throw new RequorumError('input-invalid', {
      what: `${leaving === undefined ? 'No member' : 'More than one member'} of ${config.cluster} is ${insteadOf}. Nothing was touched.`,
      why: `its members are ${members.map(({ name, peerUrls }) => `${name} at ${peerUrls.join(', ')}`).join('; ')}`,
      todo:
        leaving === undefined
          ? `Name one of them. If ${insteadOf} was removed before: requorum replace ${config.cluster} ${node}`
          : 'Name it by its peer URL.',
    })
  }
  if (own !== undefined && own !== leaving) {
    throw new RequorumError('input-invalid', {
      what: `${node} has a member of its own (${own.name || 'never started'}), and can't be instead of ${insteadOf}. Nothing was touched.`,
      todo: `To replace its own: requorum replace ${config.cluster} ${node}. To take ${insteadOf} out: etcdctl member remove, on a node of the others.`,
    })
  }
  return leaving
}

/** What becomes of the leaving member's etcd where it is not on the node that joins. */
export interface OldNode {
  /** Static pods to stop there: it is in the cluster file and was reached. */
  readonly stop: { readonly node: string; readonly pods: readonly string[]; readonly dataDir: string } | null
  /** Who nobody could look at: a person says that it is off. */
  readonly fence: readonly { readonly name: string; readonly peerUrl: string }[]
}

/**
 * @throws RequorumError `step-refused` where an etcd runs there that nobody here could stop
 */
export function oldNode(
  config: ClusterConfig,
  survey: readonly NodeSurvey[],
  node: string,
  leaving: Member | undefined,
): OldNode {
  const stays = nodeOf(config, node)?.peerUrl ?? ''
  if (leaving === undefined || leaving.peerUrls.includes(stays)) return { stop: null, fence: [] }
  const at = config.nodes.find(({ name, peerUrl }) => name !== node && leaving.peerUrls.includes(peerUrl))
  const found = survey.find((one) => one.node === at?.name)
  if (found?.reached !== true) {
    return { stop: null, fence: leaving.peerUrls.map((peerUrl) => ({ name: leaving.name, peerUrl })) }
  }
  const pods = [API_SERVER, ETCD].filter((pod) => found.staticPods.includes(pod))
  if (!pods.includes(ETCD)) {
    if (found.etcdPids.length === 0) return { stop: null, fence: [] }
    throw unfit(
      found,
      `an etcd runs there (process ${found.etcdPids.join(', ')}) and no manifest of it is in ${config.etcd.manifests}.`,
      'Find out what starts it, and stop it there.',
    )
  }
  return { stop: { node: found.node, pods, dataDir: found.dataDir.path }, fence: [] }
}
