import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { RequorumError } from '../../domain/failures.ts'
import type { NodeAddress, NodeShell } from '../ssh/node-shell.ts'
import {
  beginCall,
  lookCall,
  parseAnswer,
  stopCall,
  type Answer,
  type Call,
  type Receipt,
} from './node-side.ts'
import type { RemoteStep } from './remote-step.ts'

export type { RemoteStep }

export interface StepReceipt extends Receipt {
  /** Whether this call found the attempt, begun by another or ended, rather than starting it. */
  attached: boolean
}

export interface WaitOptions {
  /** Ends the waiting; the step goes on. */
  signal?: AbortSignal
  /** How long the node may be out of reach once the step was begun; by default until the step's time is over. */
  patienceMs?: number
  /** Called every 5 s while the step is waited for. Must not throw. */
  onBeat?: (state: { elapsedMs: number }) => void
}

/** One call waits 20 s on the node, after at most 30 s for its lock. */
const CALL_TIMEOUT_MS = 80_000
const BEAT_MS = 5_000
/** What a node may take on top of the step's own limit until its receipt can be read. */
const GRACE_MS = 60_000
const LONGEST_PAUSE_MS = 5_000

/**
 * Brings a step to its end and gives its receipt, whatever its code.
 *
 * An attempt that ended with code 0 is not repeated; one that runs is waited for. After a failed attempt, or
 * one of which nothing is left (a power cut), a new one is started; an attempt that is lost while it is waited
 * for is replaced by the next within this call. A failed attempt that this call started or waited for is its
 * result: only a later call tries again. Of callers at the same time, one starts and the others attach.
 *
 * A connection that is lost is made again until the step's time, or the caller's patience, is over.
 *
 * @throws RequorumError step-refused when the id stands for another script or other arguments; node-unreachable
 *   and the like when the node can't be reached to begin with; command-timed-out when the step's time is over
 *   and its end is not known; no-space and step-failed when the node can't keep the step's files; cancelled.
 */
export async function runRemoteStep(
  shell: NodeShell,
  node: NodeAddress,
  step: RemoteStep,
  { signal, onBeat, patienceMs = Infinity }: WaitOptions = {},
): Promise<StepReceipt> {
  const begun = performance.now()
  const beat = () => onBeat?.({ elapsedMs: Math.round(performance.now() - begun) })
  const beats = setInterval(beat, BEAT_MS)
  try {
    return await waitFor(shell, node, step, patienceMs, signal)
  } finally {
    clearInterval(beats)
  }
}

/**
 * Ends a step that runs (SIGTERM, after 10 s SIGKILL) and gives the receipt of its newest attempt, which says
 * `stopped` if it was this that ended it. Undefined when the step was never started. A later `runRemoteStep`
 * starts it again, unless it had ended with code 0.
 */
export async function stopRemoteStep(
  shell: NodeShell,
  node: NodeAddress,
  id: string,
  { signal }: { signal?: AbortSignal } = {},
): Promise<StepReceipt | undefined> {
  const answer = await ask(shell, node, id, stopCall(id), signal)
  return answer.state === 'ended' ? { ...answer.receipt, attached: true } : undefined
}

async function waitFor(
  shell: NodeShell,
  node: NodeAddress,
  step: RemoteStep,
  patienceMs: number,
  signal: AbortSignal | undefined,
): Promise<StepReceipt> {
  // Marks what this call started, for when the connection is lost before the node's answer is here.
  const caller = randomBytes(8).toString('hex')
  let deadline = performance.now() + step.timeoutMs + GRACE_MS
  let known: { attempt: number; attached: boolean } | undefined
  let reached = false
  let lostAt: number | undefined
  let pauseMs = 0

  for (;;) {
    const call = known ? lookCall(step.id, known.attempt) : beginCall(step, caller)
    let answer: Answer
    try {
      answer = await ask(shell, node, step.id, call, signal)
      reached = true
      lostAt = undefined
      pauseMs = 0
    } catch (error) {
      // The unit goes on without us. Only a node that was never reached is the caller's to wait for.
      if (!isLoss(error) || (!reached && error.code === 'node-unreachable')) throw error
      lostAt ??= performance.now()
      if (performance.now() > Math.min(deadline, lostAt + patienceMs)) throw error
      reached = true
      pauseMs = Math.min(2 * pauseMs + 200, LONGEST_PAUSE_MS)
      await pause(pauseMs, node, step.id, signal)
      continue
    }

    switch (answer.state) {
      case 'ended':
        return { ...answer.receipt, attached: known?.attached ?? answer.attached }
      case 'running':
        known ??= { attempt: answer.attempt, attached: answer.attached }
        break
      case 'lost':
        // Begin again, with all of its time.
        known = undefined
        deadline = performance.now() + step.timeoutMs + GRACE_MS
        break
      case 'refused':
        throw refused(node, step.id)
      case 'never':
        throw new RequorumError('unexpected', {
          what: `${node.name} denies to know of step ${step.id}, which was just begun there.`,
          todo: 'Report this: it is a bug in Requorum.',
        })
    }
    if (performance.now() > deadline) throw overdue(node, step)
  }
}

async function ask(
  shell: NodeShell,
  node: NodeAddress,
  id: string,
  { script, args }: Call,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  const result = await shell.script(node, script, args, {
    timeoutMs: CALL_TIMEOUT_MS,
    ...(signal ? { signal } : {}),
  })
  if (result.code === 0) return parseAnswer(result.stdout)
  const full = /No space left on device|Disk quota exceeded/.test(result.stderr)
  throw new RequorumError(full ? 'no-space' : 'step-failed', {
    what: `On ${node.name}, step ${id} could not be started or looked at (code ${result.code}).`,
    why: result.stderr.trim(),
    todo: full
      ? `Make room on ${node.name} under /var/lib/requorum; then the run goes on.`
      : `Look on ${node.name}: ls -l /var/lib/requorum/steps/${id}; systemctl status 'requorum-${id}-*'`,
  })
}

/** It is unknown what became of the call; the step itself is not harmed by it. */
function isLoss(error: unknown): error is RequorumError {
  return (
    error instanceof RequorumError &&
    (error.code === 'connection-lost' ||
      error.code === 'node-unreachable' ||
      error.code === 'command-timed-out')
  )
}

async function pause(
  ms: number,
  node: NodeAddress,
  id: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await sleep(ms, undefined, signal ? { signal } : {})
  } catch (cause) {
    throw new RequorumError(
      'cancelled',
      {
        what: `Waiting for step ${id} on ${node.name} was cancelled; the step itself goes on.`,
        todo: 'Nothing, unless the cancellation was a mistake; then start it again: it attaches to the step.',
      },
      { cause },
    )
  }
}

function refused(node: NodeAddress, id: string): RequorumError {
  return new RequorumError('step-refused', {
    what: `On ${node.name}, step ${id} was begun before with another script or other arguments.`,
    why: 'A step that is repeated has to be the same one; probably another release of Requorum began it.',
    todo: `Look at /var/lib/requorum/steps/${id} on ${node.name}, and go on with the release that began the run.`,
  })
}

function overdue(node: NodeAddress, step: RemoteStep): RequorumError {
  return new RequorumError('command-timed-out', {
    what: `On ${node.name}, step ${step.id} is over its ${step.timeoutMs / 1000} s and gives no receipt.`,
    todo: `Look on ${node.name}: systemctl status 'requorum-${step.id}-*'`,
  })
}
