import { randomBytes } from 'node:crypto'
import { GetBucketVersioningCommand, GetObjectLockConfigurationCommand } from '@aws-sdk/client-s3'
import { RequorumError } from '../../domain/failures.ts'
import { compactUtc } from '../../domain/values.ts'
import type { ObjectStore, StoreCallOptions } from './object-store.ts'
import { noLock, noVersions } from './s3-answers.ts'
import { httpStatusOf, placeOf } from './s3-failures.ts'
import { locksObjects } from './s3-kept.ts'
import { refuseForeignKey } from './s3-reads.ts'
import type { S3Requests } from './s3-requests.ts'

export function s3Check(
  requests: S3Requests,
  texts: Pick<ObjectStore, 'putText' | 'readText'>,
): Pick<ObjectStore, 'check'> {
  const { config, limits, request, refuseIfAborted } = requests
  const { checkMs } = limits
  const check = async ({ signal }: StoreCallOptions = {}): Promise<void> => {
    const deadline = AbortSignal.timeout(checkMs)
    const both = signal === undefined ? deadline : AbortSignal.any([signal, deadline])
    try {
      await checkWithin(both)
    } catch (error) {
      refuseIfAborted(signal, 'check whether backups can be stored')
      if (!deadline.aborted) throw error
      throw new RequorumError('store-unreachable', {
        what: `Could not check ${placeOf(config)}.`,
        why: `it did not answer everything within ${checkMs / 1000} s`,
        todo: 'Look whether the store and its KMS are up and can be reached from this host; then check again.',
      })
    }
  }

  const checkWithin = async (signal: AbortSignal): Promise<void> => {
    const versioning = await request('check', 'ask whether versions are kept', signal, (client, options) =>
      client.send(new GetBucketVersioningCommand({ Bucket: config.bucket }), options),
    )
    if (versioning.Status !== 'Enabled') noVersions(config)
    if (locksObjects(requests)) await refuseWithoutLock(signal)
    const text = `Requorum was here at ${new Date().toISOString()} (${randomBytes(8).toString('hex')})\n`
    const name = `${compactUtc(new Date())}-${randomBytes(4).toString('hex')}.txt`
    const probe = await texts.putText(`${config.prefix}probe/${name}`, text, { signal })
    const back = await texts.readText(probe.key, probe.versionId, 1_024, { signal })
    if (back !== text) {
      throw new RequorumError('store-mismatch', {
        what: `The ${placeOf(config)} gave back something else than was stored in ${probe.key}.`,
        todo: 'Do not trust this store with snapshots; look what stands between it and this host.',
      })
    }
    await refuseForeignKey(requests, probe, signal)
  }

  const refuseWithoutLock = async (signal: AbortSignal): Promise<void> => {
    const command = new GetObjectLockConfigurationCommand({ Bucket: config.bucket })
    const lock = await request('check', 'ask whether objects can be locked', signal, (client, options) =>
      client.send(command, options).catch((error: unknown) => {
        if (httpStatusOf(error) === 404) return null
        throw error
      }),
    )
    if (lock?.ObjectLockConfiguration?.ObjectLockEnabled !== 'Enabled') noLock(config)
  }

  return { check }
}
