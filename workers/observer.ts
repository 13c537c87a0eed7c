import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, ScheduleSummary } from '@temporalio/client'
import type { Logger } from '@temporalio/common'
import type { Systems } from '../activities/systems.ts'
import { reasonOf } from '../domain/failures.ts'
import { whatRehearsalsSay } from '../domain/freshness.ts'
import { inParallel } from '../domain/in-parallel.ts'
import { drillWorkflowId, recoveryWorkflowId, SCHEDULE_IDS } from '../domain/messages.ts'
import { METRICS } from '../domain/metrics.ts'
import { secondsBetween } from '../domain/progress.ts'
import type { Metrics } from '../systems/metrics/metrics.ts'
import { readFreshness } from '../systems/object-store/attestations.ts'
import { exportNewest } from './measuring.ts'
import { progressOf } from './run-progress.ts'

const STORE_EVERY_MS = 300_000
const LOOK_EVERY_MS = 15_000
const AT_ONCE = 8

interface Observed {
  /** Names of all clusters that have a file. */
  readonly clusters: () => Promise<readonly string[]>
  readonly systems: Systems
  readonly engine: Client
  readonly metrics: Metrics
  readonly logger: Logger
}

/**
 * Looks at stores and engine again and again until it is told to stop, because what a worker remembers of its own work is
 * gone with it: a worker that was just started exports how old the newest snapshot is as well as one that took it.
 */
export async function observe(observed: Observed, stop: AbortSignal): Promise<void> {
  const looked = new Map<string, number>()
  /** A cluster whose file was just written is looked at soon. */
  const due = async (): Promise<string[]> => {
    const now = performance.now()
    const clusters = (await observed.clusters()).filter(
      (cluster) => now - (looked.get(cluster) ?? -Infinity) >= STORE_EVERY_MS,
    )
    for (const cluster of clusters) looked.set(cluster, now)
    return clusters
  }
  const looks = [() => lookAtEngine(observed), async () => lookAtStores(observed, await due())]
  await Promise.all(
    looks.map(async (look) => {
      while (!stop.aborted) {
        await look().catch((error: unknown) => {
          if (!stop.aborted) observed.logger.warn(`metrics: ${reasonOf(error)}`)
        })
        await sleep(LOOK_EVERY_MS, undefined, { signal: stop, ref: false }).catch(() => undefined)
      }
    }),
  )
}

/** How fresh the snapshots of each cluster are, from its store alone. */
async function lookAtStores(
  { systems, metrics }: Pick<Observed, 'systems' | 'metrics'>,
  clusters: readonly string[],
): Promise<void> {
  await inParallel(AT_ONCE, clusters, async (cluster) => {
    const config = await systems.loadCluster(cluster).catch(() => null)
    metrics.set(METRICS.clusterFileValid, { cluster }, config === null ? 0 : 1)
    if (config === null) return
    const { proved, rehearsed } = config.freshness
    metrics.set(METRICS.freshnessLimit, { cluster, of: 'proved' }, proved / 1_000)
    if (config.rehearsal.every !== 'never')
      metrics.set(METRICS.freshnessLimit, { cluster, of: 'rehearsed' }, rehearsed / 1_000)
    const asked = { now: systems.now(), trust: systems.trustFor(config) }
    const seen = await readFreshness(systems.storeFor(config), config, asked).catch(() => null)
    metrics.set(METRICS.storeReadable, { cluster }, seen === null ? 0 : 1)
    if (seen === null) return
    if (seen.newest !== null) exportNewest(metrics, cluster, seen.newest)
    const { failed, last } = whatRehearsalsSay(seen.rehearsals ?? [])
    metrics.set(METRICS.rehearsalFailed, { cluster }, failed === null ? 0 : 1)
    if (last !== null) metrics.set(METRICS.rehearsed, { cluster }, Date.parse(last.rehearsedAt) / 1_000)
  })
}

/** Who is waited for, and whether the schedules go on. */
async function lookAtEngine({
  clusters,
  engine,
  metrics,
}: Pick<Observed, 'clusters' | 'engine' | 'metrics'>): Promise<void> {
  const known = await clusters()
  try {
    const schedules = new Map<string, ScheduleSummary>()
    for await (const schedule of engine.schedule.list()) schedules.set(schedule.scheduleId, schedule)
    const waits = new Map<string, number[]>(known.map((cluster) => [cluster, []]))
    await inParallel(AT_ONCE, await recoveriesUnderWay(engine), async (workflowId) => {
      const cluster = known.find((one) =>
        [recoveryWorkflowId(one), drillWorkflowId(one)].includes(workflowId),
      )
      if (cluster !== undefined) waits.get(cluster)?.push(await waitOf(engine, workflowId))
    })
    for (const cluster of known) {
      const running = waits.get(cluster) ?? []
      metrics.set(METRICS.recoveryRunning, { cluster }, running.length)
      metrics.set(METRICS.checkpointWaiting, { cluster }, Math.max(0, ...running))
      for (const [schedule, idOf] of Object.entries(SCHEDULE_IDS)) {
        const found = schedules.get(idOf(cluster))
        if (found !== undefined) exportSchedule(metrics, { cluster, schedule }, found)
      }
    }
    metrics.set(METRICS.engineReachable, {}, 1)
  } catch (error) {
    // What was seen of the schedules stays as it was: a next run that has passed is overdue.
    metrics.set(METRICS.engineReachable, {}, 0)
    throw error
  }
}

function exportSchedule(
  metrics: Metrics,
  labels: { readonly cluster: string; readonly schedule: string },
  { state, info }: ScheduleSummary,
): void {
  const [next] = info.nextActionTimes
  const last = info.recentActions.at(-1)
  metrics.set(METRICS.schedulePaused, labels, state.paused ? 1 : 0)
  metrics.set(
    METRICS.scheduleNextRun,
    labels,
    state.paused || next === undefined ? 0 : next.getTime() / 1_000,
  )
  if (last !== undefined) metrics.set(METRICS.scheduleLastRun, labels, last.takenAt.getTime() / 1_000)
}

async function recoveriesUnderWay(engine: Client): Promise<string[]> {
  const found: string[] = []
  for (const prefix of [recoveryWorkflowId(''), drillWorkflowId('')]) {
    const query = `ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH '${prefix}'`
    for await (const { workflowId } of engine.workflow.list({ query })) found.push(workflowId)
  }
  return found
}

/** Seconds for which the run has been waiting for a person; 0 when it does not, or does not say. */
async function waitOf(engine: Client, workflowId: string): Promise<number> {
  try {
    const progress = await progressOf(engine, { workflowId })
    const asked =
      progress.waiting === null ? undefined : progress.steps.findLast((step) => step.state === 'running')
    return asked === undefined ? 0 : secondsBetween(asked.startedAt, new Date().toISOString())
  } catch {
    return 0
  }
}
