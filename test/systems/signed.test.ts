/** What somebody without credentials does by a signed request: real curl, real store, and what is made of the answer. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, before, describe, test } from 'node:test'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError } from '../../domain/failures.ts'
import type { SignedAnswer, SignedRequest } from '../../domain/signed-request.ts'
import { sha256 } from '../../domain/values.ts'
import type { Store } from '../../lab/services/store.ts'
import type { NewObject, ObjectStore } from '../../systems/object-store/object-store.ts'
import { createS3Store } from '../../systems/object-store/s3-store.ts'
import { answerOf } from '../../systems/transfer/transfer.ts'
import { unpacked } from '../../systems/transfer/unpacked.ts'
import { clusterConfig } from '../unit/examples.ts'
import { pack, runScript } from './node-scripts.ts'
import { failsWith, ownStore, type OwnStore } from './own-store.ts'
import { proxyTo } from './proxy.ts'

const at = { node: clusterConfig().nodes[0]! }

describe('by a signed request', () => {
  let dir: string
  let lab: Store
  let config: ClusterConfig['store']
  let store: ObjectStore
  let end: OwnStore['end']

  before(async () => {
    ;({ dir, lab, config, store, end } = await ownStore())
  })
  after(() => end())

  const sending =
    (path: string, change: (request: SignedRequest) => SignedRequest = (same) => same) =>
    async (request: SignedRequest): Promise<SignedAnswer> =>
      answerOf(at, await runScript('send.sh', [path], change(request)), 0)

  const fileOf = async (content: Buffer): Promise<string> => {
    const path = join(dir, randomBytes(6).toString('hex'))
    await writeFile(path, content)
    return path
  }
  const described = (key: string, content: Buffer): Omit<NewObject, 'open'> => ({
    key,
    sizeBytes: content.length,
    sha256: sha256.parse(createHash('sha256').update(content).digest('hex')),
  })

  test('a file is stored as it is, encrypted with the key, and a second time it is found', async () => {
    const content = randomBytes(3_000_000)
    const path = await fileOf(content)
    const object = described('signed/once.db', content)
    const stored = await store.putBy(object, sending(path))
    assert.deepEqual(await store.head(object.key, stored.versionId), { ...stored, sha256: object.sha256 })
    assert.deepEqual(await store.putBy(object, sending(path)), stored)
    const got = join(dir, 'got')
    await store.getBy(object.key, stored.versionId, async (request) =>
      answerOf(at, await runScript('fetch.sh', [got, object.sha256], request), 10),
    )
    assert.ok((await readFile(got)).equals(content))
  })

  test('a name that is taken by other content stays as it was', async () => {
    await store.putText('signed/taken.db', 'of somebody else')
    const content = randomBytes(1_000)
    await failsWith(
      'store-mismatch',
      store.putBy(described('signed/taken.db', content), sending(await fileOf(content))),
    )
    const there = await store.head('signed/taken.db')
    assert.equal(await store.readText('signed/taken.db', there?.versionId ?? '', 100), 'of somebody else')
  })

  test('other bytes of the same size are refused by the store', async () => {
    const content = randomBytes(500_000)
    const path = await fileOf(content)
    await writeFile(path, randomBytes(500_000))
    const error = await failsWith(
      'store-mismatch',
      store.putBy(described('signed/flipped.db', content), sending(path)),
    )
    assert.match(error.message, /Digest|Checksum/)
    assert.equal(await store.head('signed/flipped.db'), null)
  })

  test('the request is good for this object, this size, this key and create-only, and for nothing else', async () => {
    const content = randomBytes(1_000)
    const path = await fileOf(content)
    const changed: readonly [string, (request: SignedRequest) => SignedRequest][] = [
      ['another object', ({ url, headers }) => ({ url: url.replace('narrow', 'wide'), headers })],
      ['no encryption', ({ url, headers }) => ({ url, headers: without(headers, /encryption/) })],
      ['overwriting', ({ url, headers }) => ({ url, headers: without(headers, /if-none-match/) })],
      ['no checksum', ({ url, headers }) => ({ url, headers: without(headers, /checksum/) })],
    ]
    for (const [what, change] of changed) {
      const sent = store.putBy(described('signed/narrow.db', content), sending(path, change))
      const error = await failsWith('store-refused', sent)
      assert.match(error.message, /SignatureDoesNotMatch|AccessDenied/, what)
      assert.doesNotMatch(error.message, /X-Amz|LAB/, 'neither signature nor access key')
    }
    await failsWith(
      'store-refused',
      store.putBy(described('signed/narrow.db', content), sending(await fileOf(randomBytes(999)))),
    )
    for (const key of ['narrow', 'wide']) assert.equal(await store.head(`signed/${key}.db`), null)
  })

  test('one that is too old is refused, with what to do', async () => {
    const soon = createS3Store({ home: dir, config, limits: { signedMs: 1_000 } })
    const content = randomBytes(1_000)
    const send = sending(await fileOf(content))
    const sent = soon.putBy(described('signed/late.db', content), async (request) => {
      await sleep(2_100)
      return send(request)
    })
    await failsWith('store-refused', sent)
    assert.equal(await store.head('signed/late.db'), null)
  })

  test('a store that is not there, or that says no key, can be tried again', async () => {
    const content = randomBytes(1_000)
    const path = await fileOf(content)
    const nowhere = sending(path, ({ headers }) => ({ url: 'http://127.0.0.1:9/x', headers }))
    const error = await failsWith(
      'store-unreachable',
      store.putBy(described('signed/off.db', content), nowhere),
    )
    assert.match(error.message, /cp-01: curl: \(7\)/)
    await lab.denyKms()
    try {
      await failsWith('store-unreachable', store.putBy(described('signed/off.db', content), sending(path)))
    } finally {
      await lab.allowKms()
    }
    assert.equal((await store.putBy(described('signed/off.db', content), sending(path))).sizeBytes, 1_000)
  })

  test('a lost answer is no failure: it is looked for before it is sent again', async () => {
    const content = randomBytes(1_000)
    const send = sending(await fileOf(content))
    let sent = 0
    const stored = await store.putBy(described('signed/lost.db', content), async (request) => {
      sent += 1
      const answer = await send(request)
      return sent === 1 ? { status: 0, code: 'ECONNRESET', message: 'lost', mayHaveArrived: true } : answer
    })
    assert.equal(sent, 1)
    assert.equal(stored.sizeBytes, 1_000)
  })

  test('a success that the store knows nothing of is not believed', async () => {
    const told = (): Promise<SignedAnswer> =>
      Promise.resolve({ status: 200, code: '', message: '', mayHaveArrived: true })
    await failsWith('store-mismatch', store.putBy(described('signed/told.db', randomBytes(10)), told))
  })

  test('what is fetched has its name only when it is whole and right, and nothing is left of the rest', async () => {
    const stored = await store.putText('signed/text.db', 'a snapshot')
    const got = join(dir, 'fetched', 'staged.db')
    for (const [digest, code] of [
      ['0'.repeat(64), 65],
      [createHash('sha256').update('a snapshot').digest('hex'), 10],
    ] as const) {
      await store.getBy(stored.key, stored.versionId, async (request) => {
        const receipt = await runScript('fetch.sh', [got, digest], request)
        assert.equal(receipt.code, code)
        return answerOf(at, receipt, code)
      })
      assert.equal(existsSync(got), code === 10)
    }
    await failsWith(
      'store-object-missing',
      store.getBy('signed/none.db', stored.versionId, async (request) => {
        const receipt = await runScript(
          'fetch.sh',
          [join(dir, 'fetched', 'none.db'), '0'.repeat(64)],
          request,
        )
        assert.equal(receipt.code, 75)
        return answerOf(at, receipt, 10)
      }),
    )
    const { stdout } = await runScript('send.sh', ['/dev/null'], { url: 'http://127.0.0.1:9/', headers: {} })
    assert.doesNotMatch(stdout, /127\.0\.0\.1:9\/\?/)
  })

  test('a download that breaks again and again goes on where it was, and so does one whose script was ended', async () => {
    const content = randomBytes(5_000_000)
    const object = described('signed/broken.db', content)
    const stored = await store.putBy(object, sending(await fileOf(content)))
    await using proxy = await proxyTo(lab.endpoint)
    const through = createS3Store({ home: dir, config: { ...config, endpoint: proxy.url } })
    const got = join(dir, 'fetched', 'broken.db')
    const partial = `${got}.${object.sha256.slice(0, 16)}.partial`
    const fetched = async (): Promise<number> => {
      let code = -1
      await through.getBy(object.key, stored.versionId, async (request) => {
        const receipt = await runScript('fetch.sh', [got, object.sha256], request)
        code = receipt.code
        return answerOf(at, receipt, 10)
      })
      return code
    }
    // As an earlier attempt left it.
    await mkdir(join(dir, 'fetched'), { recursive: true })
    await writeFile(partial, content.subarray(0, 1_000_000))
    proxy.breakAnswerAfter(1_500_000, 'cut')
    assert.equal(await fetched(), 10)
    assert.ok((await readFile(got)).equals(content))
    const ranges = proxy.requests().map((head) => /^range: bytes=(\d+)-/im.exec(head)?.[1])
    assert.equal(ranges[0], '1000000')
    assert.ok(ranges.length >= 3 && ranges.every((from) => from !== undefined), ranges.join())

    // All of it was there, and only its name was missing.
    await writeFile(partial, content)
    assert.equal(await fetched(), 10)
    // What was put together is not what it should be: it is fetched anew, and is no word about the object.
    await writeFile(partial, randomBytes(1_000_000))
    await failsWith('step-failed', fetched())
    assert.ok(!existsSync(partial))
    assert.equal(await fetched(), 10)
    assert.ok((await readFile(got)).equals(content))
  })

  test('what comes packed is unpacked, and has its name only when both are what they should be', async () => {
    const content = Buffer.concat([randomBytes(100_000), Buffer.alloc(900_000, 'etcd')])
    for (const by of ['zstd', 'gzip'] as const) {
      const path = await fileOf(content)
      const told = await pack(path, by)
      assert.equal(told.code, 10, told.stderr)
      assert.deepEqual(await pack(path, by), told, 'a second call finds it')
      const field = (name: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(told.stdout)?.[1] ?? ''
      assert.equal(field('by'), by)
      const packed = await readFile(field('path'))
      assert.ok(packed.length < 200_000 && packed.length === Number(field('size')))
      const object = described(`signed/packed.db.${by}`, packed)
      assert.equal(object.sha256, field('sha256'))
      const stored = await store.putBy(object, sending(field('path')))
      const got = join(dir, 'fetched', `packed-${by}.db`)
      const whole = described('', content).sha256
      for (const [digests, code] of [
        [['0'.repeat(64), by, whole], 65],
        [[object.sha256, by, '0'.repeat(64)], 65],
        [[object.sha256, 'no-such-tool', whole], 69],
        [[object.sha256, by, whole], 10],
      ] as const) {
        await store.getBy(object.key, stored.versionId, async (request) => {
          const receipt = await runScript('fetch.sh', [got, ...digests], request)
          assert.equal(receipt.code, code, receipt.stderr)
          return { status: 200, code: '', message: '', mayHaveArrived: true }
        })
        assert.equal(existsSync(got), code === 10)
        assert.deepEqual(
          (await readdir(join(dir, 'fetched'))).filter((name) => name.includes('partial')),
          [],
        )
      }
      assert.ok((await readFile(got)).equals(content))
      const opened = await store.open(object.key, stored.versionId)
      const { sizeBytes, sha256: digest } = object
      const stream = unpacked(opened.body, { by, sizeBytes, sha256: digest })
      assert.ok(Buffer.concat(await stream.toArray()).equals(content))
    }
  })

  test('what can not be packed leaves nothing beside it', async () => {
    const path = join(dir, 'no-file')
    await mkdir(path)
    for (const by of ['zstd', 'gzip'] as const) {
      const told = await pack(path, by)
      assert.equal(told.code, 74, told.stderr)
      assert.deepEqual(
        (await readdir(dir)).filter((name) => name.startsWith('.no-file')),
        [],
      )
    }
  })

  test('what can not be unpacked is damaged, and what the store breaks off is its failure', async () => {
    const noise = { by: 'zstd', sizeBytes: 9, sha256: described('', randomBytes(9)).sha256 } as const
    for (const by of ['zstd', 'gzip'] as const)
      await failsWith(
        'snapshot-damaged',
        unpacked(Readable.from([Buffer.from('no packing')]), { ...noise, by }).toArray(),
      )
    const broken = Readable.from(
      (async function* () {
        yield await Promise.resolve(Buffer.from([0x28, 0xb5, 0x2f, 0xfd]))
        throw new RequorumError('store-unreachable', { what: 'it broke off', todo: 'again' })
      })(),
    )
    await failsWith('store-unreachable', unpacked(broken, noise).toArray())
  })

  test('an answer that breaks off in its middle is no answer, and a step that was killed after it no success', async () => {
    const stored = await store.putText('signed/broken-off.db', 'x'.repeat(200_000))
    const got = join(dir, 'fetched', 'broken-off.db')
    await using broken = await brokenOff()
    await failsWith(
      'store-unreachable',
      store.getBy(stored.key, stored.versionId, async ({ headers }) =>
        answerOf(
          at,
          await runScript('fetch.sh', [got, stored.sha256 ?? ''], { url: broken.url, headers }),
          10,
        ),
      ),
    )
    assert.ok(!existsSync(got))
    const killed = { code: 137, stdout: 'status=200\ncurl=0\nwhy=\n', stderr: '' }
    assert.throws(() => answerOf(at, killed, 10), { code: 'step-failed' })
  })

  test('the limit of the line is kept', async () => {
    const content = randomBytes(600_000)
    const path = await fileOf(content)
    const began = performance.now()
    await store.putBy(described('signed/slow.db', content), async (request) =>
      answerOf(at, await runScript('send.sh', [path], request, 300_000), 0),
    )
    assert.ok(performance.now() - began > 1_000, 'two seconds, less what is sent at once')
  })
})

/** Announces more than it gives, and hangs up. */
async function brokenOff(): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer((_request, answer) => {
    answer.writeHead(200, { 'content-length': '200000' })
    answer.write('x'.repeat(1_000), () => answer.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    url: `http://127.0.0.1:${port}/`,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

function without(headers: SignedRequest['headers'], name: RegExp): SignedRequest['headers'] {
  return Object.fromEntries(Object.entries(headers).filter(([header]) => !name.test(header)))
}
