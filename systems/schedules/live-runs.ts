import { WorkflowNotFoundError, type Client } from '@temporalio/client'

/** Whether the run that took a lock still goes on, by itself or as the run that a reset made of it. */
export interface LiveRuns {
  /** @param owner - workflow ID and run ID, as locks name it */
  isAlive(owner: string): Promise<boolean>
}

export function createLiveRuns(client: Client): LiveRuns {
  return {
    async isAlive(owner) {
      // Workflow IDs have slashes of their own.
      const at = owner.lastIndexOf('/')
      const workflowId = owner.slice(0, at)
      try {
        let runId = owner.slice(at + 1)
        for (;;) {
          const { status, raw } = await client.workflow.getHandle(workflowId, runId).describe()
          const next = raw.workflowExtendedInfo?.resetRunId ?? ''
          if (status.name === 'RUNNING' || next === '') return status.name === 'RUNNING'
          runId = next
        }
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return false
        throw error
      }
    },
  }
}
