/**
 * What S3 may answer and the lab's store never does, from a server that says what it is told. That the requests
 * themselves are right is proved in object-store.test.ts, against the real store.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, beforeEach, test } from 'node:test'
import { RequorumError, type FailureCode } from '../../domain/failures.ts'
import { sha256 as sha256Schema } from '../../domain/values.ts'
import type { NewObject, ObjectStore } from '../../systems/object-store/object-store.ts'
import { isSameKmsKey } from '../../systems/object-store/s3-answers.ts'
import { meaningOf } from '../../systems/object-store/s3-failures.ts'
import { createS3Store } from '../../systems/object-store/s3-store.ts'

const ACCESS_KEY = 'AKIAQ5TESTTESTTEST12'
const SECRET = 'sEcReT/0123456789abcdef0123456789abcdef+'
const TOKEN = 'IQoJtoken//////////tokentokentoken'
const CONTENT = 'a snapshot'
const SUM = createHash('sha256').update(CONTENT).digest()
const GOOD = {
  'x-amz-version-id': 'v1',
  'x-amz-server-side-encryption': 'aws:kms',
  'x-amz-server-side-encryption-aws-kms-key-id': 'arn:aws:kms:eu-west-1:111122223333:key/our-key',
}
const WITH_SUM = { ...GOOD, 'x-amz-checksum-sha256': SUM.toString('base64') }

interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

let dir: string
let store: ObjectStore
let answer: (request: IncomingMessage) => Answer
let asked: string[] = []
const server = createServer((request, response) => {
  request.resume().once('end', () => {
    asked.push(request.method ?? '')
    const { status, headers = {}, body = '' } = answer(request)
    response.writeHead(status, {
      ...headers,
      ...(request.method === 'HEAD' ? {} : { 'content-length': body.length }),
    })
    response.end(request.method === 'HEAD' ? undefined : body)
  })
})

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'requorum-s3-answers-'))
  const profile = `[p]\naws_access_key_id=${ACCESS_KEY}\naws_secret_access_key=${SECRET}\naws_session_token=${TOKEN}\n`
  await writeFile(join(dir, 'credentials'), profile)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  store = createS3Store({
    config: {
      bucket: 'snapshots',
      endpoint: `http://127.0.0.1:${address.port}`,
      region: 'eu-west-1',
      prefix: '',
      kmsKeyId: 'our-key',
      pathStyle: true,
      credentialsFile: 'credentials',
      profile: 'p',
    },
    home: dir,
  })
})
beforeEach(() => {
  asked = []
})
after(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await rm(dir, { recursive: true, force: true })
})

const ERRORS: readonly [status: number, name: string, code: FailureCode, todo: RegExp][] = [
  [400, 'KMS.NotFoundException', 'store-refused', /KMS key our-key exists/],
  [400, 'KMS.DisabledException', 'store-refused', /KMS key our-key .*enabled/],
  [400, 'KMS.KMSInvalidStateException', 'store-refused', /KMS key our-key/],
  [403, 'AccessDenied', 'store-refused', /s3:GetObjectVersion .*kms:Decrypt/],
  [403, 'ExpiredToken', 'store-refused', /expired/],
  [400, 'InvalidToken', 'store-refused', /session token/],
  [403, 'RequestTimeTooSkewed', 'store-refused', /clock/],
  [301, 'PermanentRedirect', 'store-refused', /region/],
  [404, 'NoSuchBucket', 'store-refused', /store\.bucket/],
  [404, 'NoSuchKey', 'store-object-missing', /versions/],
  [405, 'MethodNotAllowed', 'store-object-missing', /versions/],
  [503, 'SlowDown', 'store-unreachable', /tried again/],
  [500, 'InternalError', 'store-unreachable', /KMS/],
  [400, 'InvalidArgument', 'store-refused', /cluster file/],
]
for (const [status, name, code, todo] of ERRORS) {
  test(`${name} (${status}) is ${code}, with the store's words and what to do`, async () => {
    answer = () => refusal(status, name, `Words about ${name}`)
    const failure = await failsWith(code, store.open('daily/x.db', 'v1'))
    assert.match(failure.text.what, /read version v1 of daily\/x\.db in bucket snapshots at 127\.0\.0\.1/)
    assert.match(
      failure.text.why ?? '',
      new RegExp(`${name.replaceAll('.', '\\.')}: Words about .*HTTP ${status}`),
    )
    assert.match(failure.text.todo, todo)
  })
}

test('an answer that repeats keys, token and signature is cleaned of them, in the cause too', async () => {
  const fields =
    `<AWSAccessKeyId>${ACCESS_KEY}</AWSAccessKeyId><StringToSign>AWS4-HMAC-SHA256 x</StringToSign>` +
    `<SignatureProvided>abcdef</SignatureProvided>`
  const words = `Key ${ACCESS_KEY} with ${SECRET}, ${TOKEN}, AKIAOTHEROTHEROTHER1 and ?X-Amz-Signature=abcdef`
  answer = () => refusal(403, 'SignatureDoesNotMatch', words, fields)
  const failure = await failsWith('store-refused', store.putText('a.json', 'x'))
  for (const text of [
    failure.message,
    JSON.stringify(failure.text),
    inspected(failure),
    inspected(failure.cause),
  ]) {
    assert.doesNotMatch(text, /AKIA|abcdef|AWS4-HMAC|IQoJtoken|sEcReT/)
  }
  assert.match(failure.message, /Key \(hidden\) with \(hidden\), \(hidden\), \(hidden\)/)
})

test('throttling is tried again with a fresh stream each time, three times in all', async () => {
  let left = 2
  answer = (request) => {
    if (request.method === 'HEAD') return { status: 404 }
    return left-- > 0
      ? refusal(503, 'SlowDown', 'Reduce your request rate.')
      : { status: 200, headers: WITH_SUM }
  }
  const { object, opened } = watchedObject()
  assert.equal((await store.put(object)).versionId, 'v1')
  assert.equal(opened(), 3)
})

test('a refusal is final: nothing is sent a second time, and nothing is printed', async (t) => {
  const printed = (['debug', 'info', 'warn', 'error'] as const).map((level) => t.mock.method(console, level))
  answer = () => refusal(403, 'AccessDenied', 'Access Denied')
  const { object, opened } = watchedObject()
  await failsWith('store-refused', store.put(object), /kms:GenerateDataKey/)
  assert.equal(opened(), 1)
  assert.deepEqual(asked, ['PUT'])
  // The SDK's own logger is the console.
  for (const { mock } of printed) assert.equal(mock.callCount(), 0)
})

test('a conflict with another write under way (409) is tried again', async () => {
  let left = 1
  answer = (request) => {
    if (request.method === 'HEAD') return { status: 404 }
    return left-- > 0
      ? refusal(409, 'ConditionalRequestConflict', 'Retry.')
      : { status: 200, headers: WITH_SUM }
  }
  assert.equal((await store.put(watchedObject().object)).versionId, 'v1')
})

test('412 over an object without a checksum: its content is read and hashed', async () => {
  for (const [body, code] of [
    [CONTENT, undefined],
    ['b snapshot', 'store-mismatch'],
  ] as const) {
    answer = (request) => {
      if (request.method === 'PUT') return refusal(412, 'PreconditionFailed', 'At least one')
      return { status: 200, headers: { ...GOOD, 'content-length': String(body.length) }, body }
    }
    const put = store.put(watchedObject().object)
    if (code === undefined) assert.equal((await put).sha256, SUM.toString('hex'))
    else await failsWith(code, put, /other content/)
  }
})

test('who may read and not decrypt still learns version and size; the checksum is null', async () => {
  answer = (request) =>
    request.headers['x-amz-checksum-mode'] === undefined
      ? { status: 200, headers: { ...GOOD, 'content-length': '10' } }
      : { status: 403 }
  assert.deepEqual(await store.head('x'), { key: 'x', versionId: 'v1', sizeBytes: 10, sha256: null })
})

test('a checksum over parts is not taken for that of the content', async () => {
  const headers = { ...GOOD, 'x-amz-checksum-sha256': `${SUM.toString('base64')}-3`, 'content-length': '10' }
  answer = () => ({ status: 200, headers })
  assert.equal((await store.head('x'))?.sha256, null)
})

test('a put that the store acknowledged otherwise than it was asked is no success', async () => {
  const cases: readonly [Readonly<Record<string, string>>, FailureCode, RegExp][] = [
    [without(WITH_SUM, 'x-amz-version-id'), 'store-refused', /put-bucket-versioning/],
    [without(WITH_SUM, 'x-amz-server-side-encryption'), 'store-refused', /not encrypted/],
    [{ ...WITH_SUM, 'x-amz-server-side-encryption': 'AES256' }, 'store-refused', /AES256/],
    [
      { ...WITH_SUM, 'x-amz-server-side-encryption-aws-kms-key-id': 'arn:aws:kms:r:1:key/other' },
      'store-refused',
      /key\/other/,
    ],
    [
      { ...WITH_SUM, 'x-amz-checksum-sha256': Buffer.alloc(32).toString('base64') },
      'store-mismatch',
      /another checksum/,
    ],
  ]
  for (const [headers, code, words] of cases) {
    answer = () => ({ status: 200, headers })
    await failsWith(code, store.put(watchedObject().object), words)
  }
})

test('a bucket without versioning fails the check before anything is written', async () => {
  for (const status of ['', '<Status>Suspended</Status>']) {
    answer = () => ({ status: 200, body: `<VersioningConfiguration>${status}</VersioningConfiguration>` })
    await failsWith('store-refused', store.check(), /keeps no versions/)
  }
  assert.deepEqual(new Set(asked), new Set(['GET']))
})

test('something that is not S3 is said to be that', async () => {
  answer = () => ({
    status: 200,
    headers: { 'content-type': 'text/html' },
    body: '<html><body>Welcome</p></html>',
  })
  await failsWith('store-refused', store.check())
})

test('a listing that does not go on is an error and not the end', async () => {
  const page =
    '<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>v</NextVersionIdMarker>'
  answer = () => ({ status: 200, body: `<ListVersionsResult>${page}</ListVersionsResult>` })
  const list = async (): Promise<void> => {
    for await (const version of store.versions('daily/')) assert.fail(version.key)
  }
  await failsWith('store-refused', list(), /does not go on/)
})

test('certificates that are not trusted are refused; what is unknown is said to be ours', () => {
  const failed = (code: string): Error => Object.assign(new Error('no'), { code })
  assert.equal(
    meaningOf(failed('DEPTH_ZERO_SELF_SIGNED_CERT'), 'get', { kmsKeyId: 'k' }).code,
    'store-refused',
  )
  assert.equal(meaningOf(failed('CERT_HAS_EXPIRED'), 'get', { kmsKeyId: 'k' }).code, 'store-refused')
  assert.equal(meaningOf(failed('ETIMEDOUT'), 'get', { kmsKeyId: 'k' }).code, 'store-unreachable')
  assert.equal(meaningOf(new TypeError('x is not a function'), 'get', { kmsKeyId: 'k' }).code, 'unexpected')
  assert.equal(meaningOf(undefined, 'get', { kmsKeyId: 'k' }).code, 'unexpected')
})

test('a KMS key is the same by its name, its ID in an ARN, or behind an alias', () => {
  const arn = 'arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab'
  assert.ok(isSameKmsKey('requorum-etcd', 'requorum-etcd'))
  assert.ok(isSameKmsKey(arn, arn))
  assert.ok(isSameKmsKey('1234abcd-12ab-34cd-56ef-1234567890ab', arn))
  assert.ok(isSameKmsKey('alias/etcd', arn))
  assert.ok(isSameKmsKey('arn:aws:kms:eu-west-1:111122223333:alias/etcd', arn))
  assert.ok(!isSameKmsKey('1234567890ab', arn))
  assert.ok(!isSameKmsKey(arn.replace('1234abcd', '9999abcd'), arn))
  assert.ok(!isSameKmsKey('alias/etcd', 'somebody-elses'))
})

function refusal(status: number, name: string, words: string, fields = ''): Answer {
  const body = `<?xml version="1.0"?><Error><Code>${name}</Code><Message>${words}</Message>${fields}</Error>`
  return { status, headers: { 'content-type': 'application/xml', 'x-amz-request-id': 'REQ1' }, body }
}

function without(headers: Readonly<Record<string, string>>, name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name))
}

function watchedObject(): { object: NewObject; opened: () => number } {
  let times = 0
  const open = (): Promise<Readable> => {
    times++
    return Promise.resolve(Readable.from([Buffer.from(CONTENT)]))
  }
  const sha256 = sha256Schema.parse(SUM.toString('hex'))
  return { object: { key: 'daily/x.db', sizeBytes: CONTENT.length, sha256, open }, opened: () => times }
}

function inspected(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return Object.getOwnPropertyNames(error)
    .filter((name) => name !== 'cause')
    .map((name) => JSON.stringify(Object.getOwnPropertyDescriptor(error, name)?.value))
    .join(' ')
}

async function failsWith(code: FailureCode, call: Promise<unknown>, words?: RegExp): Promise<RequorumError> {
  const error: unknown = await call.then(
    () => assert.fail(`succeeded, and should have failed with ${code}`),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof RequorumError, `not ours: ${String(error)}`)
  assert.equal(error.code, code, error.message)
  if (words !== undefined) assert.match(error.message, words)
  return error
}
