import {
  WorkflowNotFoundError,
  type WorkflowExecutionInfo,
  type WorkflowExecutionStatusName,
} from '@temporalio/client'
import { reasonOf } from '../../domain/failures.ts'
import type { Progress } from '../../domain/progress.ts'
import type { EngineConnection } from '../../workers/connection.ts'
import { progressOf } from '../../workers/run-progress.ts'

/** What can be seen of a run from outside. */
export type Run = AbsentRun | KnownRun

export interface AbsentRun {
  readonly state: 'absent'
  readonly workflowId: string
}

export interface KnownRun {
  readonly state: 'running' | 'ended'
  readonly workflowId: string
  readonly runId: string
  /** `COMPLETED`, `FAILED`, … as Temporal has it. */
  readonly status: WorkflowExecutionStatusName
  readonly taskQueue: string
  readonly startedAt: string
  readonly endedAt: string | null
}

export async function lookAtRun(engine: EngineConnection, workflowId: string): Promise<Run> {
  try {
    return knownRun(await engine.client.workflow.getHandle(workflowId).describe())
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return { state: 'absent', workflowId }
    throw error
  }
}

/** The newest run under this ID that came to a result; null when the engine remembers none. */
export async function newestCompleted(
  { client }: EngineConnection,
  workflowId: string,
): Promise<KnownRun | null> {
  const query = `WorkflowId = "${workflowId}" AND ExecutionStatus = "Completed"`
  for await (const found of client.workflow.list({ query, pageSize: 1 })) return knownRun(found)
  return null
}

function knownRun(found: Omit<WorkflowExecutionInfo, 'raw'>): KnownRun {
  return {
    state: found.status.name === 'RUNNING' || found.status.name === 'PAUSED' ? 'running' : 'ended',
    workflowId: found.workflowId,
    runId: found.runId,
    status: found.status.name,
    taskQueue: found.taskQueue,
    startedAt: found.startTime.toISOString(),
    endedAt: found.closeTime?.toISOString() ?? null,
  }
}

export type ProgressAnswer =
  | { readonly progress: Progress; readonly silence: null }
  | { readonly progress: null; readonly silence: string }

/** What the run tells of itself, or why it tells nothing: most often because no worker is there to answer. */
export async function askProgress(engine: EngineConnection, run: KnownRun): Promise<ProgressAnswer> {
  try {
    return { progress: await progressOf(engine.client, run), silence: null }
  } catch (error) {
    const silence = (await hasWorker(engine, run.taskQueue))
      ? reasonOf(error)
      : `no worker serves the task queue "${run.taskQueue}": start one with \`requorum up\``
    return { progress: null, silence }
  }
}

/** Whether a worker has asked this queue for work within the last minutes; true when that can't be told. */
export async function hasWorker(engine: EngineConnection, taskQueue: string): Promise<boolean> {
  try {
    const { pollers } = await engine.client.workflowService.describeTaskQueue({
      namespace: engine.namespace,
      taskQueue: { name: taskQueue },
    })
    return (pollers ?? []).length > 0
  } catch {
    return true
  }
}

/** The run in the Temporal UI, or null when there is none that we know of. */
export function uiLink(engine: EngineConnection, workflowId: string): string | null {
  return engine.uiUrl === null
    ? null
    : `${engine.uiUrl}/namespaces/${encodeURIComponent(engine.namespace)}/workflows/${encodeURIComponent(workflowId)}`
}
