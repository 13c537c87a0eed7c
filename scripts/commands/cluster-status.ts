import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError, type FailureCode } from '../../domain/failures.ts'
import { backupScheduleId, fenceWorkflowId, recoveryWorkflowId } from '../../domain/messages.ts'
import type { Progress } from '../../domain/progress.ts'
import type { RecoveryVerdict } from '../../domain/recovery-verdict.ts'
import type { EngineConnection } from '../../workers/connection.ts'
import { loadCluster } from '../../workers/home.ts'
import { readCatalogue } from './catalogue.ts'
import { asRequorumError } from './command.ts'
import type { Recovery } from './recovery.ts'
import type { KnownRun, Run } from './runs.ts'
import type { ScheduleView } from './schedule-view.ts'
import { snapshotJson } from './snapshots.ts'

/** What could be learned, or why it could not. */
export type Learned<Value> =
  { readonly known: Value } | { readonly unknown: { code: FailureCode; what: string } }

export interface RunStatus {
  readonly run: Run
  /** Null when it isn't running, or when nobody answers for it: then `silence` says why. */
  readonly progress: Progress | null
  readonly silence: string | null
}

export interface RecoveryStatus extends RunStatus {
  /** How the last one ended, while no other runs; null when it came to no verdict. */
  readonly verdict: RecoveryVerdict | null
  /** Why it came to none. */
  readonly failure: RequorumError | null
  /** Then, the newest one before it that did: a slip of the hand does not hide what was done to the cluster. */
  readonly before: { readonly run: KnownRun; readonly verdict: RecoveryVerdict } | null
}

export interface ClusterStatus {
  readonly cluster: string
  readonly config: Learned<ClusterConfig>
  readonly recovery: Learned<RecoveryStatus>
  /** Nodes that a restore went on without; a run only while it watches for them. Missing where nobody could look. */
  readonly fence?: RunStatus
  /** `known: null`: none is being held. */
  readonly drill: Learned<RunStatus | null>
  /** `known: null`: there is no schedule. */
  readonly schedule: Learned<ScheduleView | null>
  /** `known: null`: there is no proved snapshot. */
  readonly snapshot: Learned<ReturnType<typeof snapshotJson> | null>
  /** What somebody should look at although nothing failed. */
  readonly warnings: readonly string[]
}

const STORE_TIMEOUT_MS = 15_000
/** A backup takes its time, and starts within the jitter: later than this after its turn it is late. */
const LATE_AFTER_MS = 3_600_000

/** Never throws for what it looks at: at 02:14 half of it doesn't answer, and the other half is wanted. */
export async function clusterStatus(
  home: string,
  cluster: string,
  engine: Learned<EngineConnection>,
): Promise<ClusterStatus> {
  const config = await learn(() => loadCluster(home, cluster))
  if ('unknown' in config) {
    const { unknown } = config
    return {
      cluster,
      config,
      recovery: { unknown },
      drill: { unknown },
      schedule: { unknown },
      snapshot: { unknown },
      warnings: [],
    }
  }
  const [recovery, fence, drill, schedule, snapshot] = await Promise.all([
    withEngine(engine, (connection) => recoveryStatus(connection, cluster)),
    withEngine(engine, (connection) => fenceStatus(connection, cluster)),
    withEngine(engine, (connection) => drillStatus(connection, cluster)),
    withEngine(engine, (connection) => scheduleStatus(connection, cluster)),
    learn(() => newestSnapshot(home, cluster)),
  ])
  return {
    cluster,
    config,
    recovery,
    ...('known' in fence ? { fence: fence.known } : {}),
    drill,
    schedule,
    snapshot,
    warnings: warningsOf(config.known, recovery, schedule, snapshot, Date.now()),
  }
}

export async function learn<Value>(look: () => Promise<Value>): Promise<Learned<Value>> {
  try {
    return { known: await look() }
  } catch (error) {
    const { code, text } = await asRequorumError(error)
    return {
      unknown: {
        code,
        what: text.why === undefined ? text.what : `${text.what} ${text.why.replaceAll('\n', ' ')}`,
      },
    }
  }
}

async function withEngine<Value>(
  engine: Learned<EngineConnection>,
  look: (engine: EngineConnection) => Promise<Value>,
): Promise<Learned<Value>> {
  return 'known' in engine
    ? learn(() => look(engine.known))
    : { unknown: { ...engine.unknown, what: 'the engine does not answer' } }
}

async function recoveryStatus(engine: EngineConnection, cluster: string): Promise<RecoveryStatus> {
  const { askProgress, lookAtRun } = await import('./runs.ts')
  const run = await lookAtRun(engine, recoveryWorkflowId(cluster))
  const nothing = { progress: null, silence: null, verdict: null, failure: null, before: null }
  if (run.state === 'absent') return { ...nothing, run }
  if (run.state === 'running') return { ...nothing, run, ...(await askProgress(engine, run)) }
  try {
    return { ...nothing, run, verdict: await verdictOf(engine, run) }
  } catch (error) {
    // Without its history there is no telling; what else is known is wanted all the same.
    const [failure, before] = await Promise.all([asRequorumError(error), newestVerdict(engine, run)])
    return { ...nothing, run, failure, before }
  }
}

function verdictOf(engine: EngineConnection, { workflowId, runId }: KnownRun): Promise<RecoveryVerdict> {
  return engine.client.workflow.getHandle<Recovery>(workflowId, runId).result()
}

async function newestVerdict(
  engine: EngineConnection,
  { workflowId }: KnownRun,
): Promise<RecoveryStatus['before']> {
  const { newestCompleted } = await import('./runs.ts')
  const run = await newestCompleted(engine, workflowId)
  return run === null ? null : { run, verdict: await verdictOf(engine, run) }
}

async function fenceStatus(engine: EngineConnection, cluster: string): Promise<RunStatus> {
  const { askProgress, lookAtRun } = await import('./runs.ts')
  const run = await lookAtRun(engine, fenceWorkflowId(cluster))
  const told = run.state === 'running' ? await askProgress(engine, run) : { progress: null, silence: null }
  return { run, ...told }
}

async function drillStatus(engine: EngineConnection, cluster: string): Promise<RunStatus | null> {
  const { runningDrill } = await import('./drill-run.ts')
  const { askProgress } = await import('./runs.ts')
  const run = await runningDrill(engine, cluster)
  return run === null ? null : { run, ...(await askProgress(engine, run)) }
}

async function scheduleStatus(engine: EngineConnection, cluster: string): Promise<ScheduleView | null> {
  const { describeSchedule, viewOf } = await import('./schedule-view.ts')
  const found = await describeSchedule(engine, backupScheduleId(cluster))
  return found === null ? null : viewOf(engine, found, 1)
}

async function newestSnapshot(
  home: string,
  cluster: string,
): Promise<ReturnType<typeof snapshotJson> | null> {
  const catalogue = await within(STORE_TIMEOUT_MS, readCatalogue(home, cluster))
  const [newest] = catalogue.proved
  return newest === undefined ? null : snapshotJson(newest)
}

async function within<Value>(limitMs: number, work: Promise<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(
        new RequorumError('store-unreachable', {
          what: `The store did not answer within ${limitMs / 1_000} s.`,
          todo: 'Try again with `requorum snapshots`.',
        }),
      )
    }, limitMs)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

function warningsOf(
  config: ClusterConfig,
  recovery: ClusterStatus['recovery'],
  schedule: ClusterStatus['schedule'],
  snapshot: ClusterStatus['snapshot'],
  now: number,
): string[] {
  const warnings: string[] = []
  const recovers = !('known' in recovery) || recovery.known.run.state === 'running'
  if ('known' in schedule && schedule.known === null) {
    warnings.push(`no backup schedule: make it with \`requorum schedule apply ${config.cluster}\``)
  }
  if ('known' in schedule && schedule.known?.paused && !recovers) {
    warnings.push('the backup schedule is paused although no recovery is running')
  }
  if ('known' in snapshot && snapshot.known === null) {
    warnings.push('there is no proved snapshot to restore from')
  }
  if ('known' in snapshot && snapshot.known !== null) {
    const late =
      now - Date.parse(snapshot.known.takenAt) > config.backup.every + config.backup.jitter + LATE_AFTER_MS
    if (late) warnings.push('the newest proved snapshot is older than the schedule allows')
  }
  return warnings
}
