import { Context } from '@temporalio/activity'
import type { Watching } from '../systems/node/control-plane-node.ts'

const BEAT_MS = 3_000

/**
 * Work that may last: it heartbeats, so that a dead worker is noticed and another takes over, and it is told
 * of a cancellation, which reaches only activities that heartbeat. What it does inside has its own limits.
 */
export async function watched<Result>(work: (watching: Watching) => Promise<Result>): Promise<Result> {
  const context = Context.current()
  let doing: string | undefined
  const beat = (now?: string): void => {
    doing = now ?? doing
    context.heartbeat(doing)
  }
  beat()
  const timer = setInterval(beat, BEAT_MS)
  try {
    return await work({ signal: context.cancellationSignal, onBeat: beat })
  } finally {
    clearInterval(timer)
  }
}
