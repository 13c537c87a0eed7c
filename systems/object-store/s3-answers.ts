import type {
  DeleteMarkerEntry,
  HeadObjectCommandOutput,
  ListObjectVersionsCommandOutput,
  ObjectVersion as ObjectVersionEntry,
  PutObjectCommandOutput,
} from '@aws-sdk/client-s3'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError } from '../../domain/failures.ts'
import type { StoredObject } from '../../domain/snapshot.ts'
import type { NewObject, ObjectVersion } from './object-store.ts'
import { sha256Of } from './s3-checksums.ts'
import { placeOf } from './s3-failures.ts'

/** What the store acknowledged, held against what was asked for. */
export function acknowledged(
  config: ClusterConfig['store'],
  object: NewObject,
  answer: PutObjectCommandOutput,
): StoredObject {
  const versionId = answer.VersionId ?? noVersions(config)
  refuseOtherKey(config, object.key, answer)
  const stored = sha256Of(answer.ChecksumSHA256)
  if (stored !== null && stored !== object.sha256) {
    throw new RequorumError('store-mismatch', {
      what: `The ${placeOf(config)} acknowledged ${object.key} with another checksum.`,
      why: `it says SHA-256 ${stored.slice(0, 12)}…, ours is ${object.sha256.slice(0, 12)}…`,
      todo: 'Do not use that object; look what stands between the store and this host.',
    })
  }
  return { key: object.key, versionId, sizeBytes: object.sizeBytes, sha256: stored }
}

export function refuseOtherKey(
  config: ClusterConfig['store'],
  key: string,
  answer: Pick<HeadObjectCommandOutput, 'ServerSideEncryption' | 'SSEKMSKeyId'>,
): void {
  const encryption = answer.ServerSideEncryption
  const byKms = encryption === 'aws:kms' || encryption === 'aws:kms:dsse'
  if (byKms && answer.SSEKMSKeyId !== undefined && isSameKmsKey(config.kmsKeyId, answer.SSEKMSKeyId)) return
  throw new RequorumError('store-refused', {
    what: `${key} in ${placeOf(config)} is not encrypted with the configured KMS key.`,
    why: `asked for ${config.kmsKeyId}; the store says ${encryption ?? 'not encrypted'}, key ${answer.SSEKMSKeyId ?? 'none'}`,
    todo: 'Correct store.kmsKeyId, or use a store that does SSE-KMS.',
  })
}

/**
 * Whether the key that answered is the configured one. AWS answers with the key's ARN whatever was asked for
 * (S3 API, PutObject, x-amz-server-side-encryption-aws-kms-key-id). An alias can't be told from that: any key
 * passes then.
 */
export function isSameKmsKey(configured: string, answered: string): boolean {
  if (configured === answered) return true
  if (!/^arn:[^:]+:kms:[^:]*:[^:]*:key\//.test(answered)) return false
  if (/^(arn:[^:]+:kms:[^:]*:[^:]*:)?alias\//.test(configured)) return true
  return answered.endsWith(`:key/${configured}`)
}

export function noVersions(config: ClusterConfig['store']): never {
  throw new RequorumError('store-refused', {
    what: `The ${placeOf(config)} keeps no versions, so a snapshot could be overwritten or deleted for good.`,
    todo: `Turn versioning on: aws s3api put-bucket-versioning --bucket ${config.bucket} --versioning-configuration Status=Enabled`,
  })
}

export function noLock(config: ClusterConfig['store']): never {
  throw new RequorumError('store-refused', {
    what: `The ${placeOf(config)} does not lock objects, and the cluster file wants it (retention.lock).`,
    todo: `Turn Object Lock on: aws s3api put-object-lock-configuration --bucket ${config.bucket} --object-lock-configuration ObjectLockEnabled=Enabled`,
  })
}

export function missingField(field: string, key: string): never {
  throw new RequorumError('store-refused', {
    what: `The store's answer about ${key} has no ${field}.`,
    todo: 'Look whether store.endpoint is an S3 service, and what stands between it and this host.',
  })
}

/** What is there under the key is not ours, and never will be. The two texts say what each of them is. */
export function otherContent(
  config: ClusterConfig['store'],
  key: string,
  present: string,
  ours: string,
): RequorumError {
  return new RequorumError('store-mismatch', {
    what: `${key} is already in ${placeOf(config)}, with other content.`,
    why: `it has ${present}, ours has ${ours}`,
    todo: 'Leave it as it is and store under another name; look who else writes below this prefix.',
  })
}

/** One page in S3's order: keys ascending in bytes, the newest first; the SDK gives markers in a list apart. */
export function inOrder(page: ListObjectVersionsCommandOutput): ObjectVersion[] {
  const entries: ObjectVersion[] = []
  const lists = [
    { list: page.Versions ?? [], deleteMarker: false },
    { list: page.DeleteMarkers ?? [], deleteMarker: true },
  ]
  for (const { list, deleteMarker } of lists) {
    for (const entry of list) {
      const { Key: key, VersionId: versionId, LastModified: modified } = entry
      if (key === undefined || versionId === undefined || modified === undefined)
        missingField('key, version or date', key ?? '?')
      entries.push({
        key,
        versionId,
        sizeBytes: sizeOf(entry),
        modifiedAt: modified.toISOString(),
        isLatest: entry.IsLatest === true,
        deleteMarker,
      })
    }
  }
  // Stable, so that within one list and one second the store's own order stays.
  return entries.sort(
    (a, b) =>
      Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)) ||
      Number(b.isLatest) - Number(a.isLatest) ||
      (a.modifiedAt < b.modifiedAt ? 1 : a.modifiedAt > b.modifiedAt ? -1 : 0),
  )
}

/** Delete markers have no size. */
function sizeOf(entry: ObjectVersionEntry | DeleteMarkerEntry): number {
  return 'Size' in entry && entry.Size !== undefined ? entry.Size : 0
}
