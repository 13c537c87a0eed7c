import { RequorumError } from '../../domain/failures.ts'
import { apiServerAddress } from '../../domain/validation/api-servers.ts'
import type { ApiServersSeen } from '../../domain/validation/checks.ts'
import { readManifest } from '../node/certificates.ts'
import type { ControlPlaneNode } from '../node/control-plane-node.ts'
import { inOneLine } from '../node/health-check.ts'
import { mustKubectl } from './kubectl.ts'

/** One API server: the node whose manifest starts it, and where it listens, as `host:port`. */
export interface ApiServer {
  readonly at: ControlPlaneNode
  readonly node: string
  readonly address: string
}

export interface FoundApiServers extends Omit<ApiServersSeen, 'servers'> {
  readonly servers: readonly ApiServer[]
}

/** The API servers of a cluster, by the manifests on its nodes; in the order of the cluster file. */
export async function findApiServers(nodes: readonly ControlPlaneNode[]): Promise<FoundApiServers> {
  const servers: ApiServer[] = []
  const without: string[] = []
  const unreached: { node: string; reason: string }[] = []
  const looked = await Promise.allSettled(nodes.map((at) => readManifest(at, 'kube-apiserver')))
  for (const [index, manifest] of looked.entries()) {
    const at = nodes[index]
    if (at === undefined) continue
    const node = at.node.name
    if (manifest.status === 'rejected') unreached.push({ node, reason: inOneLine(manifest.reason) })
    else if (manifest.value === null) without.push(node)
    else servers.push({ at, node, address: apiServerAddress(manifest.value, at.node.address) })
  }
  return { servers, without, unreached }
}

/**
 * A node on which kubectl reaches the cluster, as its admin.conf says: the first by the cluster file's order.
 * What isn't asked of one API server in particular is asked from there.
 *
 * @throws RequorumError `api-unavailable` with the reason of every node.
 */
export async function nodeWithApi(
  nodes: readonly ControlPlaneNode[],
  signal: AbortSignal,
): Promise<ControlPlaneNode> {
  const { servers, unreached } = await findApiServers(nodes)
  const asked = await Promise.allSettled(
    servers.map(({ at }) => mustKubectl(at, ['get', '--raw=/version'], { signal })),
  )
  const first = asked.findIndex(({ status }) => status === 'fulfilled')
  const found = servers[first]
  if (found !== undefined) return found.at
  const reasons = [
    ...asked.flatMap((one) => (one.status === 'rejected' ? [inOneLine(one.reason)] : [])),
    ...unreached.map(({ node, reason }) => `${node}: ${reason}`),
  ]
  throw new RequorumError('api-unavailable', {
    what: 'No node reaches the API.',
    why: reasons.join('; ') || 'no node has a kube-apiserver manifest',
    todo: 'Look at the API servers: crictl ps -a --name kube-apiserver, on each control-plane node.',
  })
}
