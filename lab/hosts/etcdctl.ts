const PKI = '/etc/kubernetes/pki/etcd'

/** etcdctl as it is typed at a host's console, asking the host's own member. */
export const ETCDCTL = `etcdctl --cacert=${PKI}/ca.crt --cert=${PKI}/healthcheck-client.crt --key=${PKI}/healthcheck-client.key`
