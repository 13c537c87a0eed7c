import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  GetBucketVersioningCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  S3Client,
  type HeadObjectCommandOutput,
  type PutObjectCommandOutput,
} from '@aws-sdk/client-s3'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError } from '../../domain/failures.ts'
import type { StoredObject } from '../../domain/snapshot.ts'
import { compactUtc, sha256 as sha256Schema, type Sha256 } from '../../domain/values.ts'
import { metered } from './metered.ts'
import type { NewObject, ObjectStore, ObjectVersion, PutOptions, StoreCallOptions } from './object-store.ts'
import { acknowledged, inOrder, missingField, noVersions, refuseOtherKey, sha256Of } from './s3-answers.ts'
import { credentialOptions } from './s3-credentials.ts'
import {
  httpStatusOf,
  neverConnected,
  placeOf,
  storeCancelled,
  storeFailure,
  type Asked,
} from './s3-failures.ts'

/** S3's limit for one PutObject (S3 User Guide, "Uploading objects"): 5 GiB. */
export const LARGEST_PUT_BYTES = 5 * 1024 ** 3

export interface S3StoreRequest {
  readonly config: ClusterConfig['store']
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
}

const DEFAULT_LIMITS: S3Limits = { connectMs: 5_000, idleMs: 60_000, checkMs: 20_000, credentialsMs: 60_000 }

/** How long a put waits before its second and its third attempt, in milliseconds. */
const PUT_PAUSES_MS = [500, 2_000]

/** An S3 bucket as an `ObjectStore`. Makes no connection until it is used. */
export function createS3Store({ config, home, limits }: S3StoreRequest): ObjectStore {
  const { connectMs, idleMs, checkMs, credentialsMs } = { ...DEFAULT_LIMITS, ...limits }
  const client = new S3Client({
    region: config.region,
    forcePathStyle: config.pathStyle,
    ...(config.endpoint === undefined ? {} : { endpoint: config.endpoint }),
    ...credentialOptions(config, home, credentialsMs),
    maxAttempts: 3,
    // We name the checksum ourselves and hash what we read: the SDK's defaults add trailers that other stores
    // than AWS refuse, and validate nothing on a named version.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: { connectionTimeout: connectMs, socketTimeout: idleMs },
    // It prints to the console otherwise ("An error was encountered in a non-retryable streaming request").
    logger: SILENT,
  })

  const failureOf = async (error: unknown, asked: Asked, doing: string): Promise<RequorumError> => {
    const identity = await client.config.credentials().catch(() => undefined)
    const secrets = [identity?.accessKeyId, identity?.secretAccessKey, identity?.sessionToken]
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

  /** Runs one request: its failure becomes ours, an abort is `cancelled`, whatever it broke. */
  const request = async <T>(
    asked: Asked,
    doing: string,
    signal: AbortSignal | undefined,
    send: (options: { abortSignal?: AbortSignal }) => Promise<T>,
  ): Promise<T> => {
    refuseIfAborted(signal, doing)
    try {
      return await send(signal === undefined ? {} : { abortSignal: signal })
    } catch (error) {
      refuseIfAborted(signal, doing)
      throw await failureOf(error, asked, doing)
    }
  }

  const put = async (object: NewObject, options: PutOptions = {}): Promise<StoredObject> => {
    refuseTooLarge(object)
    const doing = `store ${object.key}`
    for (let attempt = 1; ; attempt++) {
      try {
        return await putOnce(object, options)
      } catch (error) {
        refuseIfAborted(options.signal, doing)
        // Only these two leave open whether the object is there: 412 says so, a lost answer says nothing.
        const taken = error instanceof PreconditionFailed
        if (!taken && !(error instanceof RequestFailed && error.failure.retryable)) throw unwrapped(error)
        const present = error.mayHaveArrived ? await lookFor(object, options, taken) : null
        if (present !== null) return present
        const pause = PUT_PAUSES_MS[attempt - 1]
        if (pause === undefined) throw unwrapped(error)
        await sleep(pause * (0.75 + Math.random() / 2), undefined, { signal: options.signal }).catch(
          () => undefined,
        )
        refuseIfAborted(options.signal, doing)
      }
    }
  }

  const putOnce = async (object: NewObject, { signal, onBytes }: PutOptions): Promise<StoredObject> => {
    const doing = `store ${object.key}`
    refuseIfAborted(signal, doing)
    const source = await object.open()
    let sourceFailure: Error | undefined
    const stop = new AbortController()
    const body = metered(source, {
      sizeBytes: object.sizeBytes,
      onBytes,
      failed: (error) => error,
      wrongSize: (passed) => sizeChanged(object, passed),
    })
    // The SDK only pipes the body: without this a source that failed would leave the request open until the
    // store gives up.
    body.on('error', (error) => {
      sourceFailure ??= error
      stop.abort()
    })
    const abortSignal = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])
    let answer: PutObjectCommandOutput
    try {
      answer = await client.send(putCommand(config, object, body), { abortSignal })
    } catch (error) {
      refuseIfAborted(signal, doing)
      if (sourceFailure !== undefined) throw sourceFailure
      const failure = await failureOf(error, 'put', doing)
      if (httpStatusOf(error) === 412) throw new PreconditionFailed(failure)
      throw new RequestFailed(failure, !neverConnected(error))
    } finally {
      body.destroy()
      source.destroy()
    }
    return acknowledged(config, object, answer)
  }

  /**
   * Whether the object is there already as it should be; null when it isn't there, or when the store can't be
   * asked. An object with other content is an error: it will never become ours.
   */
  const lookFor = async (
    object: NewObject,
    { signal }: PutOptions,
    taken: boolean,
  ): Promise<StoredObject | null> => {
    let present: StoredObject | null
    try {
      present = await head(object.key, undefined, { signal })
      if (present === null) return null
      if (present.sizeBytes === object.sizeBytes && present.sha256 === null) {
        present = { ...present, sha256: await hashOf(present, signal) }
      }
    } catch (error) {
      refuseIfAborted(signal, `store ${object.key}`)
      // After a lost answer the put's own failure says more than this one's.
      if (error instanceof RequorumError && (error.retryable || !taken)) return null
      throw error
    }
    if (present.sizeBytes === object.sizeBytes && present.sha256 === object.sha256) return present
    throw new RequorumError('store-mismatch', {
      what: `${object.key} is already in ${placeOf(config)}, with other content.`,
      why:
        `it has ${present.sizeBytes} bytes and SHA-256 ${present.sha256?.slice(0, 12)}…, ` +
        `ours has ${object.sizeBytes} bytes and ${object.sha256.slice(0, 12)}…`,
      todo: 'Leave it as it is and store under another name; look who else writes below this prefix.',
    })
  }

  const hashOf = async (version: StoredObject, signal: AbortSignal | undefined): Promise<Sha256> => {
    const { body } = await open(version.key, version.versionId, { signal })
    const hash = createHash('sha256')
    for await (const chunk of body) hash.update(Buffer.from(chunk))
    return sha256Schema.parse(hash.digest('hex'))
  }

  const putText = (key: string, text: string, options: StoreCallOptions = {}): Promise<StoredObject> => {
    const content = Buffer.from(text, 'utf8')
    const hash = sha256Schema.parse(createHash('sha256').update(content).digest('hex'))
    const open = (): Promise<Readable> => Promise.resolve(Readable.from([content]))
    return put({ key, sizeBytes: content.length, sha256: hash, open }, options)
  }

  const head = async (
    key: string,
    versionId?: string,
    { signal }: StoreCallOptions = {},
  ): Promise<StoredObject | null> =>
    request('head', `look at ${nameOf(key, versionId)}`, signal, async (options) => {
      const target = {
        Bucket: config.bucket,
        Key: key,
        ...(versionId === undefined ? {} : { VersionId: versionId }),
      }
      const answer = await headWithWords(target, options)
      if (answer === null) return null
      return {
        key,
        versionId: answer.VersionId ?? versionId ?? noVersions(config),
        sizeBytes: answer.ContentLength ?? missingField('size', key),
        sha256: sha256Of(answer.ChecksumSHA256),
      }
    })

  const headWithWords = async (
    target: { Bucket: string; Key: string; VersionId?: string },
    options: { abortSignal?: AbortSignal },
  ): Promise<HeadObjectCommandOutput | null> => {
    try {
      return await client.send(new HeadObjectCommand({ ...target, ChecksumMode: 'ENABLED' }), options)
    } catch (error) {
      const status = httpStatusOf(error)
      if (status === 405) return null
      if (status === 404) {
        await refuseMissingBucket(options)
        return null
      }
      if (status !== 403) throw error
    }
    // AWS tells the checksum only to those who may decrypt; the rest it tells everybody who may read.
    try {
      return await client.send(new HeadObjectCommand(target), options)
    } catch (error) {
      // The answer to HEAD has no body and so no reason; that to GET has.
      if (httpStatusOf(error) !== 403) throw error
      const answer = await client.send(new GetObjectCommand({ ...target, Range: 'bytes=0-0' }), options)
      if (answer.Body instanceof Readable) answer.Body.destroy()
      throw error
    }
  }

  /** A 404 to HEAD doesn't say whether the object or the whole bucket is missing. */
  const refuseMissingBucket = async (options: { abortSignal?: AbortSignal }): Promise<void> => {
    try {
      await client.send(new HeadBucketCommand({ Bucket: config.bucket }), options)
    } catch (error) {
      // Anything else leaves the answer as it was: not everybody may ask for the bucket.
      if (httpStatusOf(error) !== 404) return
      throw new RequorumError('store-refused', {
        what: `There is no ${placeOf(config)}.`,
        todo: 'Correct store.bucket, or make the bucket, with versioning on.',
      })
    }
  }

  const open = async (
    key: string,
    versionId: string,
    { signal }: StoreCallOptions = {},
  ): Promise<{ body: Readable; sizeBytes: number }> => {
    const doing = `read ${nameOf(key, versionId)}`
    return request('get', doing, signal, async (options) => {
      const command = new GetObjectCommand({ Bucket: config.bucket, Key: key, VersionId: versionId })
      const answer = await client.send(command, options)
      const source = answer.Body
      if (!(source instanceof Readable)) throw new TypeError('the SDK gave no stream for the body')
      const sizeBytes = answer.ContentLength ?? missingField('size', key)
      // The abort signal of the request ends with its headers; the body needs its own.
      const abort = (): void => {
        body.destroy(storeCancelled(config, doing, signal?.reason))
      }
      const body = metered(source, {
        sizeBytes,
        // Without `failureOf`, which is asynchronous; a broken connection holds no secret anyway.
        failed: (error) => storeFailure({ error, asked: 'get', doing, config, secrets: [] }),
        wrongSize: (passed) => cutShort(key, sizeBytes, passed),
      })
      signal?.addEventListener('abort', abort, { once: true })
      if (signal?.aborted === true) abort()
      body.once('close', () => signal?.removeEventListener('abort', abort))
      return { body, sizeBytes }
    })
  }

  const readText = async (
    key: string,
    versionId: string,
    maxBytes: number,
    options: StoreCallOptions = {},
  ): Promise<string> => {
    const { body, sizeBytes } = await open(key, versionId, options)
    if (sizeBytes > maxBytes) {
      body.destroy()
      throw new RequorumError('output-too-large', {
        what: `${key} in ${placeOf(config)} has ${sizeBytes} bytes, and a text of ${maxBytes} at most was expected.`,
        todo: 'Look at it by hand: it is probably not what its name says.',
      })
    }
    return (await buffer(body)).toString('utf8')
  }

  async function* versions(prefix: string, { signal }: StoreCallOptions = {}): AsyncGenerator<ObjectVersion> {
    let from: { KeyMarker?: string; VersionIdMarker?: string } = {}
    for (;;) {
      const command = new ListObjectVersionsCommand({ Bucket: config.bucket, Prefix: prefix, ...from })
      const page = await request('list', `list ${prefix}*`, signal, (options) =>
        client.send(command, options),
      )
      yield* inOrder(page)
      if (page.IsTruncated !== true) return
      const next = {
        ...(page.NextKeyMarker === undefined ? {} : { KeyMarker: page.NextKeyMarker }),
        ...(page.NextVersionIdMarker === undefined ? {} : { VersionIdMarker: page.NextVersionIdMarker }),
      }
      if (
        next.KeyMarker === undefined ||
        (next.KeyMarker === from.KeyMarker && next.VersionIdMarker === from.VersionIdMarker)
      ) {
        throw new RequorumError('store-refused', {
          what: `The listing of ${prefix}* in ${placeOf(config)} does not go on.`,
          why: 'the store says that there is more, and gives no new place to go on from',
          todo: 'Report this to whoever runs the store: a listing that stops short would hide snapshots.',
        })
      }
      from = next
    }
  }

  const check = async ({ signal }: StoreCallOptions = {}): Promise<void> => {
    const deadline = AbortSignal.timeout(checkMs)
    const both = signal === undefined ? deadline : AbortSignal.any([signal, deadline])
    try {
      await checkWithin(both)
    } catch (error) {
      refuseIfAborted(signal, 'check whether backups can be stored')
      if (!deadline.aborted) throw error
      throw new RequorumError('store-unreachable', {
        what: `Could not check ${placeOf(config)}.`,
        why: `it did not answer everything within ${checkMs / 1000} s`,
        todo: 'Look whether the store and its KMS are up and can be reached from this host; then check again.',
      })
    }
  }

  const checkWithin = async (signal: AbortSignal): Promise<void> => {
    const versioning = await request('check', 'ask whether versions are kept', signal, (options) =>
      client.send(new GetBucketVersioningCommand({ Bucket: config.bucket }), options),
    )
    if (versioning.Status !== 'Enabled') noVersions(config)
    const text = `Requorum was here at ${new Date().toISOString()} (${randomBytes(8).toString('hex')})\n`
    const name = `${compactUtc(new Date())}-${randomBytes(4).toString('hex')}.txt`
    const probe = await putText(`${config.prefix}probe/${name}`, text, { signal })
    const back = await readText(probe.key, probe.versionId, 1_024, { signal })
    if (back !== text) {
      throw new RequorumError('store-mismatch', {
        what: `The ${placeOf(config)} gave back something else than was stored in ${probe.key}.`,
        todo: 'Do not trust this store with snapshots; look what stands between it and this host.',
      })
    }
    const kept = await request('head', `look at ${probe.key}`, signal, (options) =>
      client.send(
        new HeadObjectCommand({ Bucket: config.bucket, Key: probe.key, VersionId: probe.versionId }),
        options,
      ),
    )
    refuseOtherKey(config, probe.key, kept)
  }

  return { put, putText, head, open, readText, versions, check }
}

const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** A put that the store or the connection failed; carries the failure as the caller will see it. */
class RequestFailed extends Error {
  readonly failure: RequorumError
  readonly mayHaveArrived: boolean
  constructor(failure: RequorumError, mayHaveArrived = true) {
    super(failure.message)
    this.failure = failure
    this.mayHaveArrived = mayHaveArrived
  }
}
/** 412: something has this key already. */
class PreconditionFailed extends RequestFailed {}

function unwrapped(error: unknown): unknown {
  return error instanceof RequestFailed ? error.failure : error
}

function putCommand(config: ClusterConfig['store'], object: NewObject, body: Readable): PutObjectCommand {
  const command = new PutObjectCommand({
    Bucket: config.bucket,
    Key: object.key,
    Body: body,
    ContentLength: object.sizeBytes,
    ContentType: /\.json$/.test(object.key) ? 'application/json' : 'application/octet-stream',
    IfNoneMatch: '*',
    ServerSideEncryption: 'aws:kms',
    SSEKMSKeyId: config.kmsKeyId,
    ChecksumSHA256: Buffer.from(object.sha256, 'hex').toString('base64'),
  })
  // A stream goes out as UNSIGNED-PAYLOAD otherwise, and the signature would say nothing about the content.
  command.middlewareStack.add(
    (next) => (args) => {
      if (hasHeaders(args.request)) args.request.headers['x-amz-content-sha256'] = object.sha256
      return next(args)
    },
    { step: 'build', name: 'signedPayload', priority: 'low' },
  )
  return command
}

function hasHeaders(request: unknown): request is { headers: Record<string, string> } {
  return (
    typeof request === 'object' &&
    request !== null &&
    'headers' in request &&
    typeof request.headers === 'object'
  )
}

function refuseTooLarge({ key, sizeBytes }: NewObject): void {
  if (sizeBytes <= LARGEST_PUT_BYTES) return
  throw new RequorumError('snapshot-too-large', {
    what: `${key} has ${sizeBytes} bytes, more than the 5 GiB that S3 takes in a single put.`,
    todo: 'Compact and defragment etcd, so that the snapshot gets smaller; Requorum stores no larger one yet.',
  })
}

function sizeChanged({ key, sizeBytes }: NewObject, passed: number): RequorumError {
  return new RequorumError('store-mismatch', {
    what: `The content for ${key} was to have ${sizeBytes} bytes.`,
    why: passed > sizeBytes ? 'it went on after that' : `it ended after ${passed}`,
    todo: 'Save the snapshot again: its file changed after it was measured. Nothing was stored.',
  })
}

function cutShort(key: string, sizeBytes: number, passed: number): RequorumError {
  return new RequorumError('store-unreachable', {
    what: `The content of ${key} came with another size than the store announced.`,
    why: passed > sizeBytes ? `more than ${sizeBytes} bytes came` : `${passed} of ${sizeBytes} bytes came`,
    todo: 'Read it again.',
  })
}

function nameOf(key: string, versionId: string | undefined): string {
  return versionId === undefined ? key : `version ${versionId} of ${key}`
}
