/**
 * Against the lab's real store: SeaweedFS with OpenBao as its KMS, started here in a directory of its own.
 * Answers that it never gives (AWS's own errors) are in object-store-answers.test.ts.
 */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError } from '../../domain/failures.ts'
import { inParallel } from '../../domain/in-parallel.ts'
import { sha256 as sha256Schema } from '../../domain/values.ts'
import { partPath } from '../../lab/parts/parts.mjs'
import type { Store } from '../../lab/services/store.ts'
import { failingStore } from '../../systems/object-store/failing-store.ts'
import type { NewObject, ObjectStore, ObjectVersion } from '../../systems/object-store/object-store.ts'
import { LARGEST_PUT_BYTES } from '../../systems/object-store/s3-puts.ts'
import { createS3Store } from '../../systems/object-store/s3-store.ts'
import { BucketAdmin } from '../lab/bucket-admin.ts'
import { freePort } from './free-port.ts'
import { failsWith, ownStore, type OwnStore } from './own-store.ts'
import { proxyTo } from './proxy.ts'

const MIB = 1024 * 1024

describe('the object store', { skip: missingParts() }, () => {
  let dir: string
  let lab: Store
  let admin: BucketAdmin
  let config: ClusterConfig['store']
  let store: ObjectStore
  let end: OwnStore['end']

  before(async () => {
    ;({ dir, lab, config, store, end } = await ownStore('tests/'))
    admin = await BucketAdmin.of({ store: lab })
  })
  after(() => end())

  /** A store like the tested one, with something changed. */
  const otherwise = (changes: Partial<ClusterConfig['store']>): ObjectStore =>
    createS3Store({ config: { ...config, ...changes }, home: dir })

  const secretsOfLab = async (): Promise<string[]> =>
    [...(await readFile(lab.credentialsFile, 'utf8')).matchAll(/=\s*(\S+)/g)].map((match) => match[1] ?? '')

  test('check passes on a bucket that keeps versions and a key that may be used, and leaves its probe', async () => {
    await store.check()
    const probes = await listed(store, 'tests/probe/')
    assert.equal(probes.length, 1)
    assert.match(probes[0]?.key ?? '', /^tests\/probe\/\d{8}T\d{6}Z-[0-9a-f]{8}\.txt$/)
  })

  test('what was put comes back byte by byte, and the store says its size and checksum', async () => {
    const content = randomBytes(3 * MIB + 17)
    const object = objectOf('tests/whole.db', content)
    const sent: number[] = []
    const stored = await store.put(object, { onBytes: (bytes) => sent.push(bytes) })
    assert.equal(stored.sizeBytes, content.length)
    assert.equal(stored.sha256, object.sha256)
    assert.deepEqual(await store.head(object.key, stored.versionId), stored)
    assert.deepEqual(await store.head(object.key), stored)
    const opened = await store.open(object.key, stored.versionId)
    assert.equal(opened.sizeBytes, content.length)
    assert.ok((await buffer(opened.body)).equals(content))
    assert.equal(sent.at(-1), content.length)
  })

  test('a put that is repeated finds its own object and returns the same version', async () => {
    const object = objectOf('tests/repeated.db', randomBytes(5 * MIB))
    const first = await store.put(object)
    assert.deepEqual(await store.put(object), first)
    assert.equal((await listed(store, object.key)).length, 1)
  })

  test('nothing is overwritten: other content under the key is a mismatch, and the first stays', async () => {
    const first = await store.putText('tests/taken.json', '{"first":true}')
    await failsWith('store-mismatch', store.putText('tests/taken.json', '{"first":false}'), /other content/)
    assert.equal(await store.readText('tests/taken.json', first.versionId, 100), '{"first":true}')
    assert.equal((await listed(store, 'tests/taken.json')).length, 1)
  })

  test('content that is not what its checksum says is refused by the store and not kept', async () => {
    const object = {
      ...objectOf('tests/wrong-sum.db', randomBytes(1_000)),
      sha256: hashOf(Buffer.from('other')),
    }
    await failsWith('store-mismatch', store.put(object), /BadDigest/)
    assert.equal(await store.head(object.key), null)
  })

  test('a put whose answer was lost succeeds by looking, and stores one version only', async () => {
    await using proxy = await proxyTo(lab.endpoint)
    const object = objectOf('tests/lost-answer.db', randomBytes(MIB))
    let opened = 0
    const counted = { ...object, open: () => (opened++, object.open()) }
    proxy.dropAnswerTo(/^PUT /, 1)
    const stored = await otherwise({ endpoint: proxy.url }).put(counted)
    assert.equal(proxy.dropped(), 1, 'the fault has to have happened')
    assert.equal(stored.sha256, object.sha256)
    assert.equal(opened, 1, 'what is there is not sent again')
    assert.deepEqual(
      (await listed(store, object.key)).map((version) => version.versionId),
      [stored.versionId],
    )
  })

  test('a put that lost its answer and the look after it meets 412, and knows its own by the checksum', async () => {
    await using proxy = await proxyTo(lab.endpoint)
    const object = objectOf('tests/lost-twice.db', randomBytes(MIB))
    // The SDK itself asks a HEAD three times.
    proxy.dropAnswerTo(/^PUT /, 1)
    proxy.dropAnswerTo(/^HEAD /, 3)
    const stored = await otherwise({ endpoint: proxy.url }).put(object)
    assert.equal(proxy.dropped(), 4)
    assert.equal(proxy.requests().filter((head) => head.startsWith('PUT ')).length, 2)
    assert.deepEqual(
      (await listed(store, object.key)).map((version) => version.versionId),
      [stored.versionId],
    )
  })

  test('the checksum of the content is signed: changed on the way, the request is refused', async () => {
    await using proxy = await proxyTo(lab.endpoint)
    const through = otherwise({ endpoint: proxy.url })
    const object = objectOf('tests/signed.db', randomBytes(MIB))
    await through.put(object)
    const [head = ''] = proxy.requests()
    assert.match(head, new RegExp(`^x-amz-content-sha256: ${object.sha256}\\r$`, 'im'))
    assert.match(head, /SignedHeaders=[^,]*x-amz-content-sha256/)
    assert.match(head, /SignedHeaders=[^,]*x-amz-checksum-sha256/)
    assert.doesNotMatch(head, /aws-chunked|x-amz-trailer/i)
    const other = objectOf('tests/signed-not.db', randomBytes(1_000))
    proxy.replace(other.sha256, hashOf(Buffer.from('x')))
    await failsWith('store-refused', through.put(other), /SignatureDoesNotMatch/)
  })

  test('a version under a delete marker is gone by its name and still opens by its version', async () => {
    const stored = await store.putText('tests/hidden.json', 'still here')
    await admin.hide(stored.key)
    assert.equal(await store.head(stored.key), null)
    assert.deepEqual(await store.head(stored.key, stored.versionId), stored)
    assert.equal(await store.readText(stored.key, stored.versionId, 100), 'still here')
    const [marker, version] = await listed(store, stored.key)
    assert.deepEqual([marker?.deleteMarker, marker?.isLatest, marker?.sizeBytes], [true, true, 0])
    assert.deepEqual(
      [version?.deleteMarker, version?.isLatest, version?.versionId],
      [false, false, stored.versionId],
    )
    // The marker itself is a version that can be named, and there is nothing in it.
    assert.equal(await store.head(stored.key, marker?.versionId), null)
    await failsWith('store-object-missing', store.open(stored.key, marker?.versionId ?? ''))
  })

  test('an object or a version that is not there is null for head and store-object-missing for open', async () => {
    const stored = await store.putText('tests/there.json', 'x')
    assert.equal(await store.head('tests/not-there.json'), null)
    assert.equal(await store.head(stored.key, '0'.repeat(32)), null)
    await failsWith('store-object-missing', store.open('tests/not-there.json', stored.versionId))
    await failsWith('store-object-missing', store.open(stored.key, '0'.repeat(32)), /NoSuchVersion/)
  })

  test('a text longer than expected is not read', async () => {
    const stored = await store.putText('tests/long.json', 'x'.repeat(101))
    await failsWith('output-too-large', store.readText(stored.key, stored.versionId, 100))
    assert.equal((await store.readText(stored.key, stored.versionId, 101)).length, 101)
  })

  test('a wrong secret is refused by every method, and no message or cause holds a key or a secret', async () => {
    const secrets = await secretsOfLab()
    const wrong = 'Wr0ng'.repeat(8)
    const [accessKey = ''] = secrets
    await writeFile(
      join(dir, 'wrong'),
      `[default]\naws_access_key_id=${accessKey}\naws_secret_access_key=${wrong}\n`,
    )
    const { profile: _, ...withoutProfile } = config
    const bad = createS3Store({ config: { ...withoutProfile, credentialsFile: 'wrong' }, home: dir })
    const failures = [
      await failsWith('store-refused', bad.check(), /SignatureDoesNotMatch/),
      await failsWith('store-refused', bad.putText('tests/w.json', 'x'), /SignatureDoesNotMatch/),
      await failsWith('store-refused', bad.head('tests/there.json'), /SignatureDoesNotMatch/),
      await failsWith('store-refused', bad.open('tests/there.json', 'v'), /SignatureDoesNotMatch/),
      await failsWith('store-refused', listed(bad, 'tests/'), /SignatureDoesNotMatch/),
    ]
    for (const failure of failures) {
      const everything = revealed(failure)
      for (const secret of [...secrets, wrong]) assert.ok(!everything.includes(secret), everything)
      assert.doesNotMatch(everything, /Signature=|AWS4-HMAC/)
    }
  })

  test('an access key that the store does not know is refused', async () => {
    await writeFile(join(dir, 'unknown'), '[p]\naws_access_key_id=LABNOBODY\naws_secret_access_key=nothing\n')
    const bad = otherwise({ credentialsFile: 'unknown', profile: 'p' })
    const failure = await failsWith('store-refused', bad.check(), /InvalidAccessKeyId/)
    assert.ok(!revealed(failure).includes('LABNOBODY'))
  })

  test('a credentials file or a profile that is not there is said as such', async () => {
    await failsWith(
      'store-refused',
      otherwise({ credentialsFile: 'none' }).check(),
      /credentials file .*none/,
    )
    await failsWith('store-refused', otherwise({ profile: 'nobody' }).check(), /nobody/)
  })

  test('a bucket that is not there is refused, and not taken for a missing object', async () => {
    const admin = otherwise({ bucket: 'no-such-bucket', profile: lab.adminProfile })
    await failsWith('store-refused', admin.check(), /no-such-bucket/)
    await failsWith('store-refused', admin.head('tests/there.json'), /no bucket no-such-bucket/)
    await failsWith('store-refused', admin.putText('tests/x.json', 'x'), /NoSuchBucket/)
    await failsWith('store-refused', listed(admin, ''), /NoSuchBucket/)
    // Who may not look there is told that instead.
    await failsWith('store-refused', otherwise({ bucket: 'no-such-bucket' }).head('x'), /AccessDenied/)
  })

  test('a KMS key that the store may not use fails the put and the check, and names the key', async () => {
    const bad = otherwise({ kmsKeyId: lab.foreignKmsKeyId })
    // SeaweedFS says InternalError (500) for that, as for any fault of its own; AWS has KMS.* errors.
    await failsWith('store-unreachable', bad.putText('tests/foreign.json', 'x'), /KMS .*somebody-elses/)
    await failsWith('store-unreachable', bad.check(), /KMS .*somebody-elses/)
    assert.equal(await store.head('tests/foreign.json'), null)
  })

  test('a denied KMS fails put and open and names the key; head still answers', async () => {
    const stored = await store.putText('tests/before-denial.json', 'x')
    await lab.denyKms()
    try {
      await failsWith('store-unreachable', store.putText('tests/denied.json', 'x'), /KMS .*requorum-etcd/)
      await failsWith('store-unreachable', store.open(stored.key, stored.versionId), /KMS .*requorum-etcd/)
      assert.deepEqual(await store.head(stored.key, stored.versionId), stored)
    } finally {
      await lab.allowKms()
    }
    assert.equal(await store.readText(stored.key, stored.versionId, 10), 'x')
  })

  test('a store that is down is unreachable within seconds, for every method', async () => {
    const port = await freePort()
    const down = otherwise({ endpoint: `http://127.0.0.1:${port}` })
    const started = Date.now()
    await Promise.all([
      failsWith('store-unreachable', down.check(), /ECONNREFUSED/),
      failsWith(
        'store-unreachable',
        down.put(objectOf('tests/down.db', randomBytes(3 * MIB))),
        /ECONNREFUSED/,
      ),
      failsWith('store-unreachable', down.head('tests/there.json'), /ECONNREFUSED/),
      failsWith('store-unreachable', listed(down, ''), /ECONNREFUSED/),
      failsWith('store-unreachable', down.open('tests/there.json', 'v'), /ECONNREFUSED/),
    ])
    assert.ok(Date.now() - started < 20_000, `took ${Date.now() - started} ms`)
  })

  test('a store that accepts and never answers is unreachable after the idle limit', async () => {
    await using silent = await proxyTo(undefined)
    const limits = { connectMs: 500, idleMs: 300, checkMs: 2_000 }
    const mute = createS3Store({ config: { ...config, endpoint: silent.url }, home: dir, limits })
    await failsWith('store-unreachable', mute.head('tests/there.json'), /inactivity/)
    await failsWith('store-unreachable', mute.check())
  })

  test('a check that takes too long ends at its limit', async () => {
    await using silent = await proxyTo(undefined)
    const limits = { idleMs: 60_000, checkMs: 500 }
    const mute = createS3Store({ config: { ...config, endpoint: silent.url }, home: dir, limits })
    await failsWith('store-unreachable', mute.check(), /within 0.5 s/)
  })

  test('a connection that breaks or stalls in the middle of a read fails the body, not the process', async () => {
    const stored = await store.put(objectOf('tests/broken-read.db', randomBytes(8 * MIB)))
    await using proxy = await proxyTo(lab.endpoint)
    const limits = { idleMs: 500 }
    const through = createS3Store({ config: { ...config, endpoint: proxy.url }, home: dir, limits })
    for (const fault of ['cut', 'stall'] as const) {
      proxy.breakAnswerAfter(2 * MIB, fault)
      const { body } = await through.open(stored.key, stored.versionId)
      await failsWith('store-unreachable', buffer(body))
    }
  })

  test('all of 1,500 versions are listed over pages, keys ascending and each newest first', async () => {
    const keys = Array.from({ length: 1_450 }, (_, at) => `tests/many/${String(at).padStart(5, '0')}.json`)
    await inParallel(24, keys, async (key) => {
      await store.putText(key, key)
    })
    // One key with 50 versions and as many markers across the end of a page.
    const again = keys[980] ?? ''
    for (let round = 0; round < 50; round++) {
      await admin.hide(again)
      await store.putText(again, `round ${round}`)
    }
    const found = await listed(store, 'tests/many/')
    const versions = found.filter((version) => !version.deleteMarker)
    assert.equal(versions.length, 1_500)
    assert.equal(found.length - versions.length, 50)
    assert.equal(new Set(found.map((version) => version.key + version.versionId)).size, 1_550)
    assert.deepEqual([...new Set(found.map((version) => version.key))], keys)
    const ofOne = found.filter((version) => version.key === again)
    assert.equal(ofOne.length, 101)
    assert.deepEqual(
      ofOne.map((version) => version.isLatest),
      [true, ...Array<boolean>(100).fill(false)],
    )
    const times = ofOne.map((version) => version.modifiedAt)
    assert.deepEqual(times, times.toSorted().toReversed())
  })

  test('300 MiB go in and out at constant memory', async (t) => {
    const chunk = randomBytes(64 * 1024)
    const roundTrip = async (key: string, size: number): Promise<void> => {
      const content = function* (): Generator<Buffer> {
        for (let at = 0; at < size; at += chunk.length) yield chunk
      }
      const hash = createHash('sha256')
      for (const part of content()) hash.update(part)
      const sha256 = sha256Schema.parse(hash.digest('hex'))
      const open = (): Promise<Readable> => Promise.resolve(Readable.from(content()))
      const stored = await store.put({ key, sizeBytes: size, sha256, open })
      const read = createHash('sha256')
      const { body } = await store.open(stored.key, stored.versionId)
      for await (const part of body) read.update(Buffer.from(part))
      assert.equal(read.digest('hex'), sha256)
    }
    // What is loaded and warmed up once is not counted.
    await roundTrip('tests/warm-up.db', 32 * MIB)
    const before = process.memoryUsage().rss
    let highest = before
    const sampler = setInterval(() => (highest = Math.max(highest, process.memoryUsage().rss)), 10)
    const started = Date.now()
    await roundTrip('tests/large.db', 300 * MIB)
    clearInterval(sampler)
    const growth = `memory grew by ${((highest - before) / MIB).toFixed(0)} MiB`
    t.diagnostic(`${growth} in ${Date.now() - started} ms`)
    assert.ok(highest - before < 100 * MIB, growth)
  })

  test('more than 5 GiB is refused before anything is opened', async () => {
    const object = objectOf('tests/huge.db', Buffer.alloc(1))
    const open = (): Promise<Readable> => assert.fail('opened')
    await failsWith('snapshot-too-large', store.put({ ...object, sizeBytes: LARGEST_PUT_BYTES + 1, open }))
  })

  test('a put ends at once when its signal fires, and nothing is stored', async () => {
    const signal = AbortSignal.timeout(300)
    const object = objectOf('tests/aborted.db', randomBytes(4 * MIB))
    let source: Readable | undefined
    const slow = (): Promise<Readable> => {
      source = stalledAfter(randomBytes(MIB))
      return Promise.resolve(source)
    }
    const started = Date.now()
    const failure = await failsWith('cancelled', store.put({ ...object, open: slow }, { signal }))
    assert.equal(failure.cause, signal.reason)
    assert.ok(Date.now() - started < 3_000)
    assert.equal(source?.destroyed, true)
    assert.equal(await store.head(object.key), null)
  })

  test('a read ends when its signal fires in the middle, and so do all other calls', async () => {
    const stored = await store.put(objectOf('tests/aborted-read.db', randomBytes(16 * MIB)))
    const abort = new AbortController()
    const { body } = await store.open(stored.key, stored.versionId, { signal: abort.signal })
    body.once('data', () => abort.abort(new Error('enough')))
    await failsWith('cancelled', buffer(body))
    const { signal } = abort
    await failsWith('cancelled', store.head(stored.key, undefined, { signal }))
    await failsWith('cancelled', store.open(stored.key, stored.versionId, { signal }))
    await failsWith('cancelled', listed(store, 'tests/', signal))
    await failsWith('cancelled', store.check({ signal }))
  })

  test('a source that fails ends the put with its own error, and nothing is stored', async () => {
    for (const size of [MIB, 4 * MIB]) {
      const object = objectOf(`tests/bad-source-${size}.db`, randomBytes(size))
      const broken = new RequorumError('connection-lost', { what: 'cp-01 is gone.', todo: 'Look.' })
      let opened = 0
      const open = (): Promise<Readable> => {
        opened++
        return Promise.resolve(failingAfter(randomBytes(size / 2), broken))
      }
      await assert.rejects(store.put({ ...object, open }), (error) => error === broken)
      assert.equal(opened, 1)
      const refused = new Error('could not open')
      await assert.rejects(
        store.put({ ...object, open: () => Promise.reject(refused) }),
        (error) => error === refused,
      )
      assert.equal(await store.head(object.key), null)
    }
  })

  test('a source of another length than promised is a mismatch, and nothing is stored', async () => {
    const object = objectOf('tests/length.db', randomBytes(MIB))
    for (const sizeBytes of [object.sizeBytes - 1, object.sizeBytes + 1]) {
      await failsWith('store-mismatch', store.put({ ...object, sizeBytes }))
      assert.equal(await store.head(object.key), null)
    }
  })

  test('keys that are rotated in the file are used without a restart', async () => {
    const { credentialsFile: _, profile: __, ...rest } = config
    const own = await readFile(lab.credentialsFile, 'utf8')
    await writeFile(join(dir, 'rotated'), '[requorum]\naws_access_key_id=LABOLD\naws_secret_access_key=old\n')
    const rotated = createS3Store({
      config: { ...rest, credentialsFile: 'rotated', profile: 'requorum' },
      home: dir,
      limits: { credentialsMs: 0 },
    })
    await failsWith('store-refused', rotated.putText('tests/rotated.json', 'x'))
    await writeFile(join(dir, 'rotated'), own)
    await rotated.putText('tests/rotated.json', 'x')
  })

  test('the failing twin fails where its table says, before or after the effect, and says how often', async () => {
    const lost = (): Error => new RequorumError('store-unreachable', { what: 'Lost.', todo: 'Again.' })
    const twin = failingStore(store, [
      { method: 'putText', when: 'before', error: lost, match: /twin-before/ },
      { method: 'putText', when: 'after', error: lost, match: /twin-after/, times: 2 },
      { method: 'versions', when: 'after', error: lost },
      { method: 'open', when: 'after', error: lost },
      { method: 'check', when: 'before', error: lost, match: /not asked/ },
    ])
    await failsWith('store-unreachable', twin.putText('tests/twin-before.json', 'x'))
    assert.equal(await twin.head('tests/twin-before.json'), null)
    const stored = await twin.putText('tests/twin-before.json', 'x')
    await failsWith('store-unreachable', twin.putText('tests/twin-after.json', 'x'))
    await failsWith('store-unreachable', twin.putText('tests/twin-after.json', 'x'))
    assert.notEqual(await twin.head('tests/twin-after.json'), null)
    await twin.putText('tests/twin-after.json', 'x')
    await failsWith('store-unreachable', listed(twin, 'tests/twin'))
    assert.equal((await listed(twin, 'tests/twin')).length, 2)
    await failsWith('store-unreachable', twin.open(stored.key, stored.versionId))
    await failsWith('store-unreachable', twin.check())
    assert.deepEqual(twin.fired(), [1, 2, 1, 1, 1])
  })
})

function missingParts(): string | false {
  try {
    partPath('weed')
    partPath('bao')
    return false
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function hashOf(content: Buffer): NewObject['sha256'] {
  return sha256Schema.parse(createHash('sha256').update(content).digest('hex'))
}

function objectOf(key: string, content: Buffer): NewObject {
  const open = (): Promise<Readable> => Promise.resolve(Readable.from(slices(content)))
  return { key, sizeBytes: content.length, sha256: hashOf(content), open }
}

function* slices(content: Buffer): Generator<Buffer> {
  for (let at = 0; at < content.length; at += 64 * 1024) yield content.subarray(at, at + 64 * 1024)
}

function stalledAfter(content: Buffer): Readable {
  const source = new Readable({ read: () => undefined })
  source.push(content)
  return source
}

function failingAfter(content: Buffer, error: Error): Readable {
  const source = stalledAfter(content)
  setTimeout(() => source.destroy(error), 100)
  return source
}

async function listed(store: ObjectStore, prefix: string, signal?: AbortSignal): Promise<ObjectVersion[]> {
  const found: ObjectVersion[] = []
  for await (const version of store.versions(prefix, { signal })) found.push(version)
  return found
}

/** All that a log or a debugger could print of an error: own fields, hidden ones, causes, stacks. */
function revealed(error: unknown): string {
  if (!(error instanceof Error)) return JSON.stringify(error) ?? ''
  const fields = Object.getOwnPropertyNames(error)
    .filter((name) => name !== 'cause')
    .map((name) => JSON.stringify(Object.getOwnPropertyDescriptor(error, name)?.value) ?? '')
  return `${error.message} ${fields.join(' ')} ${revealed(error.cause)}`
}
