import { nodeOf, type ClusterConfig } from './cluster-config.ts'
import { readEtcdFlags } from './etcd-manifest.ts'
import { RequorumError } from './failures.ts'
import { quote } from './node-actions.ts'
import type { ReplacePlan } from './replace-plan.ts'
import { staticPodFlags } from './static-pod-flags.ts'

/** A file that a member needs before it can join. */
export interface NeededFile {
  readonly path: string
  /** The host that the certificate in it has to be good for; null for keys, authorities and clients. */
  readonly host: string | null
}

/** What an etcd of this manifest, and whoever asks it, reads on its node. */
export function neededFiles(config: ClusterConfig, manifest: string): NeededFile[] {
  const flags = staticPodFlags(manifest)
  const { peerUrl } = readEtcdFlags(manifest)
  const host = /^https:\/\/\[?([^\]]+?)\]?:\d+$/.exec(peerUrl)?.[1] ?? null
  const named = (flag: string, of: string | null = null): NeededFile[] => {
    const path = flags?.get(flag)
    return path === undefined ? [] : [{ path, host: of }]
  }
  const all = [
    ...named('trusted-ca-file'),
    ...named('cert-file', host),
    ...named('key-file'),
    ...named('peer-trusted-ca-file'),
    ...named('peer-cert-file', host),
    ...named('peer-key-file'),
    ...[config.etcd.caCert, config.etcd.cert, config.etcd.key].map((path) => ({ path, host: null })),
  ]
  return all.filter(({ path }, index) => all.findIndex((one) => one.path === path) === index)
}

/** Refuses a node without them, with what to type to make them as kubeadm does. */
export function certificatesMissing(
  config: ClusterConfig,
  plan: ReplacePlan,
  faults: readonly string[],
): RequorumError {
  const { node } = plan
  const address = nodeOf(config, node)?.address ?? node
  const host = /^https?:\/\/\[?([^\]]+?)\]?:\d+$/.exec(plan.comes.peerUrl)?.[1] ?? address
  const authority = config.etcd.caCert
  const key = authority.replace(/\.crt$/, '.key')
  const directory = authority.slice(0, authority.lastIndexOf('/'))
  const helper = plan.add.actions[0]?.node ?? 'another node'
  const user = nodeOf(config, node)?.user ?? 'root'
  return new RequorumError('step-refused', {
    what: `${node}: certificates that its etcd needs are not there. Nothing was touched.`,
    why: faults.join('; '),
    todo: [
      'Make them with the authority of the others, then start again.',
      `On ${node}: mkdir -p ${quote(directory)}`,
      `On ${helper}: scp -p ${quote(authority)} ${quote(key)} ${user}@${address}:${quote(`${directory}/`)}`,
      `On ${node}:`,
      `cat >/root/etcd-certs.yaml <<END`,
      'apiVersion: kubeadm.k8s.io/v1beta3',
      'kind: InitConfiguration',
      `localAPIEndpoint: {advertiseAddress: "${host}"}`,
      `nodeRegistration: {name: "${plan.comes.name}"}`,
      '---',
      'apiVersion: kubeadm.k8s.io/v1beta3',
      'kind: ClusterConfiguration',
      'kubernetesVersion: $(kubeadm version -o short)',
      'END',
      'for of in server peer healthcheck-client; do kubeadm init phase certs etcd-$of --config /root/etcd-certs.yaml; done',
    ].join('\n'),
  })
}
