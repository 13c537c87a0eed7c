import { ScheduleNotFoundError, WorkflowNotFoundError, type Client } from '@temporalio/client'
import { RequorumError } from '../../domain/failures.ts'
import type { SeenSchedule } from '../../domain/freshness.ts'
import { backupScheduleId, backupWorkflowId, PAUSED_BY_RECOVERY } from '../../domain/messages.ts'

/** The backup schedule of a cluster, as a recovery needs it. */
export interface BackupSchedule {
  /** How it stands; null where there is none. */
  look(cluster: string): Promise<SeenSchedule>
  pause(cluster: string, why: string): Promise<{ paused: boolean; wasPaused: boolean }>
  resume(cluster: string, why: string): Promise<void>
  settle(
    cluster: string,
    limitMs: number,
    signal: AbortSignal,
  ): Promise<{ waitedFor: readonly string[]; cancelled: readonly string[] }>
}

const POLL_MS = 1_000

export function createBackupSchedule(client: Client): BackupSchedule {
  const handle = (cluster: string) => client.schedule.getHandle(backupScheduleId(cluster))

  async function scheduled(cluster: string): Promise<string[]> {
    try {
      const { info } = await handle(cluster).describe()
      return info.runningActions.map((action) => action.workflow.workflowId)
    } catch (error) {
      if (error instanceof ScheduleNotFoundError) return []
      throw error
    }
  }

  /** Those that the schedule knows, and those that somebody started by hand. */
  async function running(cluster: string): Promise<string[]> {
    const found = new Set(await scheduled(cluster))
    const own = backupWorkflowId(cluster)
    const query = `WorkflowType = 'backup' AND ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH '${own}'`
    for await (const { workflowId } of client.workflow.list({ query })) {
      // The schedule appends -<time> to the ID; `backup/prod-2` is another cluster's.
      if (/^($|\/|-\d{4}-\d\d-\d\dT)/.test(workflowId.slice(own.length))) found.add(workflowId)
    }
    return [...found]
  }

  return {
    async look(cluster) {
      try {
        const { state } = await handle(cluster).describe()
        return { paused: state.paused, note: state.note ?? '' }
      } catch (error) {
        if (error instanceof ScheduleNotFoundError) return null
        throw error
      }
    },

    async pause(cluster, why) {
      try {
        const { state } = await handle(cluster).describe()
        // A recovery's pause is not a person's: ours, seen again by a retry, or what a dead one left behind.
        const recoverys = state.note?.startsWith(PAUSED_BY_RECOVERY) === true
        if (!state.paused || (recoverys && state.note !== why)) await handle(cluster).pause(why)
        return { paused: true, wasPaused: state.paused && !recoverys }
      } catch (error) {
        if (error instanceof ScheduleNotFoundError) return { paused: false, wasPaused: false }
        throw error
      }
    },

    async resume(cluster, why) {
      await handle(cluster).unpause(why)
    },

    async settle(cluster, limitMs, signal) {
      const waitedFor = await running(cluster)
      const cancelled: string[] = []
      const deadline = Date.now() + limitMs
      for (;;) {
        const left = await running(cluster)
        if (left.length === 0) return { waitedFor, cancelled }
        signal.throwIfAborted()
        if (Date.now() > deadline + limitMs) {
          throw new RequorumError('backup-running', {
            what: `A backup of ${cluster} does not end: ${left.join(', ')}.`,
            why: `it was cancelled after ${limitMs / 1_000} s and still runs as long again later`,
            todo: 'Look at it in the Temporal UI; terminate it there if its worker is gone.',
          })
        }
        for (const workflowId of Date.now() > deadline ? left : []) {
          if (cancelled.includes(workflowId)) continue
          cancelled.push(workflowId)
          try {
            await client.workflow.getHandle(workflowId).cancel()
          } catch (error) {
            if (!(error instanceof WorkflowNotFoundError)) throw error
          }
        }
        await new Promise((resolve) => setTimeout(resolve, POLL_MS))
      }
    },
  }
}
