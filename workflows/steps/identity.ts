import { workflowInfo } from '@temporalio/workflow'
import { RequorumError } from '../../domain/failures.ts'
import {
  drillWorkflowId,
  fenceCommand,
  fenceWorkflowId,
  recoveryWorkflowId,
  startDrillCommand,
} from '../../domain/messages.ts'
import { compactUtc, utcOfCompact } from '../../domain/values.ts'
import { refuseOtherWorkflowId } from './survey.ts'

/** By what a recovery is known outside of Temporal. */
export interface RecoveryIdentity {
  /** Names its directories, units and receipts on the nodes: start time and run. */
  readonly recovery: string
  /** Who holds the locks on the nodes. */
  readonly owner: string
}

/**
 * Both are of the original run: after a reset it is still the same recovery, with the same directories and lock.
 *
 * @param command - what starts this recovery under the right ID
 * @throws RequorumError `wrong-workflow-id`
 */
export function recoveryIdentity(cluster: string, command: string): RecoveryIdentity {
  refuseOtherWorkflowId(workflowInfo().workflowId, recoveryWorkflowId(cluster), cluster, command)
  return identityOfRun()
}

/**
 * The same of a drill, which is no recovery and starts one.
 *
 * @throws RequorumError `wrong-workflow-id` where `requorum approve` would not find it
 */
export function drillIdentity(cluster: string): RecoveryIdentity {
  const { workflowId } = workflowInfo()
  const expected = drillWorkflowId(cluster)
  // A schedule appends its time.
  if (workflowId !== expected && !/^-\d{4}-\d\d-\d\dT/.test(workflowId.slice(expected.length))) {
    throw new RequorumError('wrong-workflow-id', {
      what: `A drill of ${cluster} runs under the workflow ID ${expected}, not ${workflowId}. Nothing was done.`,
      why: 'by this ID those who have to consent find it',
      todo: startDrillCommand(cluster),
    })
  }
  return identityOfRun()
}

function identityOfRun(): RecoveryIdentity {
  const { workflowId, originalExecutionRunId: runId, startTime } = workflowInfo()
  return { recovery: named(startTime, runId), owner: `${workflowId}/${runId}` }
}

/** Another recovery within the same run: what the one before left on the nodes keeps its names, which tell seconds apart. */
export function recoveryAfter(before: string): string {
  const next = Date.parse(utcOfCompact(before.slice(0, before.indexOf('-')))) + 1_000
  return named(new Date(Math.max(Date.now(), next)), workflowInfo().originalExecutionRunId)
}

function named(time: Date, runId: string): string {
  return `${compactUtc(time)}-${runId.slice(-8)}`
}

/** One fence for each cluster: two would stop one another's. @throws RequorumError `wrong-workflow-id` */
export function refuseOtherFenceId(cluster: string): void {
  const { workflowId } = workflowInfo()
  if (workflowId === fenceWorkflowId(cluster)) return
  throw new RequorumError('wrong-workflow-id', {
    what: `The fence of ${cluster} runs under the workflow ID ${fenceWorkflowId(cluster)}, not ${workflowId}. Nothing was done.`,
    why: 'one ID for each cluster is how a further restore finds it',
    todo: fenceCommand(cluster),
  })
}
