import type { Readable } from 'node:stream'
import { UploadPartCommand } from '@aws-sdk/client-s3'
import { RequorumError } from '../../domain/failures.ts'
import type { Part } from '../../domain/parts.ts'
import type { StoredObject } from '../../domain/snapshot.ts'
import type { ObjectInParts, ObjectStore, PartCarrier, StoreCallOptions } from './object-store.ts'
import { otherContent } from './s3-answers.ts'
import { base64Of, hashOfParts } from './s3-checksums.ts'
import { placeOf } from './s3-failures.ts'
import { pauseAfter } from './s3-pauses.ts'
import { refuseForeignKey } from './s3-reads.ts'
import type { S3Requests } from './s3-requests.ts'
import { asThrown, signedPart, signPayload, succeeded } from './s3-signed.ts'
import { sendStream } from './s3-streamed.ts'
import { holds, s3Uploads } from './s3-uploads.ts'

/** Uploads in parts: what a broken one has stored already is not sent again. */
export function s3Parts(
  requests: S3Requests,
  reads: Pick<ObjectStore, 'head'>,
): Pick<ObjectStore, 'putParts' | 'abandonParts'> {
  const { config, clientFor, failureOf, refuseIfAborted } = requests
  const uploads = s3Uploads(requests)

  const putParts = async (
    object: ObjectInParts,
    carrier: PartCarrier,
    { signal }: StoreCallOptions = {},
  ): Promise<StoredObject> => {
    const { key, parts } = object
    const present = await lookFor(object, signal)
    if (present !== null) return present
    const id = (await newestUpload(key, signal)) ?? (await uploads.begin(key, signal))
    try {
      const there = await uploads.parts(key, id, signal)
      for (const part of parts) if (!holds(there, part)) await carryPart(object, part, id, carrier, signal)
      return await complete(object, id, signal)
    } catch (error) {
      // Whoever tries again goes on with it; what can't succeed leaves nothing behind.
      const goesOn = error instanceof RequorumError && (error.retryable || error.code === 'cancelled')
      if (!goesOn) await uploads.giveUp(key, id).catch(() => undefined)
      throw error
    }
  }

  const lookFor = async (
    object: ObjectInParts,
    signal: AbortSignal | undefined,
  ): Promise<StoredObject | null> => {
    const present = await reads.head(object.key, undefined, { signal })
    if (present === null) return null
    const ours = hashOfParts(object.parts)
    if (present.sizeBytes === object.sizeBytes && present.hashOfParts === ours) {
      await refuseForeignKey(requests, present, signal)
      return present
    }
    throw otherContent(
      config,
      object.key,
      `${present.sizeBytes} bytes and SHA-256 ${present.hashOfParts ?? present.sha256 ?? 'unknown'}`,
      `${object.sizeBytes} bytes and, over its parts, ${ours}`,
    )
  }

  /** What an earlier attempt began under this very key. */
  const newestUpload = async (key: string, signal: AbortSignal | undefined): Promise<string | undefined> => {
    const ours = (await uploads.list(key, signal)).filter((upload) => upload.key === key)
    return ours.sort((one, other) => other.begunAt - one.begunAt)[0]?.id
  }

  const carryPart = async (
    object: ObjectInParts,
    part: Part,
    id: string,
    carrier: PartCarrier,
    signal: AbortSignal | undefined,
  ): Promise<void> => {
    const doing = `store part ${part.number} of ${object.parts.length} of ${object.key}`
    for (let attempt = 1; ; attempt++) {
      refuseIfAborted(signal, doing)
      try {
        if ('send' in carrier) {
          const answer = await carrier.send(part, id, await signedPart(requests, object.key, id, part))
          if (!succeeded(answer)) throw await failureOf(asThrown(answer), 'put', doing)
        } else await upload(object.key, part, id, await carrier.open(part), doing, signal)
        return
      } catch (error) {
        refuseIfAborted(signal, doing)
        const again = error instanceof RequorumError && error.code === 'store-unreachable'
        if (!again || !(await pauseAfter(attempt, signal))) throw error
      }
    }
  }

  const upload = async (
    key: string,
    part: Part,
    id: string,
    source: Readable,
    doing: string,
    signal: AbortSignal | undefined,
  ): Promise<void> => {
    await sendStream(
      requests,
      { source, content: { key, sizeBytes: part.sizeBytes }, doing, signal },
      (Body, sending) => {
        const command = new UploadPartCommand({
          ...{ Bucket: config.bucket, Key: key, UploadId: id, PartNumber: part.number, Body },
          ContentLength: part.sizeBytes,
          ChecksumSHA256: base64Of(part.sha256),
        })
        signPayload(command, part.sha256)
        return clientFor('put').send(command, sending)
      },
      (error) => failureOf(error, 'put', doing),
    )
  }

  const complete = async (
    object: ObjectInParts,
    id: string,
    signal: AbortSignal | undefined,
  ): Promise<StoredObject> => {
    const { key, parts } = object
    const there = await uploads.parts(key, id, signal)
    const missing = parts.find((part) => !holds(there, part))
    if (missing !== undefined) {
      throw new RequorumError('store-mismatch', {
        what: `Part ${missing.number} of ${parts.length} of ${key} was stored, and is not in ${placeOf(config)}.`,
        todo: 'Nothing was completed. Look what stands between the sender and the store, and back up again.',
      })
    }
    await uploads.complete(key, id, parts, there, signal)
    const stored = await lookFor(object, signal)
    if (stored !== null) return stored
    throw new RequorumError('store-mismatch', {
      what: `${key} was completed, as the store says, and is not in ${placeOf(config)}.`,
      todo: 'Look at the store itself, and back up again.',
    })
  }

  const abandonParts = async (
    prefix: string,
    before: string,
    { signal }: StoreCallOptions = {},
  ): Promise<string[]> => {
    const old = (await uploads.list(prefix, signal)).filter(({ begunAt }) => begunAt < Date.parse(before))
    for (const { key, id } of old) await uploads.giveUp(key, id, signal)
    return old.map(({ key }) => key)
  }

  return { putParts, abandonParts }
}
