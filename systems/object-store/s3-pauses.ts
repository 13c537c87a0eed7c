import { setTimeout as sleep } from 'node:timers/promises'

/** How long a put waits before its second and its third attempt, in milliseconds. */
const PAUSES_MS = [500, 2_000]

/** Waits until the next attempt; false when this was the last one. Ends early with the signal. */
export async function pauseAfter(attempt: number, signal: AbortSignal | undefined): Promise<boolean> {
  const pause = PAUSES_MS[attempt - 1]
  if (pause === undefined) return false
  await sleep(pause * (0.75 + Math.random() / 2), undefined, { signal }).catch(() => undefined)
  return true
}
