import { ScheduleNotFoundError, type ScheduleDescription } from '@temporalio/client'
import type { EngineConnection } from '../../workers/connection.ts'
import { asRequorumError } from './command.ts'
import { failureLine } from '../terminal/failure.ts'
import { lookAtRun, type KnownRun } from './runs.ts'

/** A schedule as people ask about it. Times are ISO 8601 in UTC. */
export interface ScheduleView {
  readonly id: string
  readonly paused: boolean
  /** Who paused it and why, or what somebody noted. */
  readonly note: string | null
  readonly next: readonly string[]
  readonly running: readonly string[]
  /** Newest first. */
  readonly recent: readonly {
    readonly workflowId: string
    readonly takenAt: string
    readonly status: string
    /** In one line, why it failed. */
    readonly why: string | null
  }[]
  readonly taken: number
  readonly skippedBecauseOneRan: number
  readonly missed: number
}

export async function describeSchedule(
  engine: EngineConnection,
  scheduleId: string,
): Promise<ScheduleDescription | null> {
  try {
    return await engine.client.schedule.getHandle(scheduleId).describe()
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return null
    throw error
  }
}

/** @param recent how many of the last runs to look at; each costs a call. */
export async function viewOf(
  engine: EngineConnection,
  found: ScheduleDescription,
  recent: number,
): Promise<ScheduleView> {
  const last = found.info.recentActions.slice(-recent).reverse()
  return {
    id: found.scheduleId,
    paused: found.state.paused,
    note: found.state.note === undefined || found.state.note === '' ? null : found.state.note,
    next: found.state.paused ? [] : found.info.nextActionTimes.slice(0, 3).map((time) => time.toISOString()),
    running: found.info.runningActions.map((action) => action.workflow.workflowId),
    recent: await Promise.all(
      last.map(async ({ takenAt, action }) => {
        const run = await lookAtRun(engine, action.workflow.workflowId)
        const status = run.state === 'absent' ? 'forgotten' : run.status.toLowerCase().replaceAll('_', ' ')
        const why = run.state === 'ended' && run.status === 'FAILED' ? await whyItFailed(engine, run) : null
        return { workflowId: action.workflow.workflowId, takenAt: takenAt.toISOString(), status, why }
      }),
    ),
    taken: found.info.numActionsTaken,
    skippedBecauseOneRan: found.info.numActionsSkippedOverlap,
    missed: found.info.numActionsMissedCatchupWindow,
  }
}

async function whyItFailed(
  { client }: EngineConnection,
  { workflowId, runId }: KnownRun,
): Promise<string | null> {
  try {
    await client.workflow.getHandle(workflowId, runId).result()
    return null
  } catch (error) {
    return failureLine(await asRequorumError(error))
  }
}
