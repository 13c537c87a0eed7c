import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { rehearseScheduleId, rehearseWorkflowId, type RehearseRequest } from '../../domain/messages.ts'
import type { WantedSchedule } from './schedule-settings.ts'

/** The worker's host may sleep over the hour at which it is due. */
const CATCHUP_MS = 12 * 3_600_000
/** All clusters' rehearsals on one host would want their memory at once. */
const MOST_JITTER_MS = 3_600_000

/** When the newest snapshot is restored for real; null where the cluster's file says never. */
export function rehearseSchedule({
  cluster,
  rehearsal,
  limits,
  taskQueue,
}: ClusterConfig): WantedSchedule | null {
  if (rehearsal.every === 'never') return null
  const request: RehearseRequest = { cluster }
  return {
    scheduleId: rehearseScheduleId(cluster),
    spec: { intervals: [{ every: rehearsal.every }], jitter: Math.min(MOST_JITTER_MS, rehearsal.every / 4) },
    policies: { overlap: 'SKIP', catchupWindow: CATCHUP_MS },
    action: {
      type: 'startWorkflow',
      workflowType: 'rehearse',
      workflowId: rehearseWorkflowId(cluster),
      taskQueue,
      args: [request],
      workflowExecutionTimeout: 3 * limits.transfer,
    },
  }
}
