import type { RestoreRequest } from '../../domain/messages.ts'
import type { RecoveryVerdict } from '../../domain/recovery-verdict.ts'
import type { EngineConnection } from '../../workers/connection.ts'
import { recoveryVerdictText } from '../terminal/recovery-verdict.ts'
import type { Call, Outcome } from './command.ts'
import type { Exit } from './exit-codes.ts'
import { followRun } from './follow.ts'

/** Any recovery as its callers know it. */
export type Recovery = (request: RestoreRequest) => Promise<RecoveryVerdict>

const OUTCOME_EXITS: Readonly<Record<RecoveryVerdict['outcome'], Exit>> = {
  restored: 'done',
  replaced: 'done',
  unfinished: 'declined',
  unaccepted: 'declined',
  refused: 'declined',
  'timed-out': 'declined',
  freed: 'done',
  'still-full': 'failed',
  unhealthy: 'failed',
  undone: 'done',
  'let-go': 'done',
  cleaned: 'done',
  nothing: 'done',
  'rolled-back': 'done',
}

/**
 * Follows a recovery to where it first waits for a person, or to its end with its report.
 *
 * @throws RequorumError the failure that ended the run
 */
export async function watchRecovery(
  call: Call,
  engine: EngineConnection,
  known: { readonly cluster: string; readonly workflowId: string },
  until: 'person' | 'end',
): Promise<Outcome> {
  const { cluster, workflowId } = known
  const { run, progress, ...followed } = await followRun(engine, workflowId, {
    say: (line) => call.say(line),
    until,
    interruption: call.interruption(),
  })
  if (followed.until === 'end') {
    const verdict = await engine.client.workflow.getHandle<Recovery>(workflowId, run.runId).result()
    return {
      exit: OUTCOME_EXITS[verdict.outcome],
      text: `\n${recoveryVerdictText(verdict, new Date())}`,
      json: { ...known, state: 'ended', progress, verdict },
    }
  }
  const waits = Boolean(progress?.waiting)
  return {
    exit: 'waiting',
    text:
      followed.until === 'person'
        ? `Afterwards follow it with \`requorum status ${cluster} --watch\`.`
        : `Stopped watching; ${workflowId} goes on${waits ? ' and waits for a person' : ''}. Watch it again with \`requorum status ${cluster} --watch\`.`,
    json: { ...known, state: waits ? 'waiting' : 'running', progress, verdict: null },
  }
}
