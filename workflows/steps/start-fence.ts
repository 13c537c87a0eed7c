import { getExternalWorkflowHandle, ParentClosePolicy, startChild } from '@temporalio/workflow'
import { FENCE_ALSO_SIGNAL, fenceWorkflowId, type FenceRequest } from '../../domain/messages.ts'
import { fenceOf, type RestorePlan } from '../../domain/restore-plan.ts'
import type { ProvedSnapshot } from '../../domain/snapshot.ts'
import type { fence } from '../fence.ts'
import { utcNow, type Run } from './run.ts'

/** Has the nodes that the restore went on without watched from here on, also when this run has ended. */
export async function startFence(run: Run, plan: RestorePlan, snapshot: ProvedSnapshot): Promise<void> {
  const nodes = fenceOf(plan).map(({ node }) => node)
  if (nodes.length === 0) return
  const workflowId = fenceWorkflowId(plan.cluster)
  const request: FenceRequest = {
    cluster: plan.cluster,
    nodes,
    previousClusterId: snapshot.etcd.clusterId,
    since: utcNow(),
  }
  await run.step(
    `Keep the old members of ${nodes.join(', ')} from starting when they come back`,
    async () => {
      try {
        await startChild<typeof fence>('fence', {
          workflowId,
          args: [request],
          parentClosePolicy: ParentClosePolicy.ABANDON,
          staticSummary: `Fence of ${plan.cluster}: ${nodes.join(', ')}`,
        })
      } catch (error) {
        // That of an earlier restore still watches.
        if (!(error instanceof Error) || error.name !== 'WorkflowExecutionAlreadyStartedError') throw error
        await getExternalWorkflowHandle(workflowId).signal(FENCE_ALSO_SIGNAL, request)
      }
    },
    () => workflowId,
  )
}
