import { createInterface } from 'node:readline/promises'
import type { WaitingCheckpoint } from '../../domain/progress.ts'
import type { Operator } from '../../lab/operator.ts'

const LOOK_MS = 1_000

/**
 * Asks the person at the terminal. Whoever decides elsewhere meanwhile (Temporal UI, `requorum approve`,
 * `temporal`) is heard too. Where there is no terminal it only waits for that.
 */
export async function askPerson(
  waiting: WaitingCheckpoint,
  operator: Operator,
): Promise<'approve' | 'refuse' | 'elsewhere'> {
  if (!process.stdin.isTTY) {
    console.log(`  Waiting for a decision (this is no terminal):\n\n${waiting.approve}\n`)
    await untilDecided(waiting, operator, new AbortController().signal)
    return 'elsewhere'
  }
  const done = new AbortController()
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  try {
    return await Promise.race([
      ask(terminal, waiting, done.signal),
      untilDecided(waiting, operator, done.signal),
    ])
  } finally {
    done.abort()
    terminal.close()
  }
}

async function ask(
  terminal: ReturnType<typeof createInterface>,
  waiting: WaitingCheckpoint,
  signal: AbortSignal,
): Promise<'approve' | 'refuse'> {
  for (;;) {
    const answer = await terminal.question(`  Type ${waiting.plan} to approve this plan, or "refuse": `, {
      signal,
    })
    if (answer.trim() === waiting.plan) return 'approve'
    if (answer.trim() === 'refuse') return 'refuse'
  }
}

async function untilDecided(
  waiting: WaitingCheckpoint,
  operator: Operator,
  signal: AbortSignal,
): Promise<'elsewhere'> {
  while (!signal.aborted) {
    const { waiting: now } = await operator.progress()
    if (now?.digest !== waiting.digest) break
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
  return 'elsewhere'
}
