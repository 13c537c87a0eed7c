/** An object in parts: real curl, real store, and what a broken upload leaves and takes up again. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { RequorumError } from '../../domain/failures.ts'
import { partsOf, type Part } from '../../domain/parts.ts'
import type { ObjectInParts, ObjectStore, PartCarrier } from '../../systems/object-store/object-store.ts'
import { hashOfParts } from '../../systems/object-store/s3-checksums.ts'
import { readCatalogue } from '../../systems/object-store/catalogue.ts'
import { keepMonth } from '../../systems/object-store/keep.ts'
import { createManifestTrust } from '../../systems/identity/manifest-trust.ts'
import { answerOf } from '../../systems/transfer/transfer.ts'
import { clusterConfig, snapshotOf } from '../unit/examples.ts'
import { runScript } from './node-scripts.ts'
import { failsWith, ownStore, type OwnStore } from './own-store.ts'

const MIB = 1_048_576
const PART = 5 * MIB
const at = { node: clusterConfig().nodes[0]! }

describe('in parts', () => {
  let own: OwnStore
  let store: ObjectStore
  before(async () => {
    own = await ownStore('etcd/')
    store = own.storeWithRole
  })
  after(() => own.end())

  const content = randomBytes(2 * PART + 1_234)
  const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
  const pieces = [0, 1, 2].map((index) => content.subarray(index * PART, (index + 1) * PART))
  const object = (key: string): ObjectInParts => ({
    ...{ key: `etcd/daily/${key}`, sizeBytes: content.length },
    parts: partsOf(content.length, PART, pieces.map(sha256)),
  })

  /** A node with this file: `broken` says before which part its connection is lost. */
  const node = async (bytes = content, broken?: number) => {
    const sent: number[] = []
    const path = join(own.dir, randomBytes(6).toString('hex'))
    await writeFile(path, bytes)
    const carrier: PartCarrier = {
      send: async (part, _upload, request) => {
        if (part.number === broken)
          throw new RequorumError('connection-lost', { what: 'lost', todo: 'again' })
        sent.push(part.number)
        const args = [path, String(part.offset), String(part.sizeBytes)]
        return answerOf(at, await runScript('send-part.sh', args, request), 0)
      },
    }
    return { sent, carrier }
  }

  /** What was begun and never completed. Gives it up. */
  const begun = (): Promise<string[]> => store.abandonParts('etcd/', hence(60_000))
  const hence = (ms: number): string => new Date(Date.now() + ms).toISOString()
  const read = async (key: string, versionId: string): Promise<Buffer> =>
    Buffer.concat(await (await store.open(key, versionId)).body.toArray())

  test('a file is stored by the node, part by part, whole and encrypted; a second time it is found', async () => {
    const { sent, carrier } = await node()
    const stored = await store.putParts(object('node.db'), carrier)
    assert.deepEqual(sent, [1, 2, 3])
    assert.equal(stored.sha256, null)
    assert.equal(stored.hashOfParts, hashOfParts(object('node.db').parts))
    assert.ok((await read(stored.key, stored.versionId)).equals(content))
    assert.deepEqual(await store.putParts(object('node.db'), carrier), stored)
    assert.deepEqual(sent, [1, 2, 3])
    assert.deepEqual(await begun(), [])
  })

  test('what broke off goes on with the part that was missing, whoever carries it then', async () => {
    const first = await node(content, 2)
    await failsWith('connection-lost', store.putParts(object('broken.db'), first.carrier))
    assert.equal(await store.head('etcd/daily/broken.db'), null)
    const opened: number[] = []
    const stored = await store.putParts(object('broken.db'), {
      open: ({ number }: Part) => {
        opened.push(number)
        return Promise.resolve(Readable.from([pieces[number - 1]]))
      },
    })
    assert.deepEqual([first.sent, opened], [[1], [2, 3]])
    assert.ok((await read(stored.key, stored.versionId)).equals(content))
  })

  test('a stream that ends early stores nothing, and leaves no parts behind', async () => {
    const short = (cut: number): PartCarrier => ({
      open: ({ number }) => {
        const piece = pieces[number - 1]!
        return Promise.resolve(Readable.from([number === 2 ? piece.subarray(cut) : piece]))
      },
    })
    await failsWith('store-mismatch', store.putParts(object('short.db'), short(1)), /ended after/)
    assert.equal(await store.head('etcd/daily/short.db'), null)
    assert.deepEqual(await begun(), [], 'what can never be completed is given up')
    await store.putParts(object('short.db'), short(0))
  })

  test('a file that changed after it was hashed is refused by the store, and given up', async () => {
    const changed = Buffer.from(content)
    changed.writeUInt8(changed.readUInt8(PART + 9) ^ 1, PART + 9)
    const { sent, carrier } = await node(changed)
    await failsWith('store-mismatch', store.putParts(object('changed.db'), carrier), /Digest|Checksum/)
    assert.deepEqual(sent, [1, 2])
    assert.equal(await store.head('etcd/daily/changed.db'), null)
    assert.deepEqual(await begun(), [])
  })

  test('a name that is taken stays as it was', async () => {
    await store.putText('etcd/daily/taken.db', 'of somebody else')
    const { sent, carrier } = await node()
    await failsWith('store-mismatch', store.putParts(object('taken.db'), carrier))
    assert.deepEqual(sent, [])
    const race = await node()
    const taking: PartCarrier = {
      send: async (part, upload, request) => {
        if (part.number === 3) await store.putText('etcd/daily/race.db', 'of somebody else')
        assert.ok('send' in race.carrier)
        return race.carrier.send(part, upload, request)
      },
    }
    await failsWith('store-mismatch', store.putParts(object('race.db'), taking))
    const there = await store.head('etcd/daily/race.db')
    assert.equal(await store.readText('etcd/daily/race.db', there?.versionId ?? '', 100), 'of somebody else')
    assert.deepEqual(await begun(), [])
  })

  test('what was begun long ago is given up, and what is under way stays', async () => {
    const { carrier } = await node(content, 1)
    await failsWith('connection-lost', store.putParts(object('old.db'), carrier))
    const elsewhere = { ...object('old.db'), key: 'elsewhere/old.db' }
    await failsWith('connection-lost', own.store.putParts(elsewhere, carrier))
    assert.deepEqual(await store.abandonParts('etcd/', hence(-60_000)), [])
    assert.deepEqual(await store.abandonParts('etcd/', hence(60_000)), ['etcd/daily/old.db'])
    assert.deepEqual(await own.store.abandonParts('elsewhere/', hence(60_000)), ['elsewhere/old.db'])
  })

  test("a month's copy of it is proved as it is", async () => {
    const { carrier } = await node()
    const stored = await store.putParts(object('snapshot-20261201T000000Z.db'), carrier)
    const written = snapshotOf('2026-12-01T00:00:00Z', {
      ...{ key: stored.key, versionId: stored.versionId, hashOfParts: stored.hashOfParts },
      ...{ sizeBytes: content.length, sha256: sha256(content) },
    })
    const trust = createManifestTrust({ key: null, signers: null })
    const key = await keepMonth(store, { prefix: 'etcd/', trust }, written)
    assert.equal(key, 'etcd/monthly/snapshot-20261201T000000Z.db')
    const copy = await store.head(key)
    assert.ok((await read(key, copy?.versionId ?? '')).equals(content))
    const now = new Date('2026-12-02T00:00:00Z')
    const asked = { cluster: 'prod', prefix: 'etcd/', now, trust }
    const { proved, refused } = await readCatalogue(store, asked, key)
    assert.deepEqual([proved.map((one) => one.key), refused], [[key], []])
  })
})
