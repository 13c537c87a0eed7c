import type { LabHost, LabHosts } from '../lab-hosts.ts'

/** kubeadm's default, and the tenth address in it is the cluster's DNS. */
export const SERVICE_NETWORK = '10.96.0.0/12'

/** The pods' addresses on one host: `10.244.<n>.0/24`, n counted from 1. */
export function podNetworkOf(lab: Pick<LabHosts, 'hosts'>, host: Pick<LabHost, 'name'>): string {
  return `10.244.${lab.hosts.findIndex(({ name }) => name === host.name) + 1}.0/24`
}
