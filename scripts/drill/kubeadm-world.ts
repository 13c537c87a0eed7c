import { startInformer } from '../../lab/hosts/kubeadm/informer.ts'
import { askShop, openShop, placeOrder, shopStock } from '../../lab/hosts/kubeadm/workload.ts'
import type { Lab } from '../../lab/lab.ts'
import type { DrillFindings } from './report.ts'
import type { World } from './world.ts'

const LATE_ORDER = 'order-after-the-backup'

/** A whole control plane with a workload on it, and an informer outside that sees all of it happen. */
export class KubeadmWorld implements World {
  readonly #lab: Lab
  #stock: readonly string[] = []
  #informer: Awaited<ReturnType<typeof startInformer>> | undefined

  constructor(lab: Lab) {
    this.#lab = lab
  }

  async fill(): Promise<void> {
    await openShop(this.#lab.hosts)
    this.#informer = await startInformer(this.#lab.hosts)
  }

  async remember(): Promise<void> {
    this.#stock = (await shopStock(this.#lab.hosts)).filter((name) => !name.endsWith(LATE_ORDER))
  }

  async writeOn(): Promise<string> {
    await placeOrder(this.#lab.hosts, LATE_ORDER)
    return 'one order of a customer'
  }

  async findings(): Promise<DrillFindings> {
    const { hosts } = this.#lab
    const answered = await askShop(hosts)
    const now = await shopStock(hosts)
    const missing = this.#stock.filter((name) => !now.includes(name))
    const log = await this.#informer?.stop()
    this.#informer = undefined
    return [
      {
        claim: 'the Deployment that was made before the snapshot serves, asked from every host',
        holds: answered.length === hosts.hosts.length,
        saw: `answers on ${answered.join(', ') || 'no host'}`,
      },
      {
        claim: 'every ConfigMap and Secret from before the snapshot is back',
        holds: missing.length === 0,
        saw: `${this.#stock.length - missing.length} of ${this.#stock.length}`,
      },
      {
        claim: 'what was written after the snapshot is gone, as the plan said',
        holds: !now.some((name) => name.endsWith(LATE_ORDER)),
        saw: `${LATE_ORDER} ${now.some((name) => name.endsWith(LATE_ORDER)) ? 'is still there' : 'is gone'}`,
      },
      {
        claim: 'an informer that ran all the while saw no time going backwards',
        holds: log !== undefined && log.lists > 1 && log.wentBack.length === 0,
        saw:
          log === undefined
            ? 'it did not run'
            : log.wentBack.join('; ') ||
              `${log.events} events and ${log.lists} lists, revision ${log.firstRevision} to ${log.lastRevision}`,
      },
    ]
  }

  async close(): Promise<void> {
    await this.#informer?.stop()
  }
}
