import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import {
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  type HeadObjectCommandOutput,
  type S3Client,
} from '@aws-sdk/client-s3'
import { RequorumError } from '../../domain/failures.ts'
import type { StoredObject } from '../../domain/snapshot.ts'
import { metered } from './metered.ts'
import type { ObjectStore, ObjectVersion, StoreCallOptions } from './object-store.ts'
import { inOrder, missingField, noVersions, refuseOtherKey } from './s3-answers.ts'
import { checksumsOf } from './s3-checksums.ts'
import { httpStatusOf, placeOf, storeCancelled, storeFailure } from './s3-failures.ts'
import { nameOf, type S3Requests } from './s3-requests.ts'

type Reads = Pick<ObjectStore, 'head' | 'open' | 'readText' | 'versions'>

export function s3Reads({ config, request }: S3Requests): Reads {
  const head = async (
    key: string,
    versionId?: string,
    { signal }: StoreCallOptions = {},
  ): Promise<StoredObject | null> =>
    request('head', `look at ${nameOf(key, versionId)}`, signal, async (client, options) => {
      const target = {
        Bucket: config.bucket,
        Key: key,
        ...(versionId === undefined ? {} : { VersionId: versionId }),
      }
      const answer = await headWithWords(client, target, options)
      if (answer === null) return null
      return {
        key,
        versionId: answer.VersionId ?? versionId ?? noVersions(config),
        sizeBytes: answer.ContentLength ?? missingField('size', key),
        ...checksumsOf(answer.ChecksumSHA256),
        ...lockIn(answer),
      }
    })

  const headWithWords = async (
    client: S3Client,
    target: { Bucket: string; Key: string; VersionId?: string },
    options: { abortSignal?: AbortSignal },
  ): Promise<HeadObjectCommandOutput | null> => {
    try {
      return await client.send(new HeadObjectCommand({ ...target, ChecksumMode: 'ENABLED' }), options)
    } catch (error) {
      const status = httpStatusOf(error)
      if (status === 405) return null
      if (status === 404) {
        await refuseMissingBucket(client, options)
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
  const refuseMissingBucket = async (
    client: S3Client,
    options: { abortSignal?: AbortSignal },
  ): Promise<void> => {
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
    return request('get', doing, signal, async (client, options) => {
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
      const page = await request('list', `list ${prefix}*`, signal, (client, options) =>
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

  return { head, open, readText, versions }
}

/** Until when it can't be deleted; missing where it is not locked, or where the store does not say so. */
function lockIn({
  ObjectLockRetainUntilDate: until,
}: HeadObjectCommandOutput): Pick<StoredObject, 'lockedUntil'> {
  return until === undefined ? {} : { lockedUntil: until.toISOString() }
}

function cutShort(key: string, sizeBytes: number, passed: number): RequorumError {
  return new RequorumError('store-unreachable', {
    what: `The content of ${key} came with another size than the store announced.`,
    why: passed > sizeBytes ? `more than ${sizeBytes} bytes came` : `${passed} of ${sizeBytes} bytes came`,
    todo: 'Read it again.',
  })
}

/** Whether the store keeps that version under the configured key, by its own word. @throws `store-refused` */
export async function refuseForeignKey(
  { config, request }: S3Requests,
  { key, versionId }: Pick<StoredObject, 'key' | 'versionId'>,
  signal?: AbortSignal,
): Promise<void> {
  const kept = await request('head', `look at ${key}`, signal, (client, options) =>
    client.send(new HeadObjectCommand({ Bucket: config.bucket, Key: key, VersionId: versionId }), options),
  )
  refuseOtherKey(config, key, kept)
}
