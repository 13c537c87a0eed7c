import { clusterDomain } from '../../../domain/validation/canary.ts'
import type { ControlPlaneNode } from '../../node/control-plane-node.ts'
import { mustKubectl } from '../kubectl.ts'

/** What the canary needs of the cluster around it. */
export interface Surroundings {
  /** The image that CoreDNS runs with. */
  readonly image: string | null
  /** Where pods ask for names. */
  readonly dnsServer: string | null
  readonly domain: string
}

/** Reads them from kube-system, where kubeadm puts them; null for what isn't there. @throws `api-unavailable` */
export async function readSurroundings(at: ControlPlaneNode, signal: AbortSignal): Promise<Surroundings> {
  const get = async (kind: string, name: string, field: string): Promise<string> => {
    const args = ['get', kind, name, '--namespace=kube-system', '--ignore-not-found']
    return (await mustKubectl(at, [...args, `--output=jsonpath=${field}`], { signal })).trim()
  }
  const [image, dnsServer, corefile] = await Promise.all([
    get('deployment', 'coredns', '{.spec.template.spec.containers[0].image}'),
    get('service', 'kube-dns', '{.spec.clusterIP}'),
    get('configmap', 'coredns', '{.data.Corefile}'),
  ])
  return { image: image || null, dnsServer: dnsServer || null, domain: clusterDomain(corefile) }
}
