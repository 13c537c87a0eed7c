import { atConsole } from './console.ts'
import type { LabHosts } from './lab-hosts.ts'

const PKI = '/etc/kubernetes/pki/etcd'

/** etcdctl as it is typed at a host's console, asking the host's own member. */
export const ETCDCTL = `etcdctl --cacert=${PKI}/ca.crt --cert=${PKI}/healthcheck-client.crt --key=${PKI}/healthcheck-client.key`

/** The host whose member leads, as the members tell. @throws Error when nobody does. */
export async function leader(lab: LabHosts): Promise<string> {
  for (const { name } of lab.hosts) {
    const status = await atConsole(lab, name, `${ETCDCTL} endpoint status --write-out=fields`).catch(
      () => null,
    )
    const value = (field: string) => new RegExp(`"${field}" : (\\d+)`).exec(status?.stdout ?? '')?.[1]
    if (status !== null && value('Leader') === value('MemberID')) return name
  }
  throw new Error('No member of the lab says that it leads. Look at it: requorum lab status.')
}
