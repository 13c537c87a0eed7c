import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { freshnessScheduleId, freshnessWorkflowId, type FreshnessRequest } from '../../domain/messages.ts'
import type { WantedSchedule } from './schedule-settings.ts'

/** A look that was missed is of no use any more when the next one is due. */
const CATCHUP_MS = 60_000
/** A look that takes longer would be started again by nobody: with overlap "skip" it would end the watch. */
const LIMIT_MS = 20 * 60_000

/** When it is looked whether backups are young enough. */
export function freshnessSchedule({ cluster, freshness, taskQueue }: ClusterConfig): WantedSchedule {
  const request: FreshnessRequest = { cluster }
  return {
    scheduleId: freshnessScheduleId(cluster),
    spec: { intervals: [{ every: freshness.every }] },
    policies: { overlap: 'SKIP', catchupWindow: CATCHUP_MS },
    action: {
      type: 'startWorkflow',
      workflowType: 'watchFreshness',
      workflowId: freshnessWorkflowId(cluster),
      taskQueue,
      args: [request],
      workflowExecutionTimeout: LIMIT_MS,
    },
  }
}
