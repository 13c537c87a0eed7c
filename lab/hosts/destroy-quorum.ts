import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { atConsole } from './console.ts'
import { EtcdGateway } from './etcd-gateway.ts'
import { CORRUPT_DATABASE, KILL_ETCD, WIPE_DATA } from './faults/etcd-damage.ts'
import type { LabHosts } from './lab-hosts.ts'
import { writeLoad, type WriteLoadResult } from './write-load.ts'

export interface DestroyOptions {
  /**
   * Whose database and log are damaged; the others' data directories are emptied. The first host by
   * default. With another one the first host is emptied and falls into kubeadm's trap: its manifest
   * lists only itself, so it comes back as an empty cluster that says it is healthy.
   */
  readonly damaged?: string
  /** Writes under way while it happens; 200 a second by default. */
  readonly writesPerSecond?: number
}

export interface Destruction {
  readonly damaged: string
  readonly wiped: readonly string[]
  /** What was acknowledged up to the end. */
  readonly load: WriteLoadResult
  /** When the last member was killed. */
  readonly at: Date
}

/** How long the load runs before it happens, so that it hits a log that is being written. */
const LOAD_BEFORE_MS = 1_000

/**
 * Loses the quorum for good: two data directories are emptied, and in the third the database's
 * pages and the log are damaged, all under load and all at one moment, so that no member can help
 * another one back. Returns when no member of the old cluster answers any more.
 */
export async function destroyQuorum(lab: LabHosts, options: DestroyOptions = {}): Promise<Destruction> {
  const damaged = options.damaged ?? lab.hosts[0]?.name ?? ''
  const wiped = lab.hosts.map((host) => host.name).filter((name) => name !== damaged)
  const load = await writeLoad(lab, { perSecond: options.writesPerSecond ?? 200 })
  let at: Date
  try {
    await sleep(LOAD_BEFORE_MS)
    await atConsole(lab, damaged, CORRUPT_DATABASE)
    // All stand still before any of them is killed: one that came back while the others were
    // alive would get everything from them again.
    await everywhere(lab, 'pkill -STOP -x etcd || true')
    await Promise.all([
      atConsole(lab, damaged, CORRUPT_DATABASE),
      ...wiped.map((host) => atConsole(lab, host, WIPE_DATA)),
    ])
    await everywhere(lab, KILL_ETCD)
    at = new Date()
  } catch (error) {
    await load.stop()
    throw error
  }
  const result = await load.stop()
  await confirmLoss(lab, damaged)
  return { damaged, wiped, load: result, at }
}

async function everywhere(lab: LabHosts, script: string): Promise<void> {
  await Promise.all(lab.hosts.map((host) => atConsole(lab, host.name, script)))
}

/** @throws Error when the damaged member answers a linearizable read after all. */
async function confirmLoss(lab: LabHosts, damaged: string): Promise<void> {
  const gateway = await EtcdGateway.connect(
    lab,
    lab.hosts.filter((host) => host.name === damaged),
  )
  try {
    await gateway.call('/v3/kv/range', { key: 'AA==', keys_only: true }, z.unknown(), 2_000)
  } catch {
    return
  } finally {
    gateway.close()
  }
  throw new Error(`The quorum was to be lost, and etcd on ${damaged} still answers. Look at the lab by hand.`)
}
