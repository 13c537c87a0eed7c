import { atConsole } from '../../lab/hosts/console.ts'
import { CORRUPT_DATABASE, WIPE_DATA } from '../../lab/hosts/faults/etcd-damage.ts'
import type { Lab } from '../../lab/lab.ts'
import { backupScheduleId } from '../../domain/messages.ts'
import { BucketAdmin } from '../lab/bucket-admin.ts'
import { everyHost, wakeUp, type OwnLab } from '../lab/use-lab.ts'

/** What is broken before a runbook begins. */
export type Broken = 'nothing' | 'cp-02' | 'quorum'

const BASE = '/var/lib/lab-base'

const STOP = `
  systemctl stop kubelet
  systemctl stop 'static-pod-*' 'requorum-*' || true`

/** A healthy cluster with one proved backup, and the way back to it from whatever a case left. */
export class BaseState {
  readonly #own: OwnLab
  readonly #bucket: BucketAdmin
  readonly #versions: ReadonlySet<string>

  private constructor(own: OwnLab, bucket: BucketAdmin, versions: ReadonlySet<string>) {
    this.#own = own
    this.#bucket = bucket
    this.#versions = versions
  }

  /** Keeps the lab as it is. */
  static async keep(own: OwnLab): Promise<BaseState> {
    const { lab } = own
    await everyHost(lab, (host) =>
      atConsole(
        lab.hosts,
        host,
        `${STOP}
         rm -rf ${BASE} && mkdir -p ${BASE}
         cp -a /etc/kubernetes ${BASE}/kubernetes
         cd /var/lib && cp -a etcd* ${BASE}/`,
      ),
    )
    const bucket = await BucketAdmin.of(lab)
    const versions = (await bucket.versions('')).map(({ versionId }) => versionId)
    return new BaseState(own, bucket, new Set(versions))
  }

  /** Nodes, store and schedule as they were, except for what is to be broken. */
  async putBack(broken: Broken): Promise<void> {
    const { lab, operator } = this.#own
    await everyHost(lab, (host) =>
      atConsole(
        lab.hosts,
        host,
        `${STOP}
         rm -rf /var/lib/etcd* /var/lib/requorum /var/log/pods/*
         cp -a ${BASE}/etcd* /var/lib/
         rm -rf /etc/kubernetes/manifests
         cp -a ${BASE}/kubernetes/manifests /etc/kubernetes/
         ${damage(broken, host)}`,
      ),
    )
    for (const { key, versionId } of await this.#bucket.versions('')) {
      if (!this.#versions.has(versionId)) await this.#bucket.remove(key, versionId)
    }
    await operator.client.schedule.getHandle(backupScheduleId(lab.name)).unpause('the sweep')
    if (broken === 'quorum') await startKubelets(lab)
    else await wakeUp(lab)
  }
}

export function startKubelets(lab: Lab): Promise<unknown> {
  return everyHost(lab, (host) => atConsole(lab.hosts, host, 'systemctl start kubelet'))
}

/** Two directories are emptied and the third can't be read; or only one is emptied, and two hold the quorum. */
function damage(broken: Broken, host: string): string {
  if (broken === 'nothing') return ''
  if (broken === 'cp-02') return host === 'cp-02' ? WIPE_DATA : ''
  return host === 'cp-01' ? CORRUPT_DATABASE : WIPE_DATA
}
