import type { ObjectStore } from './object-store.ts'
import { s3Check } from './s3-check.ts'
import { s3Keeping } from './s3-keeping.ts'
import { s3Parts } from './s3-parts.ts'
import { s3Puts } from './s3-puts.ts'
import { s3Reads } from './s3-reads.ts'
import { s3SignedReads } from './s3-signed.ts'
import { s3Requests, type S3StoreRequest } from './s3-requests.ts'

/** An S3 bucket as an `ObjectStore`. Makes no connection until it is used. */
export function createS3Store(request: S3StoreRequest): ObjectStore {
  const requests = s3Requests(request)
  const reads = s3Reads(requests)
  const puts = s3Puts(requests, reads)
  return {
    ...reads,
    ...puts,
    ...s3Parts(requests, reads),
    ...s3SignedReads(requests),
    ...s3Keeping(requests, reads),
    ...s3Check(requests, { ...puts, ...reads }),
  }
}
