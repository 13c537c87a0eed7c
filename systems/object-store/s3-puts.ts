import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { PutObjectCommand } from '@aws-sdk/client-s3'
import { RequorumError } from '../../domain/failures.ts'
import type { StoredObject } from '../../domain/snapshot.ts'
import { sha256 as sha256Schema, type Sha256 } from '../../domain/values.ts'
import type { NewObject, ObjectStore, PutOptions, StoreCallOptions } from './object-store.ts'
import { acknowledged, otherContent } from './s3-answers.ts'
import { base64Of } from './s3-checksums.ts'
import { httpStatusOf, neverConnected, placeOf } from './s3-failures.ts'
import type { SignedAnswer, SignedRequest } from '../../domain/signed-request.ts'
import { keptAs } from './s3-kept.ts'
import type { S3Requests } from './s3-requests.ts'
import { refuseForeignKey } from './s3-reads.ts'
import { pauseAfter } from './s3-pauses.ts'
import { asThrown, signedPut, signPayload, succeeded } from './s3-signed.ts'
import { sendStream } from './s3-streamed.ts'

/** S3's limit for one PutObject (S3 User Guide, "Uploading objects"): 5 GiB. */
export const LARGEST_PUT_BYTES = 5 * 1024 ** 3

type Puts = Pick<ObjectStore, 'put' | 'putBy' | 'putText'>

type Described = Omit<NewObject, 'open'>

/** Puts that look before they send again, by means of these reads. */
export function s3Puts(requests: S3Requests, reads: Pick<ObjectStore, 'head' | 'open'>): Puts {
  const { config, clientFor, failureOf, refuseIfAborted } = requests

  const put = (object: NewObject, options: PutOptions = {}): Promise<StoredObject> =>
    upToThreeTimes(object, options, () => putOnce(object, options))

  const putBy: ObjectStore['putBy'] = (object, send, options = {}) =>
    upToThreeTimes(object, options, () => sentOnce(object, send, options))

  const upToThreeTimes = async (
    object: Described,
    options: StoreCallOptions,
    once: () => Promise<StoredObject>,
  ): Promise<StoredObject> => {
    refuseTooLarge(object)
    const doing = `store ${object.key}`
    for (let attempt = 1; ; attempt++) {
      try {
        return await once()
      } catch (error) {
        refuseIfAborted(options.signal, doing)
        // Only these two leave open whether the object is there: 412 says so, a lost answer says nothing.
        const taken = error instanceof PreconditionFailed
        if (!taken && !(error instanceof RequestFailed && error.failure.retryable)) throw unwrapped(error)
        const present = error.mayHaveArrived ? await lookFor(object, options, taken) : null
        if (present !== null) return present
        if (!(await pauseAfter(attempt, options.signal))) throw unwrapped(error)
        refuseIfAborted(options.signal, doing)
      }
    }
  }

  const putOnce = async (object: NewObject, { signal, onBytes }: PutOptions): Promise<StoredObject> => {
    const doing = `store ${object.key}`
    refuseIfAborted(signal, doing)
    const answer = await sendStream(
      requests,
      { source: await object.open(), content: object, doing, signal, onBytes },
      (body, sending) => clientFor('put').send(putCommand(requests, object, body), sending),
      async (error) => {
        const failure = await failureOf(error, 'put', doing)
        return httpStatusOf(error) === 412
          ? new PreconditionFailed(failure)
          : new RequestFailed(failure, !neverConnected(error))
      },
    )
    return acknowledged(config, object, answer)
  }

  const sentOnce = async (
    object: Described,
    send: (request: SignedRequest) => Promise<SignedAnswer>,
    { signal }: StoreCallOptions,
  ): Promise<StoredObject> => {
    const doing = `store ${object.key}`
    refuseIfAborted(signal, doing)
    const answer = await send(await signedPut(requests, object))
    if (!succeeded(answer)) {
      const failure = await failureOf(asThrown(answer), 'put', doing)
      if (answer.status === 412) throw new PreconditionFailed(failure)
      throw new RequestFailed(failure, answer.mayHaveArrived)
    }
    // What another says of the store's answer is not taken for it.
    const stored = await lookFor(object, { signal }, true)
    if (stored !== null) {
      await refuseForeignKey(requests, stored, signal)
      return stored
    }
    throw new RequorumError('store-mismatch', {
      what: `${object.key} was stored, as the node says, and is not in ${placeOf(config)}.`,
      todo: 'Look what stands between the node and the store; transfer: { way: relay } goes through this host instead.',
    })
  }

  /**
   * Whether the object is there already as it should be; null when it isn't there, or when the store can't be
   * asked. An object with other content is an error: it will never become ours.
   */
  const lookFor = async (
    object: Described,
    { signal }: StoreCallOptions,
    taken: boolean,
  ): Promise<StoredObject | null> => {
    let present: StoredObject | null
    try {
      present = await reads.head(object.key, undefined, { signal })
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
    throw otherContent(
      config,
      object.key,
      `${present.sizeBytes} bytes and SHA-256 ${present.sha256?.slice(0, 12)}…`,
      `${object.sizeBytes} bytes and ${object.sha256.slice(0, 12)}…`,
    )
  }

  const hashOf = async (version: StoredObject, signal: AbortSignal | undefined): Promise<Sha256> => {
    const { body } = await reads.open(version.key, version.versionId, { signal })
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

  return { put, putBy, putText }
}

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

function putCommand(requests: S3Requests, object: NewObject, body: Readable): PutObjectCommand {
  const command = new PutObjectCommand({
    Bucket: requests.config.bucket,
    Key: object.key,
    Body: body,
    ContentLength: object.sizeBytes,
    ContentType: /\.json$/.test(object.key) ? 'application/json' : 'application/octet-stream',
    IfNoneMatch: '*',
    ...keptAs(requests, object.key),
    ChecksumSHA256: base64Of(object.sha256),
  })
  signPayload(command, object.sha256)
  return command
}

function refuseTooLarge({ key, sizeBytes }: Described): void {
  if (sizeBytes <= LARGEST_PUT_BYTES) return
  throw new RequorumError('snapshot-too-large', {
    what: `${key} has ${sizeBytes} bytes, more than the 5 GiB that S3 takes in a single put.`,
    todo: 'Lower transfer.partsAbove in the cluster file, which stores it in parts.',
  })
}
