import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'
import { atConsole } from '../../lab/hosts/console.ts'
import type { LabHost, LabHosts } from '../../lab/hosts/lab-hosts.ts'
import type { RestoreInput } from './restore-input.ts'

const SERVES_WITHIN_MS = 120_000
const POLL_MS = 100

/** Where a stopped node's manifests wait. */
const KEPT = '/var/lib/bench-manifests'

const STOP = `
  systemctl stop kubelet
  systemctl stop 'static-pod-*'
  mkdir -p ${KEPT}
  mv /etc/kubernetes/manifests/*.yaml ${KEPT}/
  programs='^([^ ]*/)?(etcd|kube-apiserver|kube-controller-manager|kube-scheduler) '
  pkill -KILL -f "$programs" || true
  while pgrep -f "$programs" >/dev/null; do sleep 0.1; done
  rm -rf /var/lib/etcd`

const COPY_AND_RESTORE = `
  cp "$1" "$1.copy"
  etcdutl snapshot restore "$1.copy" --name="$2" --initial-cluster="$3" --initial-cluster-token="$4" \\
    --initial-advertise-peer-urls="https://$5:2380" --data-dir=/var/lib/etcd >/dev/null 2>&1`

const START_KUBELET = 'systemctl start kubelet'
const PUT_ALL_BACK = `mv ${KEPT}/*.yaml /etc/kubernetes/manifests/`
const PUT_ETCD_BACK = `mv ${KEPT}/etcd.yaml /etc/kubernetes/manifests/`
const PUT_REST_BACK = `if ls ${KEPT}/*.yaml >/dev/null 2>&1; then mv ${KEPT}/*.yaml /etc/kubernetes/manifests/; fi`

export type FloorOrder = 'at once' | 'in order'

/** Ends the whole control plane on every node. This is not measured: a floor begins where nothing runs any more. */
export async function stopBare(lab: LabHosts): Promise<void> {
  await Promise.all(lab.hosts.map(({ name }) => atConsole(lab, name, STOP)))
}

/**
 * Copy, restore and start on every node, in parallel, and nothing else: no survey, no journal, no receipts, no
 * checks, no barrier, no consent, no ssh, on nodes that stand still. Whatever restores this snapshot on these nodes
 * has to do at least this.
 *
 * `at once`: each node puts all of its manifests back and starts its kubelet as soon as it has restored. Members
 * that start at the same time may hold one another up (`--experimental-initial-corrupt-check`, 7 s for each peer).
 * `in order`: kubelets at once; etcd node after node, each when the one before serves its peers; then all other
 * manifests.
 */
export async function restoreBare(lab: LabHosts, input: RestoreInput, order: FloorOrder): Promise<void> {
  const restore = (host: LabHost, then: string): Promise<unknown> =>
    atConsole(lab, host.name, COPY_AND_RESTORE + then, [
      ...[input.snapshot, host.name, input.initialCluster, input.token, host.address],
    ])
  if (order === 'at once') {
    await Promise.all(lab.hosts.map((host) => restore(host, `\n${PUT_ALL_BACK}\n${START_KUBELET}`)))
    return
  }
  await Promise.all(lab.hosts.map((host) => restore(host, `\n${START_KUBELET}`)))
  for (const host of lab.hosts) {
    await atConsole(lab, host.name, PUT_ETCD_BACK)
    await untilServing(host)
  }
  await Promise.all(lab.hosts.map(({ name }) => atConsole(lab, name, PUT_REST_BACK)))
}

/** Until a member answers a TLS handshake at its peer port, which it does once its own check of its peers is over. */
async function untilServing(host: LabHost): Promise<void> {
  const limit = AbortSignal.timeout(SERVES_WITHIN_MS)
  while (!(await greets(host))) {
    await sleep(POLL_MS)
    limit.throwIfAborted()
  }
}

function greets(host: LabHost): Promise<boolean> {
  return new Promise((resolve) => {
    // Whose certificate it is doesn't matter here: nothing is sent.
    const socket = connect({ host: host.address, port: 2380, rejectUnauthorized: false })
    const finish = (greeted: boolean): void => {
      socket.destroy()
      resolve(greeted)
    }
    socket.setTimeout(500, () => {
      finish(false)
    })
    socket.once('secureConnect', () => {
      finish(true)
    })
    socket.once('error', () => {
      finish(false)
    })
  })
}
