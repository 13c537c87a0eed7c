import { setTimeout as sleep } from 'node:timers/promises'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { reasonOf, RequorumError } from '../../domain/failures.ts'
import { fail, type Finding } from '../../domain/validation/finding.ts'
import type { Comparison } from '../../domain/validation/object-counts.ts'
import type { ControlPlaneNode, Watching } from './control-plane-node.ts'

/** What a check of a validation works on. */
export interface UnderCheck {
  readonly config: ClusterConfig
  /** All nodes of the cluster file but those of `without`. */
  readonly nodes: readonly ControlPlaneNode[]
  /** Nodes that a restore went on without: that they are missing is worth a word, and no failure. */
  readonly without?: readonly string[]
  /** Names what the run makes in the cluster, so that its own attempts and nobody else find it again. */
  readonly run: string
  /** How long this check may take, in milliseconds. */
  readonly limitMs: number
  readonly against: Comparison
  readonly watching: Watching
}

/**
 * One look of one check. It gives back what it found; what it throws is a failed check with that reason. It
 * stops when `watching.signal` is aborted, which is also how its limit is told.
 */
export type HealthCheck = (under: UnderCheck) => Promise<Finding>

const PAUSE_MS = 3_000

/**
 * Makes a check within its limit, whatever it does: a look that throws is a failure with the reason, one that
 * doesn't come to its end is a failure that says how long it was given. A failure is looked at again as often as
 * `again` says and the limit allows.
 *
 * @throws only what `watching.signal` is aborted with: a cancellation is no finding.
 */
export async function checkWithin(
  check: HealthCheck,
  under: UnderCheck,
  { again, pauseMs = PAUSE_MS }: { again: number; pauseMs?: number },
): Promise<Finding> {
  const { limitMs, watching } = under
  const deadline = Date.now() + limitMs
  const limit = AbortSignal.timeout(limitMs)
  const signal = AbortSignal.any([watching.signal, limit])
  const late = fail(`it did not come to its end within ${limitMs / 1_000} s`)
  let found = late
  for (let left = again; ; left -= 1) {
    try {
      found = await beforeAbort(signal, check({ ...under, watching: { ...watching, signal } }))
    } catch (error) {
      watching.signal.throwIfAborted()
      // What was seen before says more than that there was no time to see it again.
      if (limit.aborted) return found
      found = fail(`it could not be made: ${inOneLine(error)}`)
    }
    if (found.verdict !== 'fail' || left <= 0 || Date.now() + pauseMs > deadline) return found
    watching.onBeat(found.evidence)
    await sleep(pauseMs, undefined, { signal: watching.signal }).catch(() => watching.signal.throwIfAborted())
  }
}

/** What is given up here may go on for the few seconds of its own commands' limits; nobody reads what it finds. */
async function beforeAbort<Result>(signal: AbortSignal, work: Promise<Result>): Promise<Result> {
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** Why a node told nothing, in the words of whoever refused. */
export function inOneLine(error: unknown): string {
  const words =
    error instanceof RequorumError
      ? [error.text.what, error.text.why ?? ''].filter(Boolean).join(' ')
      : reasonOf(error)
  return words.replaceAll(/\s*\n\s*/g, ' ')
}
