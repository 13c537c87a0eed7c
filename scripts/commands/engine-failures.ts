import {
  ApplicationFailure,
  CancelledFailure,
  isGrpcServiceError,
  NamespaceNotFoundError,
  QueryNotRegisteredError,
  ScheduleNotFoundError,
  TerminatedFailure,
  TimeoutFailure,
  WorkflowFailedError,
  WorkflowNotFoundError,
} from '@temporalio/client'
import { z } from 'zod'
import { isFailureCode, reasonOf, RequorumError, type FailureText } from '../../domain/failures.ts'

const failureText = z.object({ what: z.string(), why: z.string().optional(), todo: z.string() })

/** An error of the engine or of a run, in our words; null when it is neither. */
export function fromEngine(error: unknown): RequorumError | null {
  const failed = (code: RequorumError['code'], text: FailureText): RequorumError =>
    new RequorumError(code, text, { cause: error })

  if (error instanceof WorkflowFailedError) return fromRun(error)
  if (error instanceof WorkflowNotFoundError) {
    return failed('run-not-found', {
      what: `This engine knows no such run: ${error.workflowId}.`,
      todo: 'See what runs with `requorum status`.',
    })
  }
  if (error instanceof ScheduleNotFoundError) {
    return failed('schedule-missing', {
      what: `The engine has no schedule ${error.scheduleId}.`,
      todo: `Make it with \`requorum schedule apply ${error.scheduleId.replace(/^(backup|drill|freshness|rehearse)-/, '')}\`.`,
    })
  }
  if (error instanceof NamespaceNotFoundError) {
    return failed('engine-unreachable', {
      what: `The engine has no namespace ${error.namespace}.`,
      todo: 'Check TEMPORAL_NAMESPACE and the profile in use.',
    })
  }
  if (error instanceof QueryNotRegisteredError) {
    return failed('run-not-found', {
      what: 'The run that has this ID does not tell its progress: it is no runbook of Requorum.',
      why: error.message,
      todo: 'See in the Temporal UI what it is.',
    })
  }
  const reason = engineSilence(error)
  if (reason === null) return null
  return failed('engine-unreachable', {
    what: 'The engine stopped answering.',
    why: reason,
    todo: 'Look whether `requorum up` still runs. Runs go on by themselves when it is back.',
  })
}

/** Why the engine could not answer, or null when the error is something else. */
export function engineSilence(error: unknown): string | null {
  for (let at = error; at instanceof Error; at = at.cause) {
    // UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED by a closed channel; PERMISSION_DENIED, UNAUTHENTICATED.
    if (isGrpcServiceError(at) && [14, 4, 1, 7, 16].includes(at.code)) return at.message
  }
  return null
}

/** The failure that ended a run: the innermost that carries a code of ours. */
function fromRun(error: WorkflowFailedError): RequorumError {
  const found = applicationFailures(error.cause).find((failure) => isFailureCode(failure.type))
  if (found !== undefined && isFailureCode(found.type)) {
    return new RequorumError(found.type, textOf(found), { cause: error })
  }
  const failed = (code: RequorumError['code'], what: string): RequorumError =>
    new RequorumError(
      code,
      {
        what,
        why: reasonOf(error.cause),
        todo: 'See the run in the Temporal UI, and the journals on the nodes.',
      },
      { cause: error },
    )
  if (error.cause instanceof CancelledFailure) return failed('cancelled', 'The run was cancelled.')
  if (error.cause instanceof TerminatedFailure) {
    return failed('cancelled', 'The run was terminated: what it was doing was left as it was.')
  }
  if (error.cause instanceof TimeoutFailure) return failed('step-failed', 'The run came to its time limit.')
  return failed('unexpected', 'The run failed.')
}

function applicationFailures(error: unknown): ApplicationFailure[] {
  const found: ApplicationFailure[] = []
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof ApplicationFailure) found.push(at)
  }
  return found
}

/** A failure carries its text as detail; without one, its message is laid out as `failureMessage` does it. */
function textOf(failure: ApplicationFailure): FailureText {
  const detail = failureText.safeParse(failure.details?.[0])
  if (detail.success) {
    const { what, why, todo } = detail.data
    return { what, todo, ...(why === undefined ? {} : { why }) }
  }
  const [before = '', todo] = failure.message.split(/\nDo: +/)
  const [what = '', why] = before.split(/\nWhy: +/)
  return {
    what,
    ...(why === undefined ? {} : { why }),
    todo: todo ?? 'See the run in the Temporal UI, and the journals on the nodes.',
  }
}
