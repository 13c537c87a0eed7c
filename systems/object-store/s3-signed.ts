import { GetObjectCommand, PutObjectCommand, S3ServiceException, UploadPartCommand } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import type { Part } from '../../domain/parts.ts'
import type { SignedAnswer, SignedRequest } from '../../domain/signed-request.ts'
import type { Sha256 } from '../../domain/values.ts'
import type { NewObject, ObjectStore, StoreCallOptions } from './object-store.ts'
import { base64Of } from './s3-checksums.ts'
import { keptAs, keptHeaders } from './s3-kept.ts'
import { nameOf, type S3Requests } from './s3-requests.ts'

/** A put of this object and no other: its size, checksum, encryption and lock are signed with it. */
export async function signedPut(
  requests: S3Requests,
  object: Omit<NewObject, 'open'>,
): Promise<SignedRequest> {
  const { config, clientFor, limits } = requests
  const kept = keptAs(requests, object.key)
  const headers = { 'if-none-match': '*', [CHECKSUM]: base64Of(object.sha256), ...keptHeaders(kept) }
  const command = new PutObjectCommand({
    Bucket: config.bucket,
    Key: object.key,
    ContentLength: object.sizeBytes,
    IfNoneMatch: '*',
    ...kept,
    ChecksumSHA256: headers[CHECKSUM],
  })
  return { url: await getSignedUrl(clientFor('put'), command, withHeaders(headers, limits)), headers }
}

/** A put of this part of this upload and no other: its size and checksum are signed with it. */
export async function signedPart(
  { config, clientFor, limits }: S3Requests,
  key: string,
  uploadId: string,
  part: Part,
): Promise<SignedRequest> {
  const headers = { [CHECKSUM]: base64Of(part.sha256) }
  const command = new UploadPartCommand({
    ...{ Bucket: config.bucket, Key: key, UploadId: uploadId, PartNumber: part.number },
    ContentLength: part.sizeBytes,
    ChecksumSHA256: headers[CHECKSUM],
  })
  return { url: await getSignedUrl(clientFor('put'), command, withHeaders(headers, limits)), headers }
}

const CHECKSUM = 'x-amz-checksum-sha256'

function withHeaders(headers: Readonly<Record<string, string>>, limits: S3Requests['limits']) {
  return {
    expiresIn: secondsOf(limits),
    // In the URL, where the presigner puts them, they would be signed and not obeyed.
    unhoistableHeaders: new Set(Object.keys(headers)),
    // Whoever sends it says the length of what he has; another one than this fits no signature.
    signableHeaders: new Set(['host', 'content-length', ...Object.keys(headers)]),
  }
}

function secondsOf({ signedMs }: S3Requests['limits']): number {
  return Math.ceil(signedMs / 1_000)
}

/** Signs the content with its SHA-256. A stream goes out as UNSIGNED-PAYLOAD otherwise, and the signature says nothing of it. */
export function signPayload(command: PutObjectCommand | UploadPartCommand, sha256: Sha256): void {
  const name = (request: unknown): void => {
    if (hasHeaders(request)) request.headers['x-amz-content-sha256'] = sha256
  }
  const at = { step: 'build', name: 'signedPayload', priority: 'low' } as const
  // The same twice: the two stacks have types of their own.
  if (command instanceof PutObjectCommand) {
    command.middlewareStack.add((next) => (args) => (name(args.request), next(args)), at)
  } else command.middlewareStack.add((next) => (args) => (name(args.request), next(args)), at)
}

function hasHeaders(request: unknown): request is { headers: Record<string, string> } {
  return (
    typeof request === 'object' &&
    request !== null &&
    'headers' in request &&
    typeof request.headers === 'object'
  )
}

/** A refused or unanswered request as the SDK would have thrown it, so that one table says what it means. */
export function asThrown({ status, code, message }: SignedAnswer): Error {
  if (status === 0) return Object.assign(new Error(message), { code })
  return new S3ServiceException({
    name: code === '' ? 'Unknown' : code,
    message: message === '' ? 'Unknown' : message,
    $fault: status >= 500 ? 'server' : 'client',
    $metadata: { httpStatusCode: status },
  })
}

export function succeeded({ status }: SignedAnswer): boolean {
  return status >= 200 && status < 300
}

export function s3SignedReads({
  config,
  clientFor,
  limits,
  failureOf,
  refuseIfAborted,
}: S3Requests): Pick<ObjectStore, 'getBy'> {
  const getBy = async (
    key: string,
    versionId: string,
    send: (request: SignedRequest) => Promise<SignedAnswer>,
    { signal }: StoreCallOptions = {},
  ): Promise<void> => {
    const doing = `read ${nameOf(key, versionId)}`
    refuseIfAborted(signal, doing)
    const command = new GetObjectCommand({ Bucket: config.bucket, Key: key, VersionId: versionId })
    const url = await getSignedUrl(clientFor('get'), command, { expiresIn: secondsOf(limits) })
    const answer = await send({ url, headers: {} })
    if (!succeeded(answer)) throw await failureOf(asThrown(answer), 'get', doing)
  }
  return { getBy }
}
