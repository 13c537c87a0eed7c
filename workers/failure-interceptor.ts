import { ApplicationFailure, CancelledFailure } from '@temporalio/common'
import type { ActivityInterceptorsFactory } from '@temporalio/worker'
import { RequorumError } from '../domain/failures.ts'

/**
 * Errors made for people become failures that the engine keeps: the code is the failure's type, what can't
 * be helped by trying again is not tried again, and the words stay whole. Causes stay behind: they may quote
 * what must not enter a history.
 *
 * A worker that is told to stop ends the waiting of its activities, and not their steps on the nodes. Only as
 * what the SDK sent does that reach the engine as "this worker is going", so that the next one takes over;
 * as an error of ours it would fail the step, and with it undo a recovery.
 */
export const failureInterceptor: ActivityInterceptorsFactory = ({ cancellationSignal: signal }) => ({
  inbound: {
    async execute(input, next) {
      try {
        return await next(input)
      } catch (error) {
        const reason: unknown = signal.reason
        if (signal.aborted && reason instanceof CancelledFailure) throw reason
        if (!(error instanceof RequorumError)) throw error
        throw ApplicationFailure.create({
          type: error.code,
          message: error.message,
          nonRetryable: !error.retryable,
          details: [error.text],
        })
      }
    },
  },
})
