import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CoordinationV1Api, KubeConfig, makeInformer, type V1Lease } from '@kubernetes/client-node'
import type { LabHosts } from '../lab-hosts.ts'

/** Leases of nodes: each kubelet renews its own every ten seconds, so time is seen to pass all the while. */
const NAMESPACE = 'kube-node-lease'
const PATH = `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases`
const RESTART_AFTER_MS = 1_000

/** What an informer was told, from its start to its end. */
export interface InformerLog {
  readonly events: number
  /** How often it listed anew: at its start, and when its watch was broken or its revision was gone. */
  readonly lists: number
  readonly firstRevision: bigint
  readonly lastRevision: bigint
  /** Revisions lower than one that it had been told before: time that went backwards. */
  readonly wentBack: readonly string[]
}

/**
 * An informer of the Kubernetes client library on the leases of the nodes, through the load balancer, as any
 * controller outside of the cluster has them. It runs until it is stopped, whatever becomes of the cluster.
 */
export async function startInformer(
  lab: Pick<LabHosts, 'dir'>,
): Promise<{ stop: () => Promise<InformerLog> }> {
  const config = new KubeConfig()
  config.loadFromFile(join(lab.dir, 'kubeconfig'))
  const api = config.makeApiClient(CoordinationV1Api)
  const seen = new Timeline()
  const informer = makeInformer(config, PATH, async () => {
    const list = await api.listNamespacedLease({ namespace: NAMESPACE })
    seen.list(list.metadata?.resourceVersion)
    return list
  })
  for (const verb of ['add', 'update', 'delete'] as const) {
    informer.on(verb, (lease: V1Lease) => seen.event(lease))
  }
  let stopped = false
  const restart = async (): Promise<void> => {
    await sleep(RESTART_AFTER_MS)
    if (!stopped) await informer.start().catch(() => restart())
  }
  // It gives up on an error; who uses it starts it again, as the library's own example does.
  informer.on('error', () => void restart())
  await informer.start()
  return {
    stop: async () => {
      stopped = true
      await informer.stop()
      return seen.log()
    },
  }
}

class Timeline {
  #events = 0
  #lists = 0
  #first: bigint | undefined
  #listed = 0n
  readonly #ofObject = new Map<string, bigint>()
  readonly #wentBack: string[] = []

  list(resourceVersion: string | undefined): void {
    this.#lists += 1
    const revision = BigInt(resourceVersion ?? '0')
    if (revision < this.#listed) this.#wentBack.push(`a list: ${this.#listed}, then ${revision}`)
    this.#listed = revision
    this.#first ??= revision
  }

  event({ metadata }: V1Lease): void {
    this.#events += 1
    const name = metadata?.name ?? ''
    const revision = BigInt(metadata?.resourceVersion ?? '0')
    const before = this.#ofObject.get(name) ?? 0n
    if (revision < before) this.#wentBack.push(`${name}: ${before}, then ${revision}`)
    this.#ofObject.set(name, revision)
  }

  log(): InformerLog {
    const last = [...this.#ofObject.values(), this.#listed].reduce(
      (high, one) => (one > high ? one : high),
      0n,
    )
    return {
      events: this.#events,
      lists: this.#lists,
      firstRevision: this.#first ?? 0n,
      lastRevision: last,
      wentBack: this.#wentBack,
    }
  }
}
