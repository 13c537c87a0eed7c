import type { S3Client } from '@aws-sdk/client-s3'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import type { RequorumError } from '../../domain/failures.ts'
import { s3Clients } from './s3-clients.ts'
import type { KeptBy } from './s3-kept.ts'
import { isExpired, storeCancelled, storeFailure, type Asked } from './s3-failures.ts'

export interface S3StoreRequest {
  readonly config: ClusterConfig['store']
  /** For what is stored: without it nothing is locked, whatever the cluster file says. */
  readonly retention?: ClusterConfig['retention']
  /** Requorum's home: where a relative `credentialsFile` starts from. */
  readonly home: string
  readonly limits?: Partial<S3Limits>
}

/** All in milliseconds. None of them bounds a whole transfer: a large snapshot may take its time. */
export interface S3Limits {
  /** Until a connection stands; 5 s. */
  readonly connectMs: number
  /** Without a byte in either direction; 60 s. */
  readonly idleMs: number
  /** For all of `check`; 20 s. */
  readonly checkMs: number
  /** How long credentials of a file are used before it is read again, for keys that are rotated there; 60 s. */
  readonly credentialsMs: number
  /** How long a signed request may be begun, rounded up to seconds; 15 min. What has begun goes on after it. */
  readonly signedMs: number
}

const DEFAULT_LIMITS: S3Limits = {
  connectMs: 5_000,
  idleMs: 60_000,
  checkMs: 20_000,
  credentialsMs: 60_000,
  signedMs: 900_000,
}

/** How every request goes out, and what its failure becomes. */
export interface S3Requests extends KeptBy {
  /** With the rights that such a request needs, and no more where the cluster file names a role. */
  readonly clientFor: (asked: Asked) => S3Client
  readonly limits: S3Limits
  /** Runs one request: its failure becomes ours, an abort is `cancelled`, whatever it broke. */
  readonly request: <T>(
    asked: Asked,
    doing: string,
    signal: AbortSignal | undefined,
    send: (client: S3Client, options: { abortSignal?: AbortSignal }) => Promise<T>,
  ) => Promise<T>
  readonly failureOf: (error: unknown, asked: Asked, doing: string) => Promise<RequorumError>
  readonly refuseIfAborted: (signal: AbortSignal | undefined, doing: string) => void
}

/** Makes no connection until one of its requests is sent. */
export function s3Requests({ config, retention, home, limits: wanted }: S3StoreRequest): S3Requests {
  const limits = { ...DEFAULT_LIMITS, ...wanted }
  const clients = s3Clients({ config, retention }, home, limits.credentialsMs, (credentials) => ({
    region: config.region,
    forcePathStyle: config.pathStyle,
    ...(config.endpoint === undefined ? {} : { endpoint: config.endpoint }),
    ...credentials,
    maxAttempts: 3,
    // We name the checksum ourselves and hash what we read: the SDK's defaults add trailers that other stores
    // than AWS refuse, and validate nothing on a named version.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: { connectionTimeout: limits.connectMs, socketTimeout: limits.idleMs },
    // It prints to the console otherwise ("An error was encountered in a non-retryable streaming request").
    logger: SILENT,
  }))
  const { clientFor } = clients

  const failureOf = async (error: unknown, asked: Asked, doing: string): Promise<RequorumError> => {
    const identity = await clientFor(asked)
      .config.credentials()
      .catch(() => undefined)
    const secrets = [identity?.accessKeyId, identity?.secretAccessKey, identity?.sessionToken]
    if (isExpired(error)) clients.forget(asked)
    return storeFailure({
      error,
      asked,
      doing,
      config,
      secrets: secrets.filter((secret) => secret !== undefined),
    })
  }

  const refuseIfAborted = (signal: AbortSignal | undefined, doing: string): void => {
    if (signal?.aborted === true) throw storeCancelled(config, doing, signal.reason)
  }

  const request = async <T>(
    asked: Asked,
    doing: string,
    signal: AbortSignal | undefined,
    send: (client: S3Client, options: { abortSignal?: AbortSignal }) => Promise<T>,
  ): Promise<T> => {
    refuseIfAborted(signal, doing)
    try {
      return await send(clientFor(asked), signal === undefined ? {} : { abortSignal: signal })
    } catch (error) {
      refuseIfAborted(signal, doing)
      throw await failureOf(error, asked, doing)
    }
  }

  return { config, retention, clientFor, limits, request, failureOf, refuseIfAborted }
}

const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

export function nameOf(key: string, versionId: string | undefined): string {
  return versionId === undefined ? key : `version ${versionId} of ${key}`
}
