import { humanSeconds } from '../../domain/progress.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import type { LabProfile } from '../../lab/hosts/lab-hosts.ts'
import { findLab, labDown, labUp, type Lab } from '../../lab/lab.ts'
import { Operator } from '../../lab/operator.ts'
import { etcdVersion, type EtcdLine } from '../../lab/parts/parts.mjs'
import { stopWorker } from '../../lab/services/worker.ts'
import { say } from './telling.ts'

/**
 * The lab, healthy. One that an earlier drill left broken, or that has another profile or etcd, is taken down first: it has
 * nothing that anybody needs.
 */
export async function readyLab(profile: LabProfile, etcd: EtcdLine): Promise<Lab> {
  const started = Date.now()
  const left = await findLab()
  if (left !== undefined) {
    const trouble = await troubleWith(left, profile, etcd)
    if (trouble !== null) {
      say(`the lab that is up ${trouble}: taking it down`)
      await labDown({ name: left.name, say })
    }
    // A worker runs the code that it started with: the drill is of the code that is here now.
    await stopWorker(left.dir)
  }
  const lab = await labUp({ profile, etcd, say })
  say(`up after ${humanSeconds((Date.now() - started) / 1_000)}`)
  return lab
}

async function troubleWith(
  { hosts, ...lab }: Lab,
  profile: LabProfile,
  etcd: EtcdLine,
): Promise<string | null> {
  if (hosts.profile !== profile) return `has the profile ${hosts.profile}`
  if (hosts.etcdVersion !== etcdVersion(etcd)) return `has etcd ${hosts.etcdVersion}`
  return (await isHealthy({ ...lab, hosts })) ? null : 'is not healthy'
}

async function isHealthy(lab: Lab): Promise<boolean> {
  const operator = await Operator.of(lab)
  try {
    const recovery = await operator.client.workflow
      .getHandle(`recovery/${lab.name}`)
      .describe()
      .catch(() => null)
    if (recovery?.status.name === 'RUNNING') return false
    await readAll(lab.hosts)
    return true
  } catch {
    return false
  } finally {
    await operator.close()
  }
}
