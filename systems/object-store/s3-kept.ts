import type { PutObjectCommandInput } from '@aws-sdk/client-s3'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { lockOf } from '../../domain/retention.ts'

/** What says how an object is to be kept. */
export interface KeptBy {
  readonly config: ClusterConfig['store']
  /** Without it nothing is locked. */
  readonly retention?: ClusterConfig['retention'] | undefined
}

/** Whether what is stored is locked at all. */
export function locksObjects({ retention }: Pick<KeptBy, 'retention'>): boolean {
  return retention !== undefined && retention.lock !== 'none'
}

type Kept = Pick<
  PutObjectCommandInput,
  'ServerSideEncryption' | 'SSEKMSKeyId' | 'ObjectLockMode' | 'ObjectLockRetainUntilDate'
>

/** How every object is kept: encrypted with the configured key and, where the cluster file says so, locked from now on. */
export function keptAs({ config, retention }: KeptBy, key: string): Kept {
  const encrypted = { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: config.kmsKeyId } as const
  const lock = retention === undefined ? null : lockOf({ prefix: config.prefix, retention }, key, new Date())
  return lock === null
    ? encrypted
    : { ...encrypted, ObjectLockMode: lock.mode, ObjectLockRetainUntilDate: lock.until }
}

/** The same as the headers of a request, as the SDK writes them. */
export function keptHeaders(kept: Kept): Record<string, string> {
  const { SSEKMSKeyId = '', ObjectLockMode, ObjectLockRetainUntilDate } = kept
  return {
    'x-amz-server-side-encryption': 'aws:kms',
    'x-amz-server-side-encryption-aws-kms-key-id': SSEKMSKeyId,
    ...(ObjectLockMode === undefined || ObjectLockRetainUntilDate === undefined
      ? {}
      : {
          'x-amz-object-lock-mode': ObjectLockMode,
          'x-amz-object-lock-retain-until-date': ObjectLockRetainUntilDate.toISOString().replace(
            '.000Z',
            'Z',
          ),
        }),
  }
}
