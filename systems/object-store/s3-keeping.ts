import {
  CopyObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  PutObjectRetentionCommand,
  PutObjectTaggingCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { RequorumError } from '../../domain/failures.ts'
import type { StoredObject } from '../../domain/snapshot.ts'
import type { ObjectStore, StoreCallOptions } from './object-store.ts'
import { missingField, noVersions, refuseOtherKey } from './s3-answers.ts'
import { checksumsOf } from './s3-checksums.ts'
import { httpStatusOf, placeOf } from './s3-failures.ts'
import { keptAs } from './s3-kept.ts'
import { nameOf, type S3Requests } from './s3-requests.ts'

const HOUR_MS = 3_600_000

type Keeping = Pick<ObjectStore, 'copy' | 'tag' | 'tags'>

/** What is done to objects that are stored already, without moving them through this host. */
export function s3Keeping(requests: S3Requests, reads: Pick<ObjectStore, 'head'>): Keeping {
  const { config, request } = requests
  const copy = async (
    from: StoredObject,
    key: string,
    { signal }: StoreCallOptions = {},
  ): Promise<StoredObject> =>
    request('copy', `copy ${from.key} to ${key}`, signal, async (client, options) => {
      const versionId = await copyOnce(client, from, key, options)
      // The answer to a copy does not say how it is encrypted (SeaweedFS 4.48), and after 412 there is none.
      const target = {
        Bucket: config.bucket,
        Key: key,
        ...(versionId === null ? {} : { VersionId: versionId }),
      }
      const copied = await client.send(new HeadObjectCommand({ ...target, ChecksumMode: 'ENABLED' }), options)
      refuseOtherKey(config, key, copied)
      const found: StoredObject = {
        key,
        versionId: copied.VersionId ?? versionId ?? noVersions(config),
        sizeBytes: copied.ContentLength ?? missingField('size', key),
        ...checksumsOf(copied.ChecksumSHA256),
      }
      // What was in parts AWS makes one piece, with a SHA-256 of the whole; SeaweedFS (4.48) keeps that over the parts.
      const same =
        found.hashOfParts === undefined
          ? found.sha256 === from.sha256
          : found.hashOfParts === from.hashOfParts
      if (found.sizeBytes === from.sizeBytes && same) {
        await lockAsLong(client, found, copied.ObjectLockRetainUntilDate, options)
        return found
      }
      throw new RequorumError('store-mismatch', {
        what: `${key} in ${placeOf(config)} is no copy of ${from.key}.`,
        why:
          `it has ${found.sizeBytes} bytes and SHA-256 ${found.sha256?.slice(0, 12) ?? 'unknown'}, ` +
          `the original ${from.sizeBytes} bytes and ${from.sha256?.slice(0, 12) ?? 'unknown'}`,
        todo: 'Leave it as it is, and look who else writes below this prefix.',
      })
    })

  /** @returns the version that was made; null when the key was taken, by an earlier attempt as it may be */
  const copyOnce = async (
    client: S3Client,
    from: StoredObject,
    key: string,
    options: { abortSignal?: AbortSignal },
  ): Promise<string | null> => {
    if ((await reads.head(key)) !== null) return null
    const source = `${config.bucket}/${from.key}`.split('/').map(encodeURIComponent).join('/')
    const command = new CopyObjectCommand({
      Bucket: config.bucket,
      Key: key,
      CopySource: `${source}?versionId=${encodeURIComponent(from.versionId)}`,
      IfNoneMatch: '*',
      ...keptAs(requests, key),
      ChecksumAlgorithm: 'SHA256',
      // What the original is tagged with says when the original may go.
      TaggingDirective: 'REPLACE',
    })
    try {
      return (await client.send(command, options)).VersionId ?? noVersions(config)
    } catch (error) {
      if (httpStatusOf(error) === 412) return null
      throw error
    }
  }

  /** Some stores (SeaweedFS 4.48) give a copy the lock of its original, whatever the request says. */
  const lockAsLong = async (
    client: S3Client,
    { key, versionId }: StoredObject,
    until: Date | undefined,
    options: { abortSignal?: AbortSignal },
  ): Promise<void> => {
    const { ObjectLockMode: Mode, ObjectLockRetainUntilDate: wanted } = keptAs(requests, key)
    // What was copied a moment ago, by an attempt before this one, is locked long enough.
    if (wanted === undefined || (until !== undefined && wanted.getTime() - until.getTime() < HOUR_MS)) return
    const target = { Bucket: config.bucket, Key: key, VersionId: versionId }
    const Retention = { Mode, RetainUntilDate: wanted }
    await client.send(new PutObjectRetentionCommand({ ...target, Retention }), options)
  }

  const tags = async (
    key: string,
    versionId: string,
    { signal }: StoreCallOptions = {},
  ): Promise<Readonly<Record<string, string>>> =>
    request('tag', `read the tags of ${nameOf(key, versionId)}`, signal, async (client, options) => {
      const target = { Bucket: config.bucket, Key: key, VersionId: versionId }
      const { TagSet } = await client.send(new GetObjectTaggingCommand(target), options)
      return Object.fromEntries((TagSet ?? []).map(({ Key = '', Value = '' }) => [Key, Value]))
    })

  const tag = async (
    key: string,
    versionId: string,
    name: string,
    value: string,
    options: StoreCallOptions = {},
  ): Promise<boolean> => {
    const there = await tags(key, versionId, options)
    if (there[name] === value) return false
    // A put of tags replaces all of them, and somebody else's say something too.
    const TagSet = Object.entries({ ...there, [name]: value }).map(([Key, Value]) => ({ Key, Value }))
    const target = { Bucket: config.bucket, Key: key, VersionId: versionId }
    await request('tag', `tag ${nameOf(key, versionId)}`, options.signal, (client, sending) =>
      client.send(new PutObjectTaggingCommand({ ...target, Tagging: { TagSet } }), sending),
    )
    return true
  }

  return { copy, tag, tags }
}
