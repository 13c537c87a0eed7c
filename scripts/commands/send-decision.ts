import { setTimeout as sleep } from 'node:timers/promises'
import {
  isGrpcServiceError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  WorkflowUpdateStage,
} from '@temporalio/client'
import { excerpt, type Answer, type Decision } from '../../domain/consent.ts'
import { reasonOf } from '../../domain/failures.ts'
import { DECIDE_NOW_UPDATE, DECIDE_SIGNAL } from '../../domain/messages.ts'
import type { Progress } from '../../domain/progress.ts'
import type { EngineConnection } from '../../workers/connection.ts'
import { askProgress, type KnownRun } from './runs.ts'

/** How long a worker may take to take in an Update before the decision goes as a Signal, which waits for one. */
const UPDATE_TIMEOUT_MS = 10_000
/** How long the proof may take to be checked, or a Signal to be counted, before we stop looking. */
const COUNT_TIMEOUT_MS = 20_000

/** What became of a decision; null when it is not known. */
export type Sent =
  | { readonly counted: true; readonly progress: Progress | null }
  | { readonly counted: false; readonly because: string }
  | { readonly counted: null; readonly because: string }

/**
 * Sends a decision by Update, which says what became of it; by Signal when no worker takes the Update in.
 * Should both arrive, the second changes nothing and is recorded so.
 */
export async function sendDecision(
  engine: EngineConnection,
  run: KnownRun,
  decision: Decision,
  before: Progress,
  say: (line: string) => void,
): Promise<Sent> {
  const { client } = engine
  const handle = client.workflow.getHandle(run.workflowId, run.runId)
  try {
    const update = await client.withDeadline(Date.now() + UPDATE_TIMEOUT_MS, () =>
      handle.startUpdate<Answer, [Decision]>(DECIDE_NOW_UPDATE, {
        args: [decision],
        waitForStage: WorkflowUpdateStage.ACCEPTED,
      }),
    )
    const answer = await client
      .withDeadline(Date.now() + COUNT_TIMEOUT_MS, () => update.result())
      .catch(unanswered)
    if (answer === null) return { counted: null, because: 'its proof is still being checked' }
    if (!answer.counted) return answer
    return { counted: true, progress: (await askProgress(engine, run)).progress }
  } catch (error) {
    // Rejected for its shape, before it reached the run.
    if (error instanceof WorkflowUpdateFailedError) return { counted: false, because: reasonOf(error.cause) }
    if (!notTakenIn(error)) throw error
    say('No worker took it in at once, so it goes as a Signal, which waits for one.')
    return bySignal(engine, run, decision, before)
  }
}

async function bySignal(
  engine: EngineConnection,
  run: KnownRun,
  decision: Decision,
  before: Progress,
): Promise<Sent> {
  const sent = excerpt(decision)
  // The same words may have been sent before: ours is the one more.
  const same = (progress: Progress) => progress.decisions.filter((record) => record.sent === sent)
  const had = same(before).length
  await engine.client.workflow.getHandle(run.workflowId, run.runId).signal(DECIDE_SIGNAL, decision)

  let silence = 'the worker has not taken it in yet'
  for (const deadline = Date.now() + COUNT_TIMEOUT_MS; Date.now() < deadline;) {
    await sleep(300)
    const answer = await askProgress(engine, run)
    if (answer.progress === null) {
      silence = answer.silence
      continue
    }
    // The Update may have arrived as well: one of the two counts, the other comes too late.
    const ours = same(answer.progress).slice(had)
    if (ours.some(({ counted }) => counted)) return { counted: true, progress: answer.progress }
    const [refused] = ours
    if (refused !== undefined)
      return { counted: false, because: refused.because ?? 'the run gives no reason' }
  }
  return { counted: null, because: silence }
}

function unanswered(error: unknown): null {
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return null
  throw error
}

/** No worker in time, or the engine takes no more Updates of this run (RESOURCE_EXHAUSTED). */
function notTakenIn(error: unknown): boolean {
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return true
  for (let at = error; at instanceof Error; at = at.cause) {
    if (isGrpcServiceError(at)) return [8].includes(at.code)
  }
  return false
}
