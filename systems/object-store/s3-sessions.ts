import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts'
import type { S3ClientConfig } from '@aws-sdk/client-s3'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { reasonOf, RequorumError } from '../../domain/failures.ts'

/** Who may do what. Each request is sent by the one that it needs. */
export type Right = 'writer' | 'verifier' | 'reader' | 'curator'

/** What a role's session is good for at most when its role was taken on by another role (IAM User Guide, "Role chaining"). */
const SESSION_SECONDS = 3_600

/** Credentials of a session. */
export interface Session {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string
  readonly expiration?: Date
}

interface Statement {
  readonly Effect: 'Allow'
  readonly Action: readonly string[]
  readonly Resource: readonly string[]
}

/**
 * What a session may do of all that its role may, as an IAM policy: the writer puts and reads nothing, the reader and
 * the verifier put nothing. Nobody deletes.
 */
export function sessionPolicy(
  right: Right,
  { bucket, prefix }: Pick<ClusterConfig['store'], 'bucket' | 'prefix'>,
  locks = false,
): { readonly Version: string; readonly Statement: readonly Statement[] } {
  const arn = `arn:aws:s3:::${bucket}`
  const may = (actions: readonly string[], ...resources: readonly string[]): Statement => ({
    Effect: 'Allow',
    Action: actions,
    Resource: resources,
  })
  const all = `${arn}/${prefix}*`
  // A put that locks what it stores needs this too; it only ever makes a lock longer.
  const locked = (where: string): Statement[] => (locks ? [may(['s3:PutObjectRetention'], where)] : [])
  const statements: Record<Right, readonly Statement[]> = {
    writer: [
      may(['s3:PutObject', 's3:ListMultipartUploadParts', 's3:AbortMultipartUpload'], all),
      ...locked(all),
      may(['s3:ListBucketMultipartUploads'], arn),
      may(['kms:GenerateDataKey', 'kms:Decrypt'], '*'),
    ],
    verifier: [
      may(['s3:GetObject', 's3:GetObjectVersion'], all),
      may(['s3:ListBucket', 's3:GetBucketVersioning'], arn),
      ...(locks
        ? [may(['s3:GetObjectRetention'], all), may(['s3:GetBucketObjectLockConfiguration'], arn)]
        : []),
      // Without it the store does not say the checksum of what it holds.
      may(['kms:Decrypt'], '*'),
    ],
    reader: [
      may(['s3:GetObject', 's3:GetObjectVersion'], all),
      may(['s3:ListBucket', 's3:ListBucketVersions'], arn),
      may(['kms:Decrypt'], '*'),
    ],
    curator: [
      may(['s3:GetObject', 's3:GetObjectVersion'], all),
      may(['s3:GetObjectTagging', 's3:GetObjectVersionTagging'], all),
      may(['s3:PutObjectTagging', 's3:PutObjectVersionTagging'], all),
      may(['s3:PutObject'], `${arn}/${prefix}monthly/*`),
      ...locked(`${arn}/${prefix}monthly/*`),
      may(['kms:Decrypt', 'kms:GenerateDataKey'], '*'),
    ],
  }
  return { Version: '2012-10-17', Statement: statements[right] }
}

/**
 * Sessions of a role, one for each right, held in memory alone and taken anew before they end.
 *
 * @param own - whose credentials take the role on; they need `sts:AssumeRole` for it and nothing else
 */
export function roleSessions(
  { config, locks }: { readonly config: ClusterConfig['store']; readonly locks: boolean },
  role: string,
  own: Pick<S3ClientConfig, 'credentials' | 'profile'>,
): (right: Right) => () => Promise<Session> {
  const endpoint = config.stsEndpoint ?? config.endpoint
  const sts = new STSClient({
    region: config.region,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...own,
    maxAttempts: 3,
  })
  return (right) => async () => {
    const command = new AssumeRoleCommand({
      RoleArn: role,
      RoleSessionName: `requorum-${right}`,
      DurationSeconds: SESSION_SECONDS,
      Policy: JSON.stringify(sessionPolicy(right, config, locks)),
    })
    const { Credentials: given } = await sts.send(command).catch((error: unknown) => {
      throw refused(role, right, reasonOf(error))
    })
    if (
      given?.AccessKeyId === undefined ||
      given.SecretAccessKey === undefined ||
      given.SessionToken === undefined
    )
      throw refused(role, right, 'STS answered without credentials')
    return {
      accessKeyId: given.AccessKeyId,
      secretAccessKey: given.SecretAccessKey,
      sessionToken: given.SessionToken,
      ...(given.Expiration === undefined ? {} : { expiration: given.Expiration }),
    }
  }
}

function refused(role: string, right: Right, why: string): RequorumError {
  return new RequorumError('store-refused', {
    what: `The role ${role} could not be taken on as ${right}.`,
    why,
    todo: 'Allow the credentials of the cluster file sts:AssumeRole for it, and let its trust policy name them.',
  })
}
