import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { credentialOptions } from './s3-credentials.ts'
import type { Asked } from './s3-failures.ts'
import { locksObjects, type KeptBy } from './s3-kept.ts'
import { roleSessions, type Right } from './s3-sessions.ts'

const RIGHT_FOR: Readonly<Record<Asked, Right>> = {
  put: 'writer',
  head: 'verifier',
  check: 'verifier',
  get: 'reader',
  list: 'reader',
  copy: 'curator',
  tag: 'curator',
}

/** The client for each right: one for all of them, or one each where the cluster file names a role. */
export function s3Clients(
  { config, retention }: KeptBy,
  home: string,
  credentialsMs: number,
  optionsWith: (credentials: Pick<S3ClientConfig, 'credentials' | 'profile'>) => S3ClientConfig,
): { readonly clientFor: (asked: Asked) => S3Client; readonly forget: (asked: Asked) => void } {
  const own = credentialOptions(config, home, credentialsMs)
  if (config.role === undefined) {
    const client = new S3Client(optionsWith(own))
    return { clientFor: () => client, forget: () => undefined }
  }
  const sessionOf = roleSessions({ config, locks: locksObjects({ retention }) }, config.role, own)
  const clients = new Map<Right, S3Client>()
  return {
    clientFor: (asked) => {
      const right = RIGHT_FOR[asked]
      const client = clients.get(right) ?? new S3Client(optionsWith({ credentials: sessionOf(right) }))
      clients.set(right, client)
      return client
    },
    // With its session, whatever of it the SDK has kept.
    forget: (asked) => void clients.delete(RIGHT_FOR[asked]),
  }
}
