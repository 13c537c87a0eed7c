import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { partPath } from '../parts/parts.mjs'
import {
  findService,
  startService,
  stopService,
  type RunningService,
  type Say,
  type ServiceSpec,
} from './service.ts'

const run = promisify(execFile)

/** A running Temporal dev server. */
export interface Engine {
  /** host:port of the gRPC frontend, for `Connection.connect({ address })` and `temporal --address`. */
  readonly address: string
  /** Base URL of the web UI, without a slash at its end. */
  readonly uiUrl: string
  readonly pid: number
  /** Ends it; everything it knows stays in its database file. */
  stop(): Promise<void>
}

export interface EngineRequest {
  /** Holds engine.json, engine.log and the database engine.db; made when missing. */
  readonly dir: string
  readonly say: Say
  /** Custom search attributes to register, name to type (Keyword, Int, Datetime, ...). */
  readonly searchAttributes?: Readonly<Record<string, string>>
}

/**
 * How long finished runs can be looked at. The dev server's own default is one day, after which
 * the record of a recovery would be gone; a year is accepted (server 1.32.0).
 */
const RETENTION = '8760h'

/**
 * Starts the engine, or finds the one that runs in `dir`: gRPC and UI on loopback, on the ports it
 * had before when they are free. It outlives the caller, and its state survives SIGKILL.
 */
export async function startEngine(request: EngineRequest): Promise<Engine> {
  const spec = engineSpec(request.dir, request.searchAttributes)
  const service = await startService(spec, request.say)
  return engineOf(spec, service)
}

/** The engine of `dir` when it runs and answers; undefined when it does not. */
export async function findEngine(dir: string): Promise<Engine | undefined> {
  const spec = engineSpec(dir)
  const service = await findService(spec)
  return service === undefined ? undefined : engineOf(spec, service)
}

/** Ends the engine of `dir` if it runs. */
export async function stopEngine(dir: string): Promise<void> {
  await stopService(engineSpec(dir))
}

function engineOf(spec: ServiceSpec, service: RunningService): Engine {
  const [grpcPort, uiPort] = service.ports
  return {
    address: `127.0.0.1:${grpcPort}`,
    uiUrl: `http://127.0.0.1:${uiPort}`,
    pid: service.process.pid,
    stop: async () => {
      await stopService(spec)
    },
  }
}

function engineSpec(dir: string, searchAttributes: Readonly<Record<string, string>> = {}): ServiceSpec {
  return {
    name: 'engine',
    dir,
    portCount: 4,
    command: ([grpc, ui, http, metrics]) => ({
      command: partPath('temporal'),
      args: [
        ...['server', 'start-dev', '--ip', '127.0.0.1', '--ui-ip', '127.0.0.1'],
        // Given, because the random ones it would choose come from the range of outgoing connections.
        ...[
          '--port',
          `${grpc}`,
          '--ui-port',
          `${ui}`,
          '--http-port',
          `${http}`,
          '--metrics-port',
          `${metrics}`,
        ],
        ...['--db-filename', join(dir, 'engine.db')],
        // The defaults of a dev server lose the last transactions when the power goes.
        ...['--sqlite-pragma', 'journal_mode=WAL', '--sqlite-pragma', 'synchronous=FULL'],
        // The newsfeed is fetched from the internet.
        '--ui-disable-news-fetch',
        ...['--log-format', 'json', '--log-level', 'warn'],
        ...Object.entries(searchAttributes).flatMap(([name, type]) => [
          '--search-attribute',
          `${name}=${type}`,
        ]),
      ],
    }),
    // Its version check asks a server on the internet.
    env: { TEMPORAL_VERSION_CHECK_DISABLED: '1' },
    ready: async ([grpc]) => {
      const address = `127.0.0.1:${grpc}`
      const health = await temporal(['operator', 'cluster', 'health', '--address', address])
      if (!health.includes('SERVING')) return false
      const namespace = ['operator', 'namespace', '--address', address, '--namespace', 'default']
      const found = await temporal([...namespace, 'describe', '--output', 'json'])
      if (!found.includes(`"workflowExecutionRetentionTtl": "${Number.parseInt(RETENTION, 10) * 3600}s"`)) {
        await temporal([...namespace, 'update', '--retention', RETENTION])
      }
      return true
    },
    readyWithinMs: 90_000,
  }
}

/** One call of the temporal CLI against our own server, with none of the person's settings. */
async function temporal(args: readonly string[]): Promise<string> {
  const { stdout } = await run(
    partPath('temporal'),
    [...args, '--disable-config-file', '--disable-config-env'],
    {
      timeout: 10_000,
      env: { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent' },
    },
  )
  return stdout
}
