import { existsSync, readFileSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  endProcess,
  isRunning,
  lastLines,
  launch,
  processIdentity,
  sizeOfLog,
  type ProcessIdentity,
} from './process.ts'
import type { Say } from './service.ts'
import { WORKER_ARGS, WORKER_ENV } from './worker-command.ts'

const READY_WITHIN_MS = 120_000
/** More than the worker's own shutdown grace. */
const END_GRACE_MS = 15_000

const recordFile = (home: string): string => join(home, 'engine', 'worker.json')
export const workerLog = (home: string): string => join(home, 'engine', 'worker.log')

/**
 * Starts the worker of a home, or finds it running. It outlives the caller.
 *
 * @param env - more of its environment, for tests.
 */
export async function startWorker(
  home: string,
  say: Say,
  env: Readonly<Record<string, string>> = {},
): Promise<ProcessIdentity> {
  const known = readRecord(home)
  if (known !== undefined && isRunning(known)) return known
  const logFile = workerLog(home)
  const from = sizeOfLog(logFile)
  const worker = await launch({
    command: process.execPath,
    args: [...WORKER_ARGS],
    logFile,
    cwd: home,
    env: { ...WORKER_ENV, REQUORUM_HOME: home, ...env },
  })
  await writeFile(recordFile(home), JSON.stringify(worker), { mode: 0o600 })
  const deadline = Date.now() + READY_WITHIN_MS
  while (!lastLines(logFile, from, 200).includes('requorum worker')) {
    if (!isRunning(worker) || Date.now() > deadline) {
      await endProcess(worker, 1_000)
      throw new Error(`The worker did not start. Read ${logFile}.${lastLines(logFile, from)}`)
    }
    await sleep(100)
  }
  say(`Worker ${worker.pid} is at work`)
  return worker
}

/** The worker's process ID when it runs. */
export function findWorker(home: string): Promise<number | undefined> {
  const known = readRecord(home)
  return Promise.resolve(known !== undefined && isRunning(known) ? known.pid : undefined)
}

export async function stopWorker(home: string): Promise<void> {
  const known = readRecord(home)
  if (known === undefined) return
  await endProcess(known, END_GRACE_MS)
  await rm(recordFile(home), { force: true })
}

/** Ends it as a crash does: SIGKILL, nothing said. */
export async function killWorker(home: string): Promise<void> {
  const known = readRecord(home)
  if (known === undefined || !isRunning(known)) throw new Error(`No worker runs in ${home}.`)
  process.kill(known.pid, 'SIGKILL')
  while (isRunning(known)) await sleep(20)
}

function readRecord(home: string): ProcessIdentity | undefined {
  if (!existsSync(recordFile(home))) return undefined
  const read = processIdentity.safeParse(JSON.parse(readFileSync(recordFile(home), 'utf8')))
  return read.success ? read.data : undefined
}
