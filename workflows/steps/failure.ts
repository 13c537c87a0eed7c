import {
  ActivityFailure,
  ApplicationFailure,
  ChildWorkflowFailure,
  isCancellation,
  TimeoutFailure,
} from '@temporalio/workflow'
import { isFailureCode, reasonOf, RequorumError, type FailureCode } from '../../domain/failures.ts'

/**
 * A failure as Temporal keeps it. A plain error in workflow code does not fail a run: its task is retried
 * for ever. So whatever a runbook throws on purpose passes here.
 */
export function toFailure(error: RequorumError, details: unknown = error.text): ApplicationFailure {
  return ApplicationFailure.create({
    type: error.code,
    message: error.message,
    nonRetryable: !error.retryable,
    details: [details],
  })
}

/**
 * What a run ends with. The words of a step that failed stand on top, where the Temporal UI and every client
 * show them, and not below "Activity task failed"; after them what else somebody has to know: a run that
 * fails has no verdict to say it in.
 */
export function runFailure(error: unknown, warnings: readonly string[] = []): unknown {
  const also = (message: string): string =>
    [message, ...warnings.map((warning) => `Also: ${warning}`)].join('\n')
  if (error instanceof RequorumError) {
    return ApplicationFailure.create({
      type: error.code,
      message: also(error.message),
      nonRetryable: !error.retryable,
      details: [error.text],
    })
  }
  const cause =
    error instanceof ActivityFailure || error instanceof ChildWorkflowFailure ? error.cause : undefined
  if (!(cause instanceof ApplicationFailure) || !isFailureCode(cause.type)) return error
  return ApplicationFailure.create({
    type: cause.type,
    message: also(cause.message),
    nonRetryable: cause.nonRetryable ?? false,
    details: cause.details ?? [],
  })
}

/** The code and words of a failed step, from whichever side it comes. */
export function causeOf(error: unknown): { code: FailureCode; message: string } {
  if (isCancellation(error)) return { code: 'cancelled', message: 'it was cancelled' }
  if (error instanceof RequorumError) return { code: error.code, message: error.message }
  const cause =
    error instanceof ActivityFailure || error instanceof ChildWorkflowFailure ? error.cause : error
  if (cause instanceof ApplicationFailure && isFailureCode(cause.type))
    return { code: cause.type, message: cause.message }
  // The engine gives its own limits no words.
  if (cause instanceof TimeoutFailure)
    return { code: 'command-timed-out', message: `its worker was lost, or hangs (${cause.timeoutType})` }
  return { code: 'unexpected', message: reasonOf(cause ?? error) }
}

/** The words of a failed step in one line, as reasons and warnings carry them. */
export function whyOf(error: unknown): string {
  return causeOf(error).message.split('\n').join(' ')
}
