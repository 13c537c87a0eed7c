import { PROGRESS_QUERY } from '../../domain/messages.ts'
import { secondsBetween, type Progress } from '../../domain/progress.ts'
import type { Lab } from '../../lab/lab.ts'
import type { Operator } from '../../lab/operator.ts'
import { findWorker } from '../../lab/services/worker.ts'
import { startBackup } from '../lab/backup-runs.ts'
import { fillTo } from '../lab/big-keyspace.ts'
import { idleBytes, peakBytesDuring } from '../lab/memory.ts'
import { standStill } from '../lab/use-lab.ts'
import { onBenchLab, tenths } from './bench-lab.ts'

const GIB = 1024 ** 3
/** The most that a relay may add to the worker's idle size, however large the snapshot is. */
const ALLOWED_BYTES = 150_000_000

export interface RelayMemory {
  /** Of the stored snapshot. */
  readonly bytes: number
  readonly idleBytes: number
  /** The larger of the two ways. */
  readonly peakBytes: number
  readonly peakUpBytes: number
  readonly peakDownBytes: number
  readonly allowedBytes: number
  readonly withinBound: boolean
  /** The relay alone, node to store. */
  readonly upSeconds: number
  /** The relay alone, store to all nodes at once, with the checks there. */
  readonly downSeconds: number
  readonly backupSeconds: number
}

/**
 * What a relay costs the real worker in memory: a real backup of an etcd of about `bytes` goes node to store,
 * and the staging of a real restore brings it store to three nodes at once. The peak is the kernel's own count
 * (VmHWM), so no moment is missed. Brings its own lab up and down.
 */
export async function relayMemory(bytes: number, say: (line: string) => void): Promise<RelayMemory> {
  const diskBytes = Math.max(2 * GIB, 10 * bytes)
  return onBenchLab({ say, cluster: { transfer: { way: 'relay' } }, diskBytes }, (lab, operator) =>
    measure(lab, operator, bytes, say),
  )
}

async function measure(
  lab: Lab,
  operator: Operator,
  bytes: number,
  say: (line: string) => void,
): Promise<RelayMemory> {
  const worker = await findWorker(lab.dir)
  if (worker === undefined) throw new Error('The worker of the lab does not run.')
  say(`Filling etcd with ${Math.round(bytes / 1024 ** 2)} MiB`)
  await fillTo(lab.hosts, bytes)
  const idle = await idleBytes(worker)

  say('Backing up: node to store')
  const backup = await peakBytesDuring(worker, async () => {
    const run = await startBackup({ lab, operator })
    return { workflowId: run.workflowId, ended: await run.ended }
  })
  const { ended, workflowId } = backup.result
  if (!('verdict' in ended)) throw new Error(`The backup failed: ${ended.message}`)
  const stored = await progressOf(operator, workflowId)
  report(stored, say)

  say('Staging for a restore: store to every node')
  await standStill(lab)
  const staging = await peakBytesDuring(worker, async () => {
    await operator.startRestore()
    return operator.untilCheckpoint('destroy', 1_800_000)
  })
  const waiting = staging.result
  if (waiting === undefined) {
    const failed = await operator.result()
    throw new Error(
      `The restore ended before it asked for consent. ${'message' in failed ? failed.message : ''}`,
    )
  }
  await operator.decide(waiting, 'refuse')
  await operator.result()
  const staged = await operator.progress()
  report(staged, say)

  const peakBytes = Math.max(backup.peakBytes, staging.peakBytes)
  return {
    bytes: ended.verdict.sizeBytes,
    idleBytes: idle,
    peakBytes,
    peakUpBytes: backup.peakBytes,
    peakDownBytes: staging.peakBytes,
    allowedBytes: ALLOWED_BYTES,
    withinBound: peakBytes - idle <= ALLOWED_BYTES,
    upSeconds: secondsOf(stored, 'Store it'),
    downSeconds: secondsOf(staged, 'Stage '),
    backupSeconds: tenths(backup.seconds),
  }
}

function progressOf(operator: Operator, workflowId: string): Promise<Progress> {
  return operator.client.workflow.getHandle(workflowId).query<Progress>(PROGRESS_QUERY)
}

function report({ steps }: Progress, say: (line: string) => void): void {
  for (const { title, startedAt, endedAt } of steps) {
    say(`  ${title}: ${tenths(secondsBetween(startedAt, endedAt ?? startedAt))} s`)
  }
}

function secondsOf({ steps }: Progress, title: string): number {
  const found = steps.find((step) => step.title.startsWith(title))
  if (found?.endedAt == null) throw new Error(`The run has no finished step "${title}".`)
  return tenths(secondsBetween(found.startedAt, found.endedAt))
}
