import type { LabHost } from './lab-hosts.ts'

/** A member as kubeadm names it in --initial-cluster. */
export interface InitialMember {
  readonly name: string
  readonly peerUrl: string
}

export function peerUrl(host: Pick<LabHost, 'address'>): string {
  return `https://${host.address}:2380`
}

export function clientUrl(host: Pick<LabHost, 'address'>): string {
  return `https://${host.address}:2379`
}

/**
 * /etc/kubernetes/manifests/etcd.yaml as kubeadm 1.33 writes it for a stacked etcd (for etcd 3.6: 1.34): arguments in
 * the order of their names, no --initial-cluster-state on the node that began, because that is
 * what kubeadm leaves out when the member list is empty (kubernetes
 * cmd/kubeadm/app/phases/etcd/local.go, getEtcdCommand).
 *
 * @param joined - the member list when this node joined, itself included; empty for the first node
 * @param version - of the image, such as `3.5.16`
 */
export function etcdManifest(host: LabHost, joined: readonly InitialMember[], version: string): string {
  const initial = joined.length === 0 ? [{ name: host.name, peerUrl: peerUrl(host) }] : joined
  // What 3.6 took out of its experiments, kubeadm names by its new name there.
  const experimental = version.startsWith('3.5.')
  const command = [
    'etcd',
    `--advertise-client-urls=${clientUrl(host)}`,
    '--cert-file=/etc/kubernetes/pki/etcd/server.crt',
    '--client-cert-auth=true',
    '--data-dir=/var/lib/etcd',
    ...(experimental
      ? ['--experimental-initial-corrupt-check=true', '--experimental-watch-progress-notify-interval=5s']
      : ['--feature-gates=InitialCorruptCheck=true']),
    `--initial-advertise-peer-urls=${peerUrl(host)}`,
    `--initial-cluster=${initial.map((member) => `${member.name}=${member.peerUrl}`).join(',')}`,
    ...(joined.length === 0 ? [] : ['--initial-cluster-state=existing']),
    '--key-file=/etc/kubernetes/pki/etcd/server.key',
    `--listen-client-urls=https://127.0.0.1:2379,${clientUrl(host)}`,
    '--listen-metrics-urls=http://127.0.0.1:2381',
    `--listen-peer-urls=${peerUrl(host)}`,
    `--name=${host.name}`,
    '--peer-cert-file=/etc/kubernetes/pki/etcd/peer.crt',
    '--peer-client-cert-auth=true',
    '--peer-key-file=/etc/kubernetes/pki/etcd/peer.key',
    '--peer-trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt',
    '--snapshot-count=10000',
    '--trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt',
    ...(experimental ? [] : ['--watch-progress-notify-interval=5s']),
  ]
  return `apiVersion: v1
kind: Pod
metadata:
  annotations:
    kubeadm.kubernetes.io/etcd.advertise-client-urls: ${clientUrl(host)}
  creationTimestamp: null
  labels:
    component: etcd
    tier: control-plane
  name: etcd
  namespace: kube-system
spec:
  containers:
  - command:
${command.map((word) => `    - ${word}`).join('\n')}
    image: registry.k8s.io/etcd:${version}-0
    imagePullPolicy: IfNotPresent
    livenessProbe:
      failureThreshold: 8
      httpGet:
        host: 127.0.0.1
        path: /livez
        port: 2381
        scheme: HTTP
      initialDelaySeconds: 10
      periodSeconds: 10
      timeoutSeconds: 15
    name: etcd
    readinessProbe:
      failureThreshold: 3
      httpGet:
        host: 127.0.0.1
        path: /readyz
        port: 2381
        scheme: HTTP
      periodSeconds: 1
      timeoutSeconds: 15
    resources:
      requests:
        cpu: 100m
        memory: 100Mi
    startupProbe:
      failureThreshold: 24
      httpGet:
        host: 127.0.0.1
        path: /readyz
        port: 2381
        scheme: HTTP
      initialDelaySeconds: 10
      periodSeconds: 10
      timeoutSeconds: 15
    volumeMounts:
    - mountPath: /var/lib/etcd
      name: etcd-data
    - mountPath: /etc/kubernetes/pki/etcd
      name: etcd-certs
  hostNetwork: true
  priority: 2000001000
  priorityClassName: system-node-critical
  securityContext:
    seccompProfile:
      type: RuntimeDefault
  volumes:
  - hostPath:
      path: /etc/kubernetes/pki/etcd
      type: DirectoryOrCreate
    name: etcd-certs
  - hostPath:
      path: /var/lib/etcd
      type: DirectoryOrCreate
    name: etcd-data
status: {}
`
}
