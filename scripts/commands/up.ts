import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { RequorumError } from '../../domain/failures.ts'
import { TASK_QUEUE } from '../../domain/messages.ts'
import { lastLines, sizeOfLog } from '../../lab/services/process.ts'
import { engineDir } from '../../workers/home.ts'
import { metricsFrom } from '../../workers/metrics-address.ts'
import { utc } from '../terminal/times.ts'
import { examples, type Act, type Call, type Outcome } from './command.ts'
import { alreadyUp, isHeld, readUp, superviseEngineAndWorker, upLog } from './up-supervisor.ts'

const DETACHED_START_MS = 120_000

export function registerUp(program: Command, act: Act): void {
  const up = program
    .command('up')
    .description(
      'run the embedded engine and a worker here, and start them again when they die; Ctrl-C ends both',
    )
    .option('--worker-only', 'no engine of our own: the worker of one that TEMPORAL_ADDRESS names')
    .option(
      '--metrics <address>',
      'serve metrics for Prometheus there, like 127.0.0.1:9464 (REQUORUM_METRICS); nobody has to log in',
    )
    .option('--detach', 'leave them running in the background; `requorum down` ends them')
  act(
    examples(up, [
      'requorum up',
      'requorum up --detach',
      'requorum up --metrics 127.0.0.1:9464',
      'TEMPORAL_ADDRESS=temporal.example.com:7233 requorum up --worker-only',
    ]),
    runUp,
  )

  const down = program
    .command('down')
    .description('end what `requorum up` runs here; runs go on when it is up again')
  act(examples(down, ['requorum down']), runDown)
}

async function runUp(call: Call): Promise<Outcome> {
  const { home } = call
  const workerOnly = call.flag('workerOnly')
  await refuseTwoEngines(home, workerOnly)
  await refuseTwoWorkers(home)
  const metrics = call.text('metrics') ?? process.env['REQUORUM_METRICS']
  metricsFrom(metrics)
  if (call.flag('detach')) return detach(call, workerOnly, metrics)
  const say = (line: string): void => call.say(`${utc(new Date())}  ${line}`)
  await superviseEngineAndWorker({ home, workerOnly, metrics, say, stop: call.interruption() })
  return { exit: 'done', text: 'All ended. Runs go on when it is up again.', json: { home, stopped: true } }
}

/** An engine beside the one that the environment names would have no worker, and look as if it had. */
async function refuseTwoEngines(home: string, workerOnly: boolean): Promise<void> {
  const { engineTarget } = await import('../../workers/connection.ts')
  if (workerOnly) {
    engineTarget(home)
    return
  }
  const target = tryOrNull(() => engineTarget(home))
  if (target?.from !== 'environment') return
  throw new RequorumError('input-invalid', {
    what: `Temporal's own settings name the engine at ${target.address}, so an embedded one would not be used.`,
    todo: 'Use `requorum up --worker-only`, or unset TEMPORAL_ADDRESS (or the profile that sets it).',
  })
}

/** The lab brings its own; two of them answer each other's runs and can't be told apart. */
async function refuseTwoWorkers(home: string): Promise<void> {
  const { findWorker } = await import('../../lab/services/worker.ts')
  const worker = await findWorker(home)
  if (worker === undefined) return
  throw new RequorumError('input-invalid', {
    what: `The lab runs an engine and a worker in ${home} already (worker pid ${worker}).`,
    todo: 'Use them as they are. For a home of your own set REQUORUM_HOME.',
  })
}

function tryOrNull<Value>(work: () => Value): Value | null {
  try {
    return work()
  } catch (error) {
    if (error instanceof RequorumError && error.code === 'engine-unreachable') return null
    throw error
  }
}

async function detach(call: Call, workerOnly: boolean, metrics: string | undefined): Promise<Outcome> {
  const { home } = call
  if (await isHeld(home)) throw alreadyUp(home)
  const logFile = upLog(home)
  mkdirSync(engineDir(home), { recursive: true, mode: 0o700 })
  const from = sizeOfLog(logFile)
  const log = openSync(logFile, 'a', 0o600)
  const command = fileURLToPath(new URL('../requorum.ts', import.meta.url))
  const flags = [
    ...(workerOnly ? ['--worker-only'] : []),
    ...(metrics === undefined ? [] : ['--metrics', metrics]),
  ]
  const child = spawn(process.execPath, [command, 'up', ...flags], {
    detached: true,
    stdio: ['ignore', log, log],
    env: { ...process.env, REQUORUM_HOME: home },
  })
  closeSync(log)
  let ended = false
  child.once('exit', () => (ended = true))
  child.once('error', () => (ended = true))

  call.say('Starting the engine and a worker …')
  for (const deadline = Date.now() + DETACHED_START_MS; Date.now() < deadline && !ended;) {
    await sleep(250)
    const engine = await servedEngine(home)
    if (engine === null) continue
    child.unref()
    return {
      exit: 'done',
      text: `Up: engine at ${engine.address}${engine.uiUrl === null ? '' : `, UI ${engine.uiUrl}`}. Logs in ${engineDir(home)}. End it with \`requorum down\`.`,
      json: { home, pid: child.pid ?? null, engine, logs: engineDir(home) },
    }
  }
  if (!ended && child.pid !== undefined) process.kill(child.pid, 'SIGTERM')
  throw new RequorumError('engine-unreachable', {
    what: ended
      ? 'It ended while it started.'
      : `It was not up within ${DETACHED_START_MS / 1_000} s, and was ended.`,
    why: lastLines(logFile, from, 12).trim(),
    todo: `Run \`requorum up\` in the foreground, and read the logs: ${join(engineDir(home), '*.log')}.`,
  })
}

/** The engine, when it answers and a worker serves it. */
async function servedEngine(home: string): Promise<{ address: string; uiUrl: string | null } | null> {
  const { connectEngine, engineTarget } = await import('../../workers/connection.ts')
  const { hasWorker } = await import('./runs.ts')
  if (tryOrNull(() => engineTarget(home)) === null) return null
  let engine
  try {
    engine = await connectEngine(home)
  } catch (error) {
    if (error instanceof RequorumError && error.code === 'engine-unreachable') return null
    throw error
  }
  const { address, uiUrl } = engine
  const served = await hasWorker(engine, process.env['REQUORUM_TASK_QUEUE'] ?? TASK_QUEUE)
  await engine.close()
  return served ? { address, uiUrl } : null
}

async function runDown(call: Call): Promise<Outcome> {
  const { home } = call
  if (!(await isHeld(home))) {
    return { exit: 'done', text: `Nothing is up in ${home}.`, json: { home, stopped: false } }
  }
  const up = readUp(home)
  if (up === null) throw alreadyUp(home)
  process.kill(up.pid, 'SIGTERM')
  call.say('Ending the worker, then the engine …')
  const deadline = Date.now() + 90_000
  while (await isHeld(home)) {
    await sleep(200)
    if (Date.now() > deadline) {
      throw new RequorumError('unexpected', {
        what: `\`requorum up\` (pid ${up.pid}) has not ended within 90 s.`,
        todo: `Read ${upLog(home)}, or end it by hand.`,
      })
    }
  }
  return { exit: 'done', text: 'Down. Runs go on when it is up again.', json: { home, stopped: true } }
}
