import { nodeOf, type ClusterConfig } from './cluster-config.ts'
import { manifestOfMember, readEtcdFlags, withFullMemberList } from './etcd-manifest.ts'
import { FENCED_MANIFESTS } from './node-paths.ts'
import { API_SERVER, describeWith, ETCD, unfit, type PlannedNode } from './planned-node.ts'
import { hasFencedEtcd, reachedNodes, type NodeSurvey, type ReachedNode } from './survey.ts'

/** A node as a new member joins on it: with the manifest that its etcd will be started with. */
export interface JoiningNode extends PlannedNode {
  /** The directory from which the pods below are taken. */
  readonly from: string
  /** Of those pods, the ones that are stopped, or taken out of the fence; etcd's is not there on a node made anew. */
  readonly stopped: readonly string[]
  /** Where the manifest is from. */
  readonly origin: 'in place' | 'fenced' | { readonly madeFrom: string }
  /** Another member's, or this node's under another name: its text is in the plan. Null: the kept one gets the list. */
  readonly written: string | null
}

/**
 * Where the manifest of a joining member comes from: the kubelet's directory, the fenced one, or, for a node that was
 * made anew and holds neither manifest nor data, a helper's. `withFullMemberList` is applied to each.
 *
 * @param member - by what name and peer URL the cluster will know it; null for those of the node's own manifest.
 * @throws RequorumError `step-refused`, `etcd-output-unreadable`; nothing was touched
 */
export function joiningNode(
  config: ClusterConfig,
  survey: readonly NodeSurvey[],
  found: ReachedNode,
  helpers: readonly string[],
  member: { readonly name: string; readonly peerUrl: string } | null,
  listWith: (own: { readonly name: string; readonly peerUrl: string }) => string,
): JoiningNode {
  refuseStoppedKubelet(found)
  const own = found.etcdManifest ?? found.fenced?.etcdManifest ?? null
  if (own !== null) {
    const fenced = hasFencedEtcd(found)
    const flags = readEtcdFlags(own)
    const same = member === null || (member.name === flags.name && member.peerUrl === flags.peerUrl)
    const manifest = same
      ? withFullMemberList(own, listWith(flags))
      : manifestOfMember(own, member, listWith(member))
    return {
      ...describeWith(config, found, manifest),
      from: fenced ? FENCED_MANIFESTS : config.etcd.manifests,
      stopped: fenced
        ? inOrder(found.fenced?.pods ?? [])
        : found.staticPods.filter(isStopped).sort(apiServerFirst),
      origin: fenced ? 'fenced' : 'in place',
      written: same ? null : manifest,
    }
  }
  const { bytes, path } = found.dataDir
  if (bytes > 0) {
    throw unfit(
      found,
      `there is no etcd.yaml in ${config.etcd.manifests}, and ${path} holds a member's data.`,
      `If somebody moved the manifest away, move it back; etcd is stopped by itself. If it is gone for good, set the data aside, mv -T ${path} ${path}.old, and start again: then its manifest is made from another member's.`,
    )
  }
  if (found.etcdPids.length > 0) {
    throw unfit(
      found,
      `an etcd runs there (process ${found.etcdPids.join(', ')}) and no manifest of it is in ${config.etcd.manifests}.`,
      'Find out what starts it, and stop it there.',
    )
  }
  const helper = reachedNodes(survey).find(
    ({ node, etcdManifest }) => helpers.includes(node) && etcdManifest !== null,
  )
  if (helper === undefined || helper.etcdManifest === null) {
    throw unfit(
      found,
      `there is no etcd.yaml in ${config.etcd.manifests}, and no other member has one to make it from.`,
      `Put etcd.yaml there (kubeadm init phase etcd local) and start again.`,
    )
  }
  const joins = member ?? { name: found.node, peerUrl: nodeOf(config, found.node)?.peerUrl ?? '' }
  const manifest = manifestOfMember(helper.etcdManifest, joins, listWith(joins))
  return {
    ...describeWith(config, found, manifest),
    from: config.etcd.manifests,
    stopped: found.staticPods.filter((pod) => pod === API_SERVER),
    origin: { madeFrom: helper.node },
    written: manifest,
  }
}

/** Its etcd would never be started, and by then the old member would be removed. */
function refuseStoppedKubelet(found: ReachedNode): void {
  const kubelet = found.symptoms?.kubelet
  if (kubelet !== 'inactive' && kubelet !== 'failed') return
  throw unfit(
    found,
    `its kubelet is ${kubelet}, and would not start the new member.`,
    `On ${found.node}: systemctl start kubelet; then start again.`,
  )
}

/** This node's API server has only this node's etcd to ask, and would be put off for minutes after it crashed. */
function isStopped(pod: string): boolean {
  return pod === API_SERVER || pod === ETCD
}

function apiServerFirst(one: string, other: string): number {
  return Number(other === API_SERVER) - Number(one === API_SERVER)
}

/** All that was fenced comes back: the API server ends first, etcd last. */
function inOrder(pods: readonly string[]): string[] {
  return [...pods.filter((pod) => pod !== ETCD).sort(apiServerFirst), ...pods.filter((pod) => pod === ETCD)]
}
