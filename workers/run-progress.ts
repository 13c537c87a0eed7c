import type { Client } from '@temporalio/client'
import { PROGRESS_QUERY } from '../domain/messages.ts'
import type { Progress } from '../domain/progress.ts'

/** Without a worker a query is answered by nobody; longer than this nobody wants to look at a cursor. */
const QUERY_TIMEOUT_MS = 6_000

/** What a run tells of itself. Fails soon when no worker is there to answer. */
export function progressOf(
  client: Client,
  { workflowId, runId }: { readonly workflowId: string; readonly runId?: string },
): Promise<Progress> {
  return client.withDeadline(Date.now() + QUERY_TIMEOUT_MS, () =>
    client.workflow.getHandle(workflowId, runId).query<Progress>(PROGRESS_QUERY),
  )
}
