import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { z } from 'zod'
import { TASK_QUEUE } from '../../domain/messages.ts'
import type { BackupVerdict } from '../../domain/verdict.ts'
import type { Lab } from '../../lab/lab.ts'
import { endOf, type Operator } from '../../lab/operator.ts'
import { findWorker } from '../../lab/services/worker.ts'
import { peakBytesDuring, residentBytes } from '../lab/memory.ts'
import { onBenchLab, tenths } from './bench-lab.ts'
import { usageDuring } from './usage.ts'

export interface FleetSpeed {
  /** Of the largest fleet. */
  readonly clusters: number
  readonly backupsPerMinute: number
  /** What the worker's peak grows by for each cluster, from the smallest fleet to the largest. */
  readonly bytesPerCluster: number
  readonly sizes: readonly Fleet[]
}

interface Fleet {
  readonly clusters: number
  /** From the first start to the last verdict; all are started at once. */
  readonly seconds: number
  readonly backupsPerMinute: number
  readonly workerPeakBytes: number
  readonly workerCpuSeconds: number
}

const clusterFile = z
  .object({
    store: z.looseObject({}),
    ssh: z.looseObject({}),
  })
  .loose()

/**
 * Backups of many cluster definitions through one worker, all started at the same moment. Each definition has its own
 * connections, prefix in the store and directory on the nodes; the machines behind them are the lab's three, so that the
 * figures show what one worker makes of many clusters, and not what many clusters do.
 *
 * @param sizes - how many clusters, from small to large
 */
export async function fleetSpeed(sizes: readonly number[], say: (line: string) => void): Promise<FleetSpeed> {
  return onBenchLab({ say }, async (lab, operator) => {
    const names = await defineClusters(lab, Math.max(...sizes))
    const worker = await findWorker(lab.dir)
    if (worker === undefined) throw new Error('The worker of the lab does not run.')
    say(`${names.length} clusters are defined; the worker has ${await residentBytes(worker)} bytes`)
    const measured: Fleet[] = []
    for (const size of sizes) {
      const { result, usage } = await usageDuring(
        () => Promise.resolve([worker]),
        () => peakBytesDuring(worker, () => backUp(operator, names.slice(0, size), size)),
      )
      const fleet = {
        clusters: size,
        seconds: tenths(result.seconds),
        backupsPerMinute: tenths((60 * size) / result.seconds),
        workerPeakBytes: result.peakBytes,
        workerCpuSeconds: tenths(usage.cpuSeconds),
      }
      say(`  ${size} clusters: ${fleet.seconds} s, ${fleet.backupsPerMinute} backups a minute`)
      measured.push(fleet)
    }
    const [first, last] = [measured[0], measured.at(-1)]
    if (first === undefined || last === undefined) throw new Error('No fleet was measured.')
    const more = Math.max(1, last.clusters - first.clusters)
    return {
      clusters: last.clusters,
      backupsPerMinute: last.backupsPerMinute,
      bytesPerCluster: Math.round((last.workerPeakBytes - first.workerPeakBytes) / more),
      sizes: measured,
    }
  })
}

async function defineClusters(lab: Lab, count: number): Promise<string[]> {
  const folder = join(lab.dir, 'clusters')
  const file = clusterFile.parse(parse(await readFile(join(folder, `${lab.name}.yaml`), 'utf8')))
  const names = Array.from({ length: count }, (_, index) => `fleet-${String(index + 1).padStart(3, '0')}`)
  for (const [index, cluster] of names.entries()) {
    const own = {
      ...file,
      cluster,
      store: { ...file.store, prefix: `${cluster}/` },
      backup: { directory: `/var/lib/etcd-backups/${cluster}`, keepLocal: 1 },
      // Connections are shared by clusters that connect in the same way, and no two do.
      ssh: { ...file.ssh, connectTimeout: `${60 + index}s` },
    }
    await writeFile(join(folder, `${cluster}.yaml`), stringify(own), { mode: 0o600 })
  }
  return names
}

async function backUp(operator: Operator, clusters: readonly string[], fleet: number): Promise<void> {
  const runs = await Promise.all(
    clusters.map((cluster) =>
      operator.client.workflow.start('backup', {
        taskQueue: TASK_QUEUE,
        workflowId: `backup/${cluster}/fleet-of-${fleet}`,
        args: [{ cluster }],
      }),
    ),
  )
  const ends = await Promise.all(runs.map((run) => endOf<BackupVerdict>(run)))
  const failed = ends.flatMap((end) => ('message' in end ? [end.message] : []))
  if (failed.length > 0)
    throw new Error(`${failed.length} of ${clusters.length} backups failed, the first: ${failed[0] ?? ''}`)
}
