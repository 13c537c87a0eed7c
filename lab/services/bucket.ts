import { createHash, createHmac } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AccessKey } from './object-server.ts'

/** A bucket as the lab's administrator sees it. */
export interface BucketAdmin {
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
  readonly admin: AccessKey
}

const PROBE_BUCKET = 'lab-probe'
const PROBE = 'readable'

const XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'

/** Makes the bucket with versioning on and SSE-KMS with this key by default; again does no harm. */
export async function prepareBucket(target: BucketAdmin, kmsKey: string): Promise<void> {
  const made = await request(target, 'PUT', '')
  // 409: it is there already, and this administrator owns it.
  if (!made.ok && made.status !== 409) throw await refusal('make the bucket', made)
  const versioning = `<VersioningConfiguration ${XMLNS}><Status>Enabled</Status></VersioningConfiguration>`
  await expectOk('turn versioning on', await request(target, 'PUT', 'versioning=', versioning))
  const rule =
    `<ServerSideEncryptionConfiguration ${XMLNS}><Rule><ApplyServerSideEncryptionByDefault>` +
    `<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>${kmsKey}</KMSMasterKeyID>` +
    `</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`
  await expectOk('set the default encryption', await request(target, 'PUT', 'encryption=', rule))
}

/** Whether the bucket answers its administrator. */
export async function bucketAnswers(target: BucketAdmin): Promise<boolean> {
  try {
    return (await request(target, 'HEAD', '')).ok
  } catch {
    return false
  }
}

/**
 * Waits until stored data can be read. SeaweedFS answers a moment before its volume server has told
 * the others which volumes it holds, and until then every read of an older object is a 500. A probe
 * object in a bucket of its own, without encryption so that a denied KMS does not matter, tells.
 * @throws Error when it can't be read after `limitMs`
 */
export async function untilReadable(target: BucketAdmin, limitMs = 60_000): Promise<void> {
  const probe = { ...target, bucket: PROBE_BUCKET }
  const deadline = Date.now() + limitMs
  for (;;) {
    const read = await request(probe, 'GET', '', '', 'probe')
    const text = await read.text()
    if (read.ok && text === PROBE) return
    if (read.status === 404) {
      await request(probe, 'PUT', '')
      await request(probe, 'PUT', '', PROBE, 'probe')
    }
    if (Date.now() > deadline) {
      throw new Error(
        `The lab's S3 server can't read what it stored, after ${limitMs / 1000} s: ${read.status} ${text.trim()}`,
      )
    }
    await sleep(100)
  }
}

/** Whether the server gets a data key from its KMS: in a bucket of its own that encrypts by default. */
export async function encrypts(target: BucketAdmin, kmsKey: string): Promise<boolean> {
  const probe = { ...target, bucket: `${PROBE_BUCKET}-encrypted` }
  await prepareBucket(probe, kmsKey)
  return (await request(probe, 'PUT', '', PROBE, 'probe')).ok
}

async function expectOk(what: string, response: Response): Promise<void> {
  if (!response.ok) throw await refusal(what, response)
  await response.arrayBuffer()
}

async function refusal(what: string, response: Response): Promise<Error> {
  return new Error(
    `The lab's S3 server refused to ${what}: ${response.status} ${(await response.text()).trim()}`,
  )
}

/**
 * One request on the bucket or an object in it, signed with AWS Signature Version 4 in path style. By hand, because
 * the S3 client library belongs to systems/object-store alone and these few calls are the lab's.
 */
async function request(
  target: BucketAdmin,
  method: string,
  query: string,
  body = '',
  object = '',
): Promise<Response> {
  const url = new URL(
    `/${target.bucket}${object === '' ? '' : `/${object}`}${query === '' ? '' : `?${query}`}`,
    target.endpoint,
  )
  const time = new Date().toISOString().replace(/[:-]|\.\d{3}/g, '')
  const day = time.slice(0, 8)
  const payload = sha256(body)
  const headers = { host: url.host, 'x-amz-content-sha256': payload, 'x-amz-date': time }
  const signed = Object.keys(headers).join(';')
  const canonical = [
    ...[method, url.pathname, query],
    ...Object.entries(headers).map(([name, value]) => `${name}:${value}`),
    ...['', signed, payload],
  ].join('\n')
  const scope = `${day}/${target.region}/s3/aws4_request`
  const toSign = ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n')
  const key = [day, target.region, 's3', 'aws4_request'].reduce<Buffer>(
    (secret, part) => createHmac('sha256', secret).update(part).digest(),
    Buffer.from(`AWS4${target.admin.secretAccessKey}`),
  )
  const signature = createHmac('sha256', key).update(toSign).digest('hex')
  return fetch(url, {
    method,
    headers: {
      'x-amz-content-sha256': payload,
      'x-amz-date': time,
      authorization:
        `AWS4-HMAC-SHA256 Credential=${target.admin.accessKeyId}/${scope}, ` +
        `SignedHeaders=${signed}, Signature=${signature}`,
    },
    ...(body === '' ? {} : { body }),
    signal: AbortSignal.timeout(30_000),
  })
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
