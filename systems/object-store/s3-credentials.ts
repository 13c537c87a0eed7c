import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { S3ClientConfig } from '@aws-sdk/client-s3'
// Not in package.json: it comes with client-s3 (through credential-provider-node), which re-exports no part of it.
import { fromIni } from '@aws-sdk/credential-provider-ini'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError } from '../../domain/failures.ts'

type Identity = Awaited<ReturnType<ReturnType<typeof fromIni>>>

/** The SDK asks again this long before `expiration` (credential-provider-node, runtime config of core). */
const SDK_HEADROOM_MS = 300_000

/**
 * The client options that say whose credentials are used: those of the configured file, and of nothing else
 * (no AWS_* variable and no ~/.aws/config changes them); without a file the SDK's default chain.
 *
 * A file is read again after `keptMs` milliseconds, so that keys which Vault or a person rotated there are used
 * without a restart. The provider rejects with `store-refused` when file or profile are not there.
 */
export function credentialOptions(
  config: ClusterConfig['store'],
  home: string,
  keptMs: number,
): Pick<S3ClientConfig, 'credentials' | 'profile'> {
  const { credentialsFile, profile } = config
  if (credentialsFile === undefined) return profile === undefined ? {} : { profile }
  const filepath = resolve(home, credentialsFile)
  // The same file twice: otherwise ~/.aws/config is merged in and may redirect a profile of the same name.
  const read = fromIni({
    filepath,
    configFilepath: filepath,
    profile: profile ?? 'default',
    ignoreCache: true,
    // For a profile that assumes a role: STS is asked in this region.
    clientConfig: { region: config.region },
  })
  return {
    credentials: async (): Promise<Identity> => {
      if (!existsSync(filepath)) {
        throw new RequorumError('store-refused', {
          what: `The store's credentials file ${filepath} is not there.`,
          todo: 'Put it there (mode 0600), or correct store.credentialsFile in the cluster file.',
        })
      }
      const identity = await read()
      const again = new Date(Date.now() + SDK_HEADROOM_MS + keptMs)
      const ends = identity.expiration
      return { ...identity, expiration: ends !== undefined && ends < again ? ends : again }
    },
  }
}
