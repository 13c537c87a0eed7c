import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  paginateListParts,
  UploadPartCommand,
  type MultipartUpload,
  type Part as StoredPart,
} from '@aws-sdk/client-s3'
import { RequorumError } from '../../domain/failures.ts'
import type { Part } from '../../domain/parts.ts'
import type { StoredObject } from '../../domain/snapshot.ts'
import { metered } from './metered.ts'
import type { ObjectInParts, ObjectStore, PartCarrier, StoreCallOptions } from './object-store.ts'
import { httpStatusOf, placeOf } from './s3-failures.ts'
import { pauseAfter } from './s3-pauses.ts'
import { sizeChanged } from './s3-puts.ts'
import { refuseForeignKey } from './s3-reads.ts'
import type { S3Requests } from './s3-requests.ts'
import { asThrown, signedPart, signPayload, succeeded } from './s3-signed.ts'

/** Uploads in parts: what a broken one has stored already is not sent again. */
export function s3Parts(
  requests: S3Requests,
  reads: Pick<ObjectStore, 'head'>,
): Pick<ObjectStore, 'putParts' | 'abandonParts'> {
  const { config, clientFor, failureOf, refuseIfAborted, request } = requests

  const putParts = async (
    object: ObjectInParts,
    carrier: PartCarrier,
    { signal }: StoreCallOptions = {},
  ): Promise<StoredObject> => {
    const present = await lookFor(object, signal)
    if (present !== null) return present
    const uploadId = (await newestUpload(object.key, signal)) ?? (await begin(object.key, signal))
    try {
      const there = await partsThere(object.key, uploadId, signal)
      for (const part of object.parts)
        if (!holds(there, part)) await carryPart(object, part, uploadId, carrier, signal)
      return await complete(object, uploadId, signal)
    } catch (error) {
      // Whoever tries again goes on with it; what can't succeed leaves nothing behind.
      const goesOn = error instanceof RequorumError && (error.retryable || error.code === 'cancelled')
      if (!goesOn) await abandon(object.key, uploadId).catch(() => undefined)
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
    throw new RequorumError('store-mismatch', {
      what: `${object.key} is already in ${placeOf(config)}, with other content or in other parts.`,
      why:
        `it has ${present.sizeBytes} bytes and SHA-256 ${present.hashOfParts ?? present.sha256 ?? 'unknown'}, ` +
        `ours has ${object.sizeBytes} bytes and ${ours}`,
      todo: 'Leave it as it is and store under another name; look who else writes below this prefix.',
    })
  }

  const uploads = (
    prefix: string,
    doing: string,
    signal: AbortSignal | undefined,
  ): Promise<MultipartUpload[]> =>
    request('put', doing, signal, async (client, options) => {
      const found: MultipartUpload[] = []
      let from: { KeyMarker?: string; UploadIdMarker?: string } = {}
      for (;;) {
        const target = { Bucket: config.bucket, Prefix: prefix, ...from }
        const page = await client.send(new ListMultipartUploadsCommand(target), options)
        found.push(...(page.Uploads ?? []))
        const { NextKeyMarker, NextUploadIdMarker } = page
        if (page.IsTruncated !== true || NextKeyMarker === undefined || NextUploadIdMarker === undefined)
          return found
        from = { KeyMarker: NextKeyMarker, UploadIdMarker: NextUploadIdMarker }
      }
    })

  /** What an earlier attempt began under this very key. */
  const newestUpload = async (key: string, signal: AbortSignal | undefined): Promise<string | null> => {
    const ours = (await uploads(key, `look what was begun of ${key}`, signal)).filter(
      ({ Key }) => Key === key,
    )
    const newest = ours.sort((one, other) => begunAt(other) - begunAt(one))[0]
    return newest?.UploadId ?? null
  }

  const begin = async (key: string, signal: AbortSignal | undefined): Promise<string> =>
    request('put', `begin ${key}`, signal, async (client, options) => {
      const command = new CreateMultipartUploadCommand({
        Bucket: config.bucket,
        Key: key,
        ContentType: 'application/octet-stream',
        ChecksumAlgorithm: 'SHA256',
        ServerSideEncryption: 'aws:kms',
        SSEKMSKeyId: config.kmsKeyId,
      })
      const { UploadId } = await client.send(command, options)
      if (UploadId === undefined) throw new TypeError('the store gave no ID for the upload')
      return UploadId
    })

  const partsThere = (
    key: string,
    uploadId: string,
    signal: AbortSignal | undefined,
  ): Promise<ReadonlyMap<number, StoredPart>> =>
    request('put', `see which parts of ${key} are there`, signal, async (client, options) => {
      const found = new Map<number, StoredPart>()
      const target = { Bucket: config.bucket, Key: key, UploadId: uploadId }
      for await (const page of paginateListParts({ client }, target)) {
        options.abortSignal?.throwIfAborted()
        for (const part of page.Parts ?? []) found.set(part.PartNumber ?? 0, part)
      }
      return found
    })

  const carryPart = async (
    object: ObjectInParts,
    part: Part,
    uploadId: string,
    carrier: PartCarrier,
    signal: AbortSignal | undefined,
  ): Promise<void> => {
    const doing = `store part ${part.number} of ${object.parts.length} of ${object.key}`
    for (let attempt = 1; ; attempt++) {
      refuseIfAborted(signal, doing)
      try {
        if ('send' in carrier) {
          const signed = await signedPart(requests, object.key, uploadId, part)
          const answer = await carrier.send(part, uploadId, signed)
          if (!succeeded(answer)) throw await failureOf(asThrown(answer), 'put', doing)
        } else await upload(object.key, part, uploadId, await carrier.open(part), doing, signal)
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
    uploadId: string,
    source: Readable,
    doing: string,
    signal: AbortSignal | undefined,
  ): Promise<void> => {
    let sourceFailure: Error | undefined
    const stop = new AbortController()
    const body = metered(source, {
      sizeBytes: part.sizeBytes,
      failed: (error) => error,
      wrongSize: (passed) => sizeChanged({ key, sizeBytes: part.sizeBytes }, passed),
    })
    body.on('error', (error) => {
      sourceFailure ??= error
      stop.abort()
    })
    const command = new UploadPartCommand({
      ...{ Bucket: config.bucket, Key: key, UploadId: uploadId, PartNumber: part.number },
      Body: body,
      ContentLength: part.sizeBytes,
      ChecksumSHA256: base64(part),
    })
    signPayload(command, part.sha256)
    const abortSignal = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])
    try {
      await clientFor('put').send(command, { abortSignal })
    } catch (error) {
      refuseIfAborted(signal, doing)
      throw sourceFailure ?? (await failureOf(error, 'put', doing))
    } finally {
      body.destroy()
      source.destroy()
    }
  }

  const complete = async (
    object: ObjectInParts,
    uploadId: string,
    signal: AbortSignal | undefined,
  ): Promise<StoredObject> => {
    const { key, parts } = object
    const there = await partsThere(key, uploadId, signal)
    const missing = parts.find((part) => !holds(there, part))
    if (missing !== undefined) {
      throw new RequorumError('store-mismatch', {
        what: `Part ${missing.number} of ${parts.length} of ${key} was stored, and is not in ${placeOf(config)}.`,
        todo: 'Nothing was completed. Look what stands between the sender and the store, and back up again.',
      })
    }
    const command = new CompleteMultipartUploadCommand({
      ...{ Bucket: config.bucket, Key: key, UploadId: uploadId, IfNoneMatch: '*' },
      MultipartUpload: {
        Parts: parts.map((part) => ({
          PartNumber: part.number,
          ETag: there.get(part.number)?.ETag,
          ChecksumSHA256: base64(part),
        })),
      },
    })
    const doing = `complete ${key}`
    await request('put', doing, signal, async (client, options) => {
      // Of a key that is taken the look afterwards says by what.
      await client.send(command, options).catch((error: unknown) => {
        if (httpStatusOf(error) !== 412) throw error
      })
    })
    const stored = await lookFor(object, signal)
    if (stored !== null) return stored
    throw new RequorumError('store-mismatch', {
      what: `${key} was completed, as the store says, and is not in ${placeOf(config)}.`,
      todo: 'Look at the store itself, and back up again.',
    })
  }

  const abandon = async (key: string, uploadId: string, signal?: AbortSignal): Promise<void> => {
    const target = { Bucket: config.bucket, Key: key, UploadId: uploadId }
    await request('put', `abandon the parts of ${key}`, signal, async (client, options) => {
      await client.send(new AbortMultipartUploadCommand(target), options).catch((error: unknown) => {
        // Completed or abandoned meanwhile.
        if (httpStatusOf(error) !== 404) throw error
      })
    })
  }

  const abandonParts = async (
    prefix: string,
    before: string,
    { signal }: StoreCallOptions = {},
  ): Promise<string[]> => {
    const old = (await uploads(prefix, `list what was begun below ${prefix}`, signal)).filter(
      (upload) => begunAt(upload) < Date.parse(before),
    )
    const gone: string[] = []
    for (const { Key: key, UploadId: uploadId } of old) {
      if (key === undefined || uploadId === undefined) continue
      await abandon(key, uploadId, signal)
      gone.push(key)
    }
    return gone
  }

  return { putParts, abandonParts }
}

/** Whether the store has that part: its size, and its checksum where the listing tells it (SeaweedFS 4.48 does not). */
function holds(there: ReadonlyMap<number, StoredPart>, part: Part): boolean {
  const found = there.get(part.number)
  if (found === undefined || found.Size !== part.sizeBytes) return false
  return found.ChecksumSHA256 === undefined || found.ChecksumSHA256 === base64(part)
}

function base64({ sha256 }: Pick<Part, 'sha256'>): string {
  return Buffer.from(sha256, 'hex').toString('base64')
}

/** Of one without a time nobody knows that it is old. */
function begunAt({ Initiated }: MultipartUpload): number {
  return Initiated?.getTime() ?? Number.POSITIVE_INFINITY
}

/**
 * What S3 keeps as the SHA-256 of an object in parts: the SHA-256 over those of the parts, and how many there are (S3
 * User Guide, "Checking object integrity", composite checksums).
 */
export function hashOfParts(parts: readonly Pick<Part, 'sha256'>[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(Buffer.from(part.sha256, 'hex'))
  return `${hash.digest('hex')}-${parts.length}`
}
