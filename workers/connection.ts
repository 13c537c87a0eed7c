import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client, Connection, type ConnectionOptions } from '@temporalio/client'
import { loadClientConnectConfig, type ClientConnectConfig } from '@temporalio/envconfig'
import { reasonOf, RequorumError } from '../domain/failures.ts'
import { engineDir } from './home.ts'

const CONNECT_TIMEOUT_MS = 5_000
const DEFAULT_NAMESPACE = 'default'

/** Where the engine is and how it is reached, before anybody has tried. */
export interface EngineTarget {
  /** `environment`: Temporal's own configuration says so. `embedded`: `requorum up` on this machine. */
  readonly from: 'environment' | 'embedded'
  readonly address: string
  readonly namespace: string
  readonly uiUrl: string | null
  /** For `Connection.connect` and for the worker's `NativeConnection.connect` alike. */
  readonly connection: Pick<ConnectionOptions, 'address' | 'tls' | 'metadata'> & { apiKey?: string }
}

export interface EngineConnection {
  readonly client: Client
  readonly address: string
  readonly namespace: string
  /** Base URL of the web UI, without a slash at its end; null when it isn't known. */
  readonly uiUrl: string | null
  close(): Promise<void>
}

/**
 * Temporal's own environment configuration (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_TLS_*,
 * TEMPORAL_API_KEY, or a profile of its file) when it names an address; else the embedded engine's.
 *
 * @throws RequorumError `engine-unreachable` when neither is there, `config-invalid` for a bad profile.
 */
export function engineTarget(home: string): EngineTarget {
  const { connectionOptions: given, namespace } = environmentConfig()
  if (given.address !== undefined && given.address !== '') {
    return {
      from: 'environment',
      address: given.address,
      namespace: namespace ?? DEFAULT_NAMESPACE,
      uiUrl: null,
      connection: {
        address: given.address,
        ...(given.tls === undefined || given.tls === null ? {} : { tls: given.tls }),
        ...(given.metadata === undefined ? {} : { metadata: given.metadata }),
        ...(typeof given.apiKey === 'string' ? { apiKey: given.apiKey } : {}),
      },
    }
  }
  const engine = embeddedEngine(home)
  if (engine === null) {
    throw new RequorumError('engine-unreachable', {
      what: 'No engine runs here.',
      why: `${engineDir(home)} has no running engine, and TEMPORAL_ADDRESS isn't set.`,
      todo: 'Start it with `requorum up`, or set TEMPORAL_ADDRESS to the engine that you use.',
    })
  }
  return {
    from: 'embedded',
    ...engine,
    namespace: namespace ?? DEFAULT_NAMESPACE,
    connection: { address: engine.address },
  }
}

/**
 * A connection to the engine that has been tried. The caller closes it.
 *
 * @throws RequorumError `engine-unreachable` when it doesn't answer within 5 s.
 */
export async function connectEngine(home: string): Promise<EngineConnection> {
  const target = engineTarget(home)
  let connection: Connection
  try {
    connection = await Connection.connect({ ...target.connection, connectTimeout: CONNECT_TIMEOUT_MS })
  } catch (error) {
    throw new RequorumError(
      'engine-unreachable',
      {
        what: `The engine at ${target.address} doesn't answer.`,
        why: reasonOf(error),
        todo:
          target.from === 'embedded'
            ? 'Start it with `requorum up`.'
            : "Check Temporal's own settings (TEMPORAL_ADDRESS, TLS, API key), or unset them to use `requorum up`.",
      },
      { cause: error },
    )
  }
  const { address, namespace, uiUrl } = target
  return {
    client: new Client({ connection, namespace }),
    address,
    namespace,
    uiUrl,
    close: () => connection.close(),
  }
}

function environmentConfig(): ClientConnectConfig {
  try {
    return loadClientConnectConfig()
  } catch (error) {
    throw new RequorumError(
      'config-invalid',
      {
        what: "Temporal's environment configuration can't be read.",
        why: reasonOf(error),
        todo: 'Correct TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE and the files that they name, or unset them.',
      },
      { cause: error },
    )
  }
}

/**
 * The embedded engine as it wrote itself down in engine.json. A record whose process is gone counts as no
 * engine: its port may belong to a stranger by now, and a schedule would be written into his server.
 */
function embeddedEngine(home: string): { address: string; uiUrl: string | null } | null {
  let record: unknown
  try {
    // eslint-disable-next-line no-restricted-properties -- the engine's own record; nothing of etcd's is in it
    record = JSON.parse(readFileSync(join(engineDir(home), 'engine.json'), 'utf8'))
  } catch {
    return null
  }
  if (typeof record !== 'object' || record === null) return null
  if ('process' in record && !stillRuns(record.process)) return null
  if ('address' in record && typeof record.address === 'string') {
    const uiUrl = 'uiUrl' in record && typeof record.uiUrl === 'string' ? record.uiUrl : null
    return { address: record.address, uiUrl }
  }
  const [grpc, ui] = 'ports' in record && Array.isArray(record.ports) ? record.ports.map(Number) : []
  if (grpc === undefined) return null
  return { address: `127.0.0.1:${grpc}`, uiUrl: ui === undefined ? null : `http://127.0.0.1:${ui}` }
}

/** Same pid and same start time (proc(5), field 22 of /proc/PID/stat): a pid alone is used again. */
function stillRuns(process: unknown): boolean {
  if (typeof process !== 'object' || process === null || !('pid' in process)) return false
  try {
    const stat = readFileSync(`/proc/${Number(process.pid)}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return !('startTicks' in process) || Number(fields[19]) === process.startTicks
  } catch {
    return false
  }
}
