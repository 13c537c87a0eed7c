import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { backupScheduleId, backupWorkflowId, type BackupRequest } from '../../domain/messages.ts'
import type { WantedSchedule } from './schedule-settings.ts'

/** The first retry's delay; Temporal doubles it each time. */
const RETRY_AFTER_MS = 60_000

/**
 * The schedule that a cluster's file asks for.
 *
 * A backup with all its retries ends after three times the limit of one transfer (save, upload and read-back
 * may each take one): with overlap "skip" a backup that hangs would keep all later ones from starting.
 */
export function backupSchedule(config: ClusterConfig): WantedSchedule {
  const { backup, cluster, limits, taskQueue } = config
  const request: BackupRequest = { cluster }
  return {
    scheduleId: backupScheduleId(cluster),
    spec: { intervals: [{ every: backup.every }], jitter: backup.jitter },
    policies: { overlap: 'SKIP', catchupWindow: backup.catchup },
    action: {
      type: 'startWorkflow',
      workflowType: 'backup',
      workflowId: backupWorkflowId(cluster),
      taskQueue,
      args: [request],
      retry: { maximumAttempts: 1 + backup.retries, initialInterval: RETRY_AFTER_MS },
      workflowExecutionTimeout: 3 * limits.transfer,
    },
  }
}
