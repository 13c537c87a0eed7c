/** The lab's real store, SeaweedFS with OpenBao as its KMS, for one test file and in a directory of its own. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError, type FailureCode } from '../../domain/failures.ts'
import { startStore, type Store } from '../../lab/services/store.ts'
import type { ObjectStore } from '../../systems/object-store/object-store.ts'
import { createS3Store } from '../../systems/object-store/s3-store.ts'

export interface OwnStore {
  /** Requorum's home; the store's own files are in `store` below it. */
  readonly dir: string
  readonly lab: Store
  readonly config: ClusterConfig['store']
  readonly store: ObjectStore
  /** The same store as for a cluster file that names a role. */
  readonly storeWithRole: ObjectStore
  readonly end: () => Promise<void>
}

export async function ownStore(prefix = ''): Promise<OwnStore> {
  const dir = await mkdtemp(join(tmpdir(), 'requorum-own-store-'))
  const lab = await startStore({ dir: join(dir, 'store'), say: () => undefined })
  const { bucket, endpoint, region, kmsKeyId, credentialsFile, profile } = lab
  const config = { bucket, endpoint, region, prefix, kmsKeyId, pathStyle: true, credentialsFile, profile }
  return {
    ...{ dir, lab, config },
    store: createS3Store({ home: dir, config }),
    storeWithRole: createS3Store({ home: dir, config: { ...config, role: lab.role } }),
    end: async () => {
      await lab.stop()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

export async function failsWith(
  code: FailureCode,
  call: Promise<unknown>,
  words?: RegExp,
): Promise<RequorumError> {
  const error: unknown = await call.then(
    () => assert.fail(`succeeded, and should have failed with ${code}`),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof RequorumError, `not ours: ${String(error)}`)
  assert.equal(error.code, code, error.message)
  if (words !== undefined) assert.match(error.message, words)
  return error
}
