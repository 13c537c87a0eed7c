import { defaultPayloadConverter, type WorkflowInterceptorsFactory } from '@temporalio/workflow'

/**
 * Keeps a signal that can't be decoded from stopping a run.
 *
 * The SDK decodes a signal before any handler runs, and what throws there fails the workflow task again and
 * again: one stray `temporal workflow signal` with broken bytes would hold up a recovery. Such a payload is
 * replaced by a marker, which the handler then refuses and records like any other malformed decision. The
 * marker is constant: the words of a JSON error differ between versions of Node and would break a replay.
 */
export const interceptors: WorkflowInterceptorsFactory = () => ({
  internals: [
    {
      activate(input, next) {
        for (const job of input.activation.jobs ?? []) {
          const signal = job.signalWorkflow
          if (!signal?.input) continue
          signal.input = signal.input.map((payload) => {
            try {
              defaultPayloadConverter.fromPayload(payload)
              return payload
            } catch {
              return defaultPayloadConverter.toPayload('(bytes that are no JSON)')
            }
          })
        }
        next(input)
      },
    },
  ],
})
