import { S3ServiceException } from '@aws-sdk/client-s3'
import { reasonOf, RequorumError, type FailureCode } from '../../domain/failures.ts'
import type { ClusterConfig } from '../../domain/cluster-config.ts'

/** What a failed request means to us: the code, and what the person can do. */
interface Meaning {
  readonly code: FailureCode
  readonly todo: string
}

const TRY_LATER =
  'Look whether the store is up and can be reached from this host; the step can be tried again.'
const CREDENTIALS =
  'Correct the access key, secret or session token (store.credentialsFile and store.profile of the cluster file).'
const OTHER_CONTENT = 'Nothing was overwritten: compare the two, and store under another name.'

/** Error names of S3 and KMS, with what to do. Source: S3 API Reference, "Error responses"; KMS.* of SSE-KMS. */
const BY_NAME: Readonly<Record<string, Meaning>> = {
  SlowDown: { code: 'store-unreachable', todo: TRY_LATER },
  RequestTimeout: { code: 'store-unreachable', todo: TRY_LATER },
  Throttling: { code: 'store-unreachable', todo: TRY_LATER },
  ThrottlingException: { code: 'store-unreachable', todo: TRY_LATER },
  'KMS.ThrottlingException': { code: 'store-unreachable', todo: TRY_LATER },
  // A connection that broke: fewer bytes arrived than were announced.
  IncompleteBody: { code: 'store-unreachable', todo: TRY_LATER },
  // Another write of the same key was under way (S3, "Conditional writes": 409 asks for a retry).
  ConditionalRequestConflict: { code: 'store-unreachable', todo: TRY_LATER },
  OperationAborted: { code: 'store-unreachable', todo: TRY_LATER },
  InvalidAccessKeyId: { code: 'store-refused', todo: CREDENTIALS },
  SignatureDoesNotMatch: { code: 'store-refused', todo: CREDENTIALS },
  InvalidToken: { code: 'store-refused', todo: CREDENTIALS },
  ExpiredToken: { code: 'store-refused', todo: `These have expired. ${CREDENTIALS}` },
  CredentialsProviderError: { code: 'store-refused', todo: CREDENTIALS },
  TokenProviderError: { code: 'store-refused', todo: CREDENTIALS },
  RequestTimeTooSkewed: {
    code: 'store-refused',
    todo: "Set this host's clock; it is more than 15 minutes off.",
  },
  NoSuchBucket: {
    code: 'store-refused',
    todo: 'Correct store.bucket, or make the bucket, with versioning on.',
  },
  PermanentRedirect: { code: 'store-refused', todo: 'Correct store.region: the bucket is in another one.' },
  AuthorizationHeaderMalformed: { code: 'store-refused', todo: 'Correct store.region.' },
  NoSuchKey: {
    code: 'store-object-missing',
    todo: 'Look at the versions below its prefix, or take another snapshot.',
  },
  NoSuchVersion: {
    code: 'store-object-missing',
    todo: 'Look at the versions below its prefix, or take another snapshot.',
  },
  // Completed or given up meanwhile: the next attempt looks, and begins anew.
  NoSuchUpload: { code: 'store-unreachable', todo: 'It is tried again from the start.' },
  BadDigest: { code: 'store-mismatch', todo: 'Save the snapshot again: it changed after it was hashed.' },
  InvalidDigest: { code: 'store-mismatch', todo: 'Save the snapshot again.' },
  XAmzContentChecksumMismatch: {
    code: 'store-mismatch',
    todo: 'Save the snapshot again: it changed after it was hashed.',
  },
  XAmzContentSHA256Mismatch: {
    code: 'store-mismatch',
    todo: 'Save the snapshot again: it changed after it was hashed.',
  },
  PreconditionFailed: { code: 'store-mismatch', todo: OTHER_CONTENT },
  EntityTooLarge: { code: 'snapshot-too-large', todo: 'Look up the limit of this store for a single put.' },
}

const EXPIRED = /^(?:Expired(?:Token|TokenException)|TokenRefreshRequired)$/

/** Whether the store says that the credentials were good once. */
export function isExpired(error: unknown): boolean {
  return EXPIRED.test(factsOf(error).name)
}

/** What Node and OpenSSL say of a certificate they don't trust; trying again changes nothing. */
const TLS = /^(ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|HOSTNAME_MISMATCH)/

/** What each of these requests needs on AWS; named when the store says no. */
export type Asked = 'put' | 'get' | 'head' | 'list' | 'copy' | 'tag' | 'check'
const PERMISSIONS: Readonly<Record<Asked, string>> = {
  put: 's3:PutObject and, for the KMS key, kms:GenerateDataKey; in parts also what docs/your-cluster.md says',
  get: 's3:GetObjectVersion and, for the KMS key, kms:Decrypt',
  head: 's3:GetObject and s3:GetObjectVersion (with kms:Decrypt for the checksum)',
  list: 's3:ListBucketVersions',
  copy: 's3:GetObjectVersion, s3:PutObject and, for the KMS key, kms:Decrypt and kms:GenerateDataKey',
  tag: 's3:GetObjectVersionTagging and s3:PutObjectVersionTagging',
  check: 's3:GetBucketVersioning',
}

export function meaningOf(
  error: unknown,
  asked: Asked,
  { kmsKeyId, role }: Pick<ClusterConfig['store'], 'kmsKeyId' | 'role'>,
): Meaning {
  const { name, code, status } = factsOf(error)
  const known = BY_NAME[name] ?? BY_NAME[code]
  // A session of a role is taken anew, which credentials of a file are not.
  if (role !== undefined && EXPIRED.test(name))
    return {
      code: 'store-unreachable',
      todo: `The session of ${role} had ended; the next attempt takes a new one.`,
    }
  if (known !== undefined) return known
  if (name.startsWith('KMS.') && status < 500) {
    return {
      code: 'store-refused',
      todo: `Look that KMS key ${kmsKeyId} exists, is enabled, and may be used by these credentials.`,
    }
  }
  if (status >= 500) {
    // SeaweedFS answers a KMS that says no with a bare 500 InternalError [tried, 4.48].
    const kms =
      asked === 'put' || asked === 'get'
        ? ` Its log says more; if only such requests fail, its KMS doesn't let it use key ${kmsKeyId}.`
        : ''
    return { code: 'store-unreachable', todo: `${TRY_LATER}${kms}` }
  }
  if (status === 429 || status === 408) return { code: 'store-unreachable', todo: TRY_LATER }
  if (status === 401 || status === 403) {
    return {
      code: 'store-refused',
      todo: `Allow these credentials ${PERMISSIONS[asked]} (IAM, bucket and key policy).`,
    }
  }
  // 405: the named version is a delete marker.
  if (status === 404 || status === 405) {
    return {
      code: 'store-object-missing',
      todo: 'Look at the versions below its prefix, or take another snapshot.',
    }
  }
  if (status === 412) return { code: 'store-mismatch', todo: OTHER_CONTENT }
  if (status >= 300)
    return { code: 'store-refused', todo: 'Compare the store section of the cluster file with the store.' }
  if (TLS.test(code)) {
    return {
      code: 'store-refused',
      todo: "Make this host trust the store's certificate (NODE_EXTRA_CA_CERTS).",
    }
  }
  if (status > 0) {
    return {
      code: 'store-refused',
      todo: 'Look whether store.endpoint is an S3 service: its answer is not one of S3.',
    }
  }
  // Node's connection errors carry a code in capitals; the SDK calls its own limits TimeoutError.
  if (name === 'TimeoutError' || /^E[A-Z_]+$/.test(code) || /socket hang up|aborted/.test(reasonOf(error))) {
    return { code: 'store-unreachable', todo: TRY_LATER }
  }
  return { code: 'unexpected', todo: 'Report this, with the log around it.' }
}

/** `bucket x at host`, without anything else that an endpoint URL may hold. */
export function placeOf(config: ClusterConfig['store']): string {
  const host = config.endpoint === undefined ? `AWS S3, ${config.region}` : new URL(config.endpoint).host
  return `bucket ${config.bucket} at ${host}`
}

export interface FailedRequest {
  readonly error: unknown
  readonly asked: Asked
  /** What could not be done, to follow "could not": `store daily/x.db`. */
  readonly doing: string
  readonly config: ClusterConfig['store']
  /** Texts that must not appear: the access key, the secret, the token in use. */
  readonly secrets: readonly string[]
}

/**
 * The failure of one request as the person has to see it. A `RequorumError` stays as it is. The cause is a
 * plain copy of name, message and stack: the SDK's own error carries the request and the store's whole answer,
 * which on a wrong signature holds the access key and the string that was signed.
 */
export function storeFailure({ error, asked, doing, config, secrets }: FailedRequest): RequorumError {
  if (error instanceof RequorumError) return error
  const { code, todo } = meaningOf(error, asked, config)
  const clean = (text: string): string => scrub(text, secrets)
  const cause = new Error(clean(reasonOf(error)))
  cause.name = clean(factsOf(error).name)
  if (error instanceof Error && error.stack !== undefined) cause.stack = clean(error.stack)
  return new RequorumError(
    code,
    {
      what: clean(`Could not ${doing} in ${placeOf(config)}.`),
      why: clean(wordsOf(error)),
      todo: clean(todo),
    },
    { cause },
  )
}

/** Whether it failed before a connection stood, so that the store can't have seen anything of it. */
export function neverConnected(error: unknown): boolean {
  const { code } = factsOf(error)
  return (
    /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/.test(code) ||
    // The words of NodeHttpHandler's own connection timeout, which has no code (@smithy/node-http-handler).
    reasonOf(error).includes('did not establish a connection')
  )
}

/** A call that its signal ended. The signal's reason is the cause. */
export function storeCancelled(
  config: ClusterConfig['store'],
  doing: string,
  reason: unknown,
): RequorumError {
  return new RequorumError(
    'cancelled',
    {
      what: `Was to ${doing} in ${placeOf(config)}, and was cancelled.`,
      todo: 'Nothing, unless the cancellation was a mistake; then start it again.',
    },
    { cause: reason },
  )
}

export function httpStatusOf(error: unknown): number {
  return factsOf(error).status
}

function factsOf(error: unknown): { name: string; code: string; status: number; requestId: string } {
  const none = { name: '', code: '', status: 0, requestId: '' }
  if (typeof error !== 'object' || error === null) return none
  const metadata = '$metadata' in error && typeof error.$metadata === 'object' ? (error.$metadata ?? {}) : {}
  return {
    name: 'name' in error && typeof error.name === 'string' ? error.name : '',
    code: 'code' in error && typeof error.code === 'string' ? error.code : '',
    status:
      'httpStatusCode' in metadata && typeof metadata.httpStatusCode === 'number'
        ? metadata.httpStatusCode
        : 0,
    requestId: 'requestId' in metadata && typeof metadata.requestId === 'string' ? metadata.requestId : '',
  }
}

/** The store's own words; for a request that got none (HEAD has no body) at least the status. */
function wordsOf(error: unknown): string {
  const { name, code, status, requestId } = factsOf(error)
  if (!(error instanceof S3ServiceException)) {
    const words = reasonOf(error)
    // An AggregateError of a host with two addresses has a code and no message.
    return words === '' ? code || name : code === '' || words.includes(code) ? words : `${code}: ${words}`
  }
  const named = /^Unknown/.test(name) ? '' : name
  const message = /^Unknown/.test(error.message) ? '' : error.message
  const request = requestId === '' ? '' : `, request ${requestId}`
  return `${[named, message].filter((part) => part !== '').join(': ')} (HTTP ${status}${request})`.trimStart()
}

function scrub(text: string, secrets: readonly string[]): string {
  const known = secrets
    .filter((secret) => secret !== '')
    .reduce((rest, secret) => rest.replaceAll(secret, '(hidden)'), text)
  return known
    .replace(/\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g, '(hidden)')
    .replace(/(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s"]+/gi, '$1(hidden)')
}
