import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { reasonOf, RequorumError } from '../../domain/failures.ts'
import { exclusively } from '../../lab/parts/exclusive.mjs'
import type { Engine } from '../../lab/services/engine.ts'
import {
  endProcess,
  identify,
  isRunning,
  processIdentity,
  type ProcessIdentity,
} from '../../lab/services/process.ts'
import { WORKER_ARGS, WORKER_ENV } from '../../lab/services/worker-command.ts'
import { engineDir } from '../../workers/home.ts'
import { doubling, keepRunning } from './supervise.ts'

const LOOK_EVERY_MS = 1_000
/** The worker lets activities end or hand over; longer than its own grace. */
const WORKER_GRACE_MS = 30_000

const upSchema = z.object({
  pid: z.number(),
  worker: processIdentity.nullable(),
  enginePid: z.number().nullable(),
})

/** What `requorum up` writes down, for `down` and for the next `up`. */
export type UpRecord = z.infer<typeof upSchema>

export function upLog(home: string): string {
  return join(engineDir(home), 'up.log')
}

export function readUp(home: string): UpRecord | null {
  try {
    return upSchema.parse(JSON.parse(readFileSync(recordFile(home), 'utf8')))
  } catch {
    return null
  }
}

/** Whether a `requorum up` runs for this home. */
export async function isHeld(home: string): Promise<boolean> {
  if (!existsSync(lockDir(home))) return false
  return exclusively(
    lockDir(home),
    async () => false,
    () => {
      throw new Held()
    },
  ).catch((error: unknown) => {
    if (error instanceof Held) return true
    throw error
  })
}

export interface UpRequest {
  readonly home: string
  readonly workerOnly: boolean
  /** Where the worker serves its metrics; as the environment says when it is not given. */
  readonly metrics?: string | undefined
  readonly say: (line: string) => void
  readonly stop: AbortSignal
}

/**
 * Runs until it is told to stop: the engine first, then a worker, each started again when it dies. Ends the
 * worker before the engine, and of engines only one that it has started.
 *
 * @throws RequorumError `input-invalid` when another one runs for this home.
 */
export async function superviseEngineAndWorker({
  home,
  workerOnly,
  metrics,
  say,
  stop,
}: UpRequest): Promise<void> {
  mkdirSync(engineDir(home), { recursive: true, mode: 0o700 })
  const work = async (): Promise<void> => {
    const before = readUp(home)
    // An `up` that was killed leaves its worker behind, which would be one too many.
    if (before?.worker) await endProcess(before.worker, WORKER_GRACE_MS)

    let record: UpRecord = { pid: process.pid, worker: null, enginePid: null }
    const note = (change: Partial<UpRecord>): void => {
      record = { ...record, ...change }
      writeUp(home, record)
    }
    note({})
    const engine = workerOnly ? null : await openEngine(home, before, say)
    if (engine !== null) {
      note({ enginePid: engine.ours ? engine.now.pid : null })
      say(`The engine runs at ${engine.now.address}, UI ${engine.now.uiUrl} (pid ${engine.now.pid}).`)
    }
    const worker = keepRunning(
      {
        name: 'worker',
        command: process.execPath,
        args: [...WORKER_ARGS],
        env: {
          ...{ ...WORKER_ENV, ...process.env, REQUORUM_HOME: home },
          ...(metrics === undefined ? {} : { REQUORUM_METRICS: metrics }),
        },
        logFile: join(engineDir(home), 'worker.log'),
        say,
        onStart: (started) => note({ worker: started }),
        endGraceMs: WORKER_GRACE_MS,
      },
      stop,
    )
    const watch = engine === null ? Promise.resolve() : keepEngine(home, engine, say, stop, note)
    await Promise.all([worker, watch])
    if (engine?.ours === true) await engine.now.stop()
    else if (engine !== null) say(`The engine was up before, and stays.`)
    note({ worker: null, enginePid: null })
  }
  const refuse = (): void => {
    throw alreadyUp(home)
  }
  await exclusively(lockDir(home), work, refuse)
}

interface HeldEngine {
  now: Engine
  ours: boolean
}

async function openEngine(
  home: string,
  before: UpRecord | null,
  say: (line: string) => void,
): Promise<HeldEngine> {
  const { findEngine, startEngine } = await import('../../lab/services/engine.ts')
  const found = await findEngine(engineDir(home))
  if (found !== undefined) return { now: found, ours: before?.enginePid === found.pid }
  say('Starting the engine …')
  return { now: await startEngine({ dir: engineDir(home), say }), ours: true }
}

async function keepEngine(
  home: string,
  engine: HeldEngine,
  say: (line: string) => void,
  stop: AbortSignal,
  note: (change: Partial<UpRecord>) => void,
): Promise<void> {
  const { startEngine } = await import('../../lab/services/engine.ts')
  let who: ProcessIdentity | undefined = identify(engine.now.pid)
  for (let deaths = 0; !stop.aborted;) {
    await sleep(LOOK_EVERY_MS, undefined, { signal: stop }).catch(() => undefined)
    if (stop.aborted || (who !== undefined && isRunning(who))) continue
    say('The engine ended; starting it again. What it knew is in its database.')
    try {
      engine.now = await startEngine({ dir: engineDir(home), say })
      engine.ours = true
      who = identify(engine.now.pid)
      note({ enginePid: engine.now.pid })
      say(`The engine runs at ${engine.now.address} (pid ${engine.now.pid}).`)
      deaths = 0
    } catch (error) {
      deaths += 1
      say(`${reasonOf(error)}\nTrying again in ${doubling(deaths) / 1_000} s.`)
      await sleep(doubling(deaths), undefined, { signal: stop }).catch(() => undefined)
    }
  }
}

class Held extends Error {}

/** Of its own: the engine's directory is locked by who starts an engine. */
function lockDir(home: string): string {
  return join(engineDir(home), 'up.lock')
}

function recordFile(home: string): string {
  return join(engineDir(home), 'up.json')
}

function writeUp(home: string, record: UpRecord): void {
  const partial = `${recordFile(home)}.partial`
  writeFileSync(partial, `${JSON.stringify(record)}\n`, { mode: 0o600 })
  renameSync(partial, recordFile(home))
}

export function alreadyUp(home: string): RequorumError {
  const up = readUp(home)
  return new RequorumError('input-invalid', {
    what: `\`requorum up\` runs already in ${home}${up === null ? '' : ` (pid ${up.pid})`}.`,
    todo: 'Use it as it is, or end it with `requorum down`.',
  })
}
