import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  paginateListParts,
  type Part as StoredPart,
} from '@aws-sdk/client-s3'
import type { Part } from '../../domain/parts.ts'
import { base64Of } from './s3-checksums.ts'
import { httpStatusOf } from './s3-failures.ts'
import { keptAs } from './s3-kept.ts'
import type { S3Requests } from './s3-requests.ts'

/** An upload in parts that was begun, and neither completed nor given up. */
export interface Upload {
  readonly key: string
  readonly id: string
  /** In milliseconds. Of one without a time nobody knows that it is old. */
  readonly begunAt: number
}

export type PartsThere = ReadonlyMap<number, StoredPart>

/** S3's requests about uploads in parts, one each. */
export function s3Uploads(requests: S3Requests) {
  const { config, request } = requests
  const list = (prefix: string, signal?: AbortSignal): Promise<Upload[]> =>
    request('put', `list what was begun below ${prefix}`, signal, async (client, options) => {
      const found: Upload[] = []
      let from: { KeyMarker?: string; UploadIdMarker?: string } = {}
      for (;;) {
        const target = { Bucket: config.bucket, Prefix: prefix, ...from }
        const page = await client.send(new ListMultipartUploadsCommand(target), options)
        for (const { Key: key, UploadId: id, Initiated: begun } of page.Uploads ?? [])
          if (key !== undefined && id !== undefined)
            found.push({ key, id, begunAt: begun?.getTime() ?? Number.POSITIVE_INFINITY })
        const { NextKeyMarker, NextUploadIdMarker } = page
        if (page.IsTruncated !== true || NextKeyMarker === undefined || NextUploadIdMarker === undefined)
          return found
        from = { KeyMarker: NextKeyMarker, UploadIdMarker: NextUploadIdMarker }
      }
    })

  const begin = (key: string, signal?: AbortSignal): Promise<string> =>
    request('put', `begin ${key}`, signal, async (client, options) => {
      const command = new CreateMultipartUploadCommand({
        Bucket: config.bucket,
        Key: key,
        ContentType: 'application/octet-stream',
        ChecksumAlgorithm: 'SHA256',
        ...keptAs(requests, key),
      })
      const { UploadId } = await client.send(command, options)
      if (UploadId === undefined) throw new TypeError('the store gave no ID for the upload')
      return UploadId
    })

  const parts = (key: string, id: string, signal?: AbortSignal): Promise<PartsThere> =>
    request('put', `see which parts of ${key} are there`, signal, async (client, options) => {
      const found = new Map<number, StoredPart>()
      const target = { Bucket: config.bucket, Key: key, UploadId: id }
      // The paginator knows no abort signal: it is looked at between pages.
      for await (const page of paginateListParts({ client }, target)) {
        options.abortSignal?.throwIfAborted()
        for (const part of page.Parts ?? []) found.set(part.PartNumber ?? 0, part)
      }
      return found
    })

  /** Of a key that is taken it says nothing: a look afterwards says by what. */
  const complete = (
    key: string,
    id: string,
    whole: readonly Part[],
    there: PartsThere,
    signal?: AbortSignal,
  ): Promise<void> =>
    request('put', `complete ${key}`, signal, async (client, options) => {
      const command = new CompleteMultipartUploadCommand({
        ...{ Bucket: config.bucket, Key: key, UploadId: id, IfNoneMatch: '*' },
        MultipartUpload: {
          Parts: whole.map((part) => ({
            PartNumber: part.number,
            ETag: there.get(part.number)?.ETag,
            ChecksumSHA256: base64Of(part.sha256),
          })),
        },
      })
      await client.send(command, options).catch((error: unknown) => {
        if (httpStatusOf(error) !== 412) throw error
      })
    })

  /** One that was completed or given up meanwhile is fine. */
  const giveUp = (key: string, id: string, signal?: AbortSignal): Promise<void> =>
    request('put', `give up the parts of ${key}`, signal, async (client, options) => {
      const target = { Bucket: config.bucket, Key: key, UploadId: id }
      await client.send(new AbortMultipartUploadCommand(target), options).catch((error: unknown) => {
        if (httpStatusOf(error) !== 404) throw error
      })
    })

  return { list, begin, parts, complete, giveUp }
}

/** Whether the store has that part: its size, and its checksum where the listing tells it (SeaweedFS 4.48 does not). */
export function holds(there: PartsThere, part: Part): boolean {
  const found = there.get(part.number)
  if (found === undefined || found.Size !== part.sizeBytes) return false
  return found.ChecksumSHA256 === undefined || found.ChecksumSHA256 === base64Of(part.sha256)
}
