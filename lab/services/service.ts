import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { exclusively } from '../parts/exclusive.mjs'
import { choosePorts, exposedListeners, ownsPorts } from './ports.ts'
import {
  endProcess,
  isRunning,
  lastLines,
  launch,
  processIdentity,
  sizeOfLog,
  trimLog,
  type ProcessIdentity,
} from './process.ts'

/** Tells the person at the terminal what goes on; one short line a call. */
export type Say = (line: string) => void

/** How one service of the lab is started and recognised. */
export interface ServiceSpec {
  /** Short and fit for a file name: NAME.json is its state, NAME.log its log. */
  readonly name: string
  /** The service's own directory, made with mode 0700 when missing. */
  readonly dir: string
  readonly portCount: number
  /** Ports for its first start, when they are still free then: for whoever has to know them before. */
  readonly firstPorts?: readonly number[]
  /** How many of the ports, counted from the first, it opens before it is ready; all by default. */
  readonly portsAtStart?: number
  /** Writes its config for these ports, before each start. Secrets belong there, mode 0600. */
  readonly prepare?: (ports: readonly number[]) => Promise<void>
  /** The command line for these ports. Arguments are visible to everybody: no secrets. */
  readonly command: (ports: readonly number[]) => { command: string; args: string[] }
  readonly env?: Readonly<Record<string, string>>
  /** Whether it serves what it is for. Called again and again; a throw counts as "not yet". */
  readonly ready: (ports: readonly number[]) => Promise<boolean>
  readonly readyWithinMs: number
  /** SIGKILL comes this long after SIGTERM; 5 s when not given. */
  readonly endGraceMs?: number
  /** Beside loopback the only address on which it may listen. */
  readonly listenOn?: string
  /** Removes what the service leaves outside its directory. */
  readonly sweep?: (ports: readonly number[]) => Promise<void>
}

export interface RunningService {
  readonly process: ProcessIdentity
  readonly ports: readonly number[]
}

/**
 * Starts the service, or finds it running. On the ports it had before when they are free. Returns
 * when it is ready and its ports are proved to be its own. A start that fails leaves no process
 * behind and says why, with the end of the log.
 */
export async function startService(spec: ServiceSpec, say: Say): Promise<RunningService> {
  mkdirSync(spec.dir, { recursive: true, mode: 0o700 })
  return exclusively(spec.dir, async () => {
    const running = await findService(spec)
    if (running !== undefined) return running
    // Running but not answering: it can't be used and would hold its ports and files.
    await stopService(spec)
    for (let attempt = 1; ; attempt++) {
      const before = attempt === 1 ? (readState(spec)?.ports ?? spec.firstPorts ?? []) : []
      const ports = await choosePorts(spec.portCount, await onceFree(before, spec), addressesOf(spec))
      const outcome = await tryStart(spec, ports)
      if ('process' in outcome) return outcome
      if (!outcome.portTaken || attempt === 3) throw outcome.error
      say(`Somebody else took a port of ${spec.name} in the meantime; trying other ports.`)
    }
  })
}

/** The service when it runs, its ports are its own and it is ready; else undefined. */
export async function findService(spec: ServiceSpec): Promise<RunningService | undefined> {
  const state = readState(spec)
  if (state === undefined || !isRunning(state.process)) return undefined
  if (!ownsPorts(state.process.pid, openAtStart(spec, state.ports))) return undefined
  return (await isReady(spec, state.ports)) ? state : undefined
}

/** The ports that its next start tries first, which another service may be told beforehand. */
export async function portsToBe(spec: ServiceSpec): Promise<readonly number[]> {
  return readState(spec)?.ports ?? choosePorts(spec.portCount, [], addressesOf(spec))
}

/** Ends the service if it runs; never anything else. Its files and ports stay for the next start. */
export async function stopService(spec: ServiceSpec): Promise<'was gone' | 'ended' | 'killed'> {
  const state = readState(spec)
  if (state === undefined) return 'was gone'
  const outcome = await endProcess(state.process, spec.endGraceMs)
  await spec.sweep?.(state.ports)
  return outcome
}

/** Where the service writes what it has to say. */
export function logFileOf(spec: Pick<ServiceSpec, 'dir' | 'name'>): string {
  return join(spec.dir, `${spec.name}.log`)
}

type StartOutcome = RunningService | { readonly error: Error; readonly portTaken: boolean }

async function tryStart(spec: ServiceSpec, ports: readonly number[]): Promise<StartOutcome> {
  const logFile = logFileOf(spec)
  await trimLog(logFile)
  const logStart = sizeOfLog(logFile)
  await spec.prepare?.(ports)
  const { command, args } = spec.command(ports)
  const process = await launch({
    command,
    args,
    logFile,
    cwd: spec.dir,
    ...(spec.env === undefined ? {} : { env: spec.env }),
  })
  // Written before it is ready: a crash of ours from here on must not leave a stray nobody knows.
  await writeState(spec, { process, ports })
  const failure = await waitUntilReady(spec, process, ports)
  if (failure === undefined) return { process, ports }
  const portTaken = !ownsPorts(process.pid, openAtStart(spec, ports)) && !(await allFreeNow(ports, spec))
  await endProcess(process, 1_000)
  await spec.sweep?.(ports)
  return {
    portTaken,
    error: new Error(
      `${spec.name} did not start: ${failure}. Nothing of it was left running. ` +
        `Read the log; when its files are damaged, move ${spec.dir} aside and start again.${lastLines(logFile, logStart)}`,
    ),
  }
}

async function waitUntilReady(
  spec: ServiceSpec,
  process: ProcessIdentity,
  ports: readonly number[],
): Promise<string | undefined> {
  const deadline = Date.now() + spec.readyWithinMs
  while (Date.now() < deadline) {
    if (!isRunning(process)) return 'its process ended'
    if (ownsPorts(process.pid, openAtStart(spec, ports)) && (await isReady(spec, ports))) {
      const exposed = exposedListeners(process.pid, spec.listenOn === undefined ? [] : [spec.listenOn])
      if (exposed.length === 0) return undefined
      return `it listens on ${exposed.map((at) => `${at.address}:${at.port}`).join(', ')}, where others could reach it`
    }
    await sleep(50)
  }
  return `it was not ready after ${spec.readyWithinMs / 1000} s`
}

/**
 * The ports of the last run. A process that was killed can count as ended while its last thread
 * still holds them, so they get a moment; after it `choosePorts` takes others.
 */
async function onceFree(ports: readonly number[], spec: ServiceSpec): Promise<readonly number[]> {
  const deadline = Date.now() + 1_000
  while (ports.length > 0 && Date.now() < deadline && !(await allFreeNow(ports, spec))) await sleep(50)
  return ports
}

function addressesOf(spec: ServiceSpec): string[] {
  return [...new Set(['127.0.0.1', spec.listenOn ?? '127.0.0.1'])]
}

function openAtStart(spec: ServiceSpec, ports: readonly number[]): readonly number[] {
  return ports.slice(0, spec.portsAtStart ?? ports.length)
}

async function isReady(spec: ServiceSpec, ports: readonly number[]): Promise<boolean> {
  try {
    return await spec.ready(ports)
  } catch {
    return false
  }
}

async function allFreeNow(ports: readonly number[], spec: ServiceSpec): Promise<boolean> {
  const again = await choosePorts(ports.length, ports, addressesOf(spec))
  return again.every((port, at) => port === ports[at])
}

const stateShape = z.object({ process: processIdentity, ports: z.array(z.coerce.number()) })

function readState(spec: ServiceSpec): RunningService | undefined {
  const path = join(spec.dir, `${spec.name}.json`)
  if (!existsSync(path)) return undefined
  try {
    return stateShape.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch {
    // Written by rename, so never half: somebody edited it. Without it nothing is known to run.
    return undefined
  }
}

async function writeState(spec: ServiceSpec, state: RunningService): Promise<void> {
  const path = join(spec.dir, `${spec.name}.json`)
  await writeFile(`${path}.partial`, `${JSON.stringify(state)}\n`, { mode: 0o600 })
  await rename(`${path}.partial`, path)
}
