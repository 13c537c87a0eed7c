import { drillScheduleId, drillWorkflowId } from '../../domain/messages.ts'
import type { EngineConnection } from '../../workers/connection.ts'
import { lookAtRun, type KnownRun } from './runs.ts'
import { describeSchedule } from './schedule-view.ts'

/** The drill of a cluster that is being held, started by hand or by its schedule; null when none is. */
export async function runningDrill(engine: EngineConnection, cluster: string): Promise<KnownRun | null> {
  const scheduled = await describeSchedule(engine, drillScheduleId(cluster))
  const started = scheduled?.info.runningActions.map(({ workflow }) => workflow.workflowId) ?? []
  for (const workflowId of [drillWorkflowId(cluster), ...started]) {
    const run = await lookAtRun(engine, workflowId)
    if (run.state === 'running') return run
  }
  return null
}
