import type { ClusterConfig } from './cluster-config.ts'

/** `etcdctl` as it is typed on a node, word by word: with the node's own certificates, asking its own member. */
export function etcdctlWords({ etcdctl, clientUrl, caCert, cert, key }: ClusterConfig['etcd']): string[] {
  return [etcdctl, `--endpoints=${clientUrl}`, `--cacert=${caCert}`, `--cert=${cert}`, `--key=${key}`]
}
