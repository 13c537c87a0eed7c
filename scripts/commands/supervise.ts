import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../../domain/failures.ts'
import {
  endProcess,
  identify,
  lastLines,
  sizeOfLog,
  trimLog,
  type ProcessIdentity,
} from '../../lab/services/process.ts'

export interface Supervised {
  /** For messages: "worker". */
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
  /** Both output streams are appended to it, mode 0600. */
  readonly logFile: string
  readonly say: (line: string) => void
  /** Told of each start, so that whoever comes later can find what was left behind. */
  readonly onStart?: (started: ProcessIdentity) => void
  /** How long it may take to end after SIGTERM, in milliseconds. */
  readonly endGraceMs: number
  /** Milliseconds before the next start; `deaths` counts those in a row that came within a minute. */
  readonly backOff?: (deaths: number) => number
}

const STEADY_AFTER_MS = 60_000

/** 1 s, 2 s, 4 s, up to half a minute: quick after one crash, quiet when something is really wrong. */
export function doubling(deaths: number): number {
  return Math.min(30_000, 1_000 * 2 ** (deaths - 1))
}

/** Keeps a program running until the signal comes, then ends it and returns when it is gone. */
export async function keepRunning(program: Supervised, stop: AbortSignal): Promise<void> {
  const { name, logFile, say, backOff = doubling } = program
  mkdirSync(dirname(logFile), { recursive: true, mode: 0o700 })
  for (let deaths = 0; !stop.aborted;) {
    await trimLog(logFile)
    const startedAt = Date.now()
    const said = sizeOfLog(logFile)
    const how = await runOnce(program, stop)
    if (stop.aborted) return
    deaths = Date.now() - startedAt > STEADY_AFTER_MS ? 1 : deaths + 1
    const wait = backOff(deaths)
    // The same last words again and again tell nothing new.
    const words = deaths === 1 ? lastLines(logFile, said, 8) : ` (log: ${logFile})`
    say(`The ${name} ended (${how}); it starts again in ${wait / 1_000} s.${words}`)
    await sleep(wait, undefined, { signal: stop }).catch(() => undefined)
  }
}

async function runOnce(program: Supervised, stop: AbortSignal): Promise<string> {
  const log = openSync(program.logFile, 'a', 0o600)
  // A session of its own: Ctrl-C in the terminal reaches us alone, and we end it in order.
  const child = spawn(program.command, program.args, {
    detached: true,
    stdio: ['ignore', log, log],
    env: program.env,
  })
  closeSync(log)
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(reasonOf(error)))
    child.once('exit', (code, signal) => resolve(signal === null ? `exit code ${code ?? '?'}` : signal))
  })
  const identity = child.pid === undefined ? undefined : identify(child.pid)
  if (identity !== undefined) {
    program.onStart?.(identity)
    program.say(`The ${program.name} runs (pid ${identity.pid}).`)
  }
  const asked = new Promise<void>((resolve) => {
    if (stop.aborted) resolve()
    else stop.addEventListener('abort', () => resolve(), { once: true })
  })
  await Promise.race([ended, asked])
  if (stop.aborted && identity !== undefined) await endProcess(identity, program.endGraceMs)
  return ended
}
