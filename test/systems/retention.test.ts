/** Monthly copies and expiry by tag, against the lab's real store. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { RequorumError } from '../../domain/failures.ts'
import { EXPIRES_TAG, lifecycleRules, supersededBefore } from '../../domain/retention.ts'
import { manifestKeyOf, prove, type ProvedSnapshot, type StoredObject } from '../../domain/snapshot.ts'
import { sha256 } from '../../domain/values.ts'
import type { Store } from '../../lab/services/store.ts'
import { createManifestTrust } from '../../systems/identity/manifest-trust.ts'
import { monthlyCopies, readCatalogue } from '../../systems/object-store/catalogue.ts'
import { failingStore } from '../../systems/object-store/failing-store.ts'
import { keepMonth, letExpire, releaseSuperseded } from '../../systems/object-store/keep.ts'
import type { ObjectStore } from '../../systems/object-store/object-store.ts'
import { BucketAdmin } from '../lab/bucket-admin.ts'
import { clusterConfig, snapshotOf } from '../unit/examples.ts'
import { leftAt } from './lifecycle.ts'
import { failsWith, ownStore, type OwnStore } from './own-store.ts'

const PREFIX = 'retained/'
const trust = createManifestTrust({ key: null, signers: null })
const now = new Date('2026-12-02T00:00:00Z')

describe('retention in the store', () => {
  let lab: Store
  let store: ObjectStore
  let admin: BucketAdmin
  let end: OwnStore['end']

  before(async () => {
    ;({ lab, store, end } = await ownStore(PREFIX))
    admin = await BucketAdmin.of({ store: lab })
  })
  after(() => end())

  /** A snapshot as a backup leaves it: object, then manifest. */
  const proved = async (prefix: string, takenAt: string): Promise<ProvedSnapshot> => {
    const content = Buffer.from(`a keyspace at ${takenAt}`)
    const sum = sha256.parse(createHash('sha256').update(content).digest('hex'))
    const made = snapshotOf(takenAt)
    const key = `${prefix}${made.key}`
    const open = (): Promise<Readable> => Promise.resolve(Readable.from([content]))
    const stored = await store.put({ key, sizeBytes: content.length, sha256: sum, open })
    const manifest = { ...made, key, versionId: stored.versionId, sha256: sum, sizeBytes: content.length }
    await store.putText(manifestKeyOf(key), JSON.stringify(manifest))
    const verdict = prove(manifest, stored)
    assert.ok('proved' in verdict)
    return verdict.proved
  }

  const tagged = async (prefix: string): Promise<string[]> => {
    const found: string[] = []
    for await (const { key, versionId, deleteMarker } of store.versions(prefix)) {
      if (deleteMarker) continue
      const tags = await store.tags(key, versionId)
      if (tags[EXPIRES_TAG.name] === EXPIRES_TAG.value) found.push(key.slice(prefix.length))
    }
    return found.sort()
  }

  test('the copy of the month is a snapshot of its own: found by its name, proved, encrypted, restorable', async () => {
    const prefix = `${PREFIX}month/`
    const first = await proved(prefix, '2026-12-01T02:00:00Z')
    const key = await keepMonth(store, { prefix, trust }, first)
    assert.equal(key, `${prefix}monthly/snapshot-20261201T020000Z.db`)
    assert.deepEqual(await monthlyCopies(store, prefix), [key])

    const later = await proved(prefix, '2026-12-01T08:00:00Z')
    assert.equal(await keepMonth(store, { prefix, trust }, later), null, 'its month has one')

    const without = await readCatalogue(store, { cluster: 'prod', prefix, now, trust })
    assert.deepEqual(
      without.proved.map((one) => one.key),
      [later.key, first.key],
    )
    const { proved: named } = await readCatalogue(store, { cluster: 'prod', prefix, now, trust }, key)
    const copy = named.find((one) => one.key === key)
    assert.equal(copy?.sha256, first.sha256)
    assert.notEqual(copy?.versionId, first.versionId)
    const read = await store.readText(key, copy?.versionId ?? '', 100)
    assert.equal(read, 'a keyspace at 2026-12-01T02:00:00Z')
    const headers = await admin.head(key, copy?.versionId ?? '')
    assert.equal(headers.get('x-amz-server-side-encryption-aws-kms-key-id'), lab.kmsKeyId)
  })

  test('a copy whose answers were lost is found and not made twice', async () => {
    const prefix = `${PREFIX}lost/`
    const first = await proved(prefix, '2026-12-01T02:00:00Z')
    const lost = (): RequorumError => new RequorumError('store-unreachable', { what: 'lost', todo: 'again' })
    const twin = failingStore(store, [
      { method: 'copy', when: 'after', error: lost },
      { method: 'putText', when: 'after', error: lost },
    ])
    await assert.rejects(keepMonth(twin, { prefix, trust }, first))
    assert.deepEqual(await monthlyCopies(store, prefix), [], 'without a manifest there is no copy')
    await assert.rejects(keepMonth(twin, { prefix, trust }, first))
    assert.equal(await keepMonth(twin, { prefix, trust }, first), null)
    assert.deepEqual(twin.fired(), [1, 1])
    assert.equal((await admin.versions(`${prefix}monthly/`)).length, 2)
  })

  test('something else under the name of the copy is left alone, and said', async () => {
    const prefix = `${PREFIX}foreign/`
    const first = await proved(prefix, '2026-12-01T02:00:00Z')
    await store.putText(`${prefix}monthly/snapshot-20261201T020000Z.db`, 'somebody else was here')
    await failsWith('store-mismatch', keepMonth(store, { prefix, trust }, first))
  })

  test('what is superseded may expire, under a delete marker too; what is newer, and other tags, stay as they are', async () => {
    const prefix = `${PREFIX}expire/`
    const old = await proved(prefix, '2026-11-01T02:00:00Z')
    const hidden = await proved(prefix, '2026-11-01T08:00:00Z')
    const kept = await proved(prefix, '2026-11-01T14:00:00Z')
    await store.putText(old.key.replace(/\.db$/, '.rehearsed-20261101T090000Z.json'), '{}')
    await store.putText(`${prefix}daily/snapshot-20261101T030000Z.db`, 'half a backup: no manifest')
    await store.putText(`${prefix}daily/notes.txt`, 'of a person')
    await admin.hide(hidden.key)
    await store.tag(old.key, old.versionId, 'team', 'storage')
    await keepMonth(store, { prefix, trust }, old)

    assert.equal(await releaseSuperseded(store, prefix, kept.takenAt), 8)
    assert.deepEqual(await tagged(prefix), [
      'daily/snapshot-20261101T020000Z.db',
      'daily/snapshot-20261101T020000Z.json',
      'daily/snapshot-20261101T020000Z.rehearsed-20261101T090000Z.json',
      'daily/snapshot-20261101T030000Z.db',
      'daily/snapshot-20261101T080000Z.db',
      'daily/snapshot-20261101T080000Z.json',
      'monthly/snapshot-20261101T020000Z.db',
      'monthly/snapshot-20261101T020000Z.json',
    ])
    assert.equal((await store.tags(old.key, old.versionId))['team'], 'storage')
    assert.equal(await releaseSuperseded(store, prefix, kept.takenAt), 0, 'a second time there is nothing')
  })

  test('with backups failing for longer than the retention the last good ones are still there, and what they superseded is gone', async () => {
    const prefix = `${PREFIX}failing/`
    const config = clusterConfig({ store: { prefix }, retention: { daily: '30d', keep: 3 } })
    const hours = ['02', '08', '14', '20']
    const made = []
    for (const hour of hours) made.push(await proved(prefix, `2026-12-03T${hour}:00:00Z`))
    const before = supersededBefore(made, config.retention.keep)
    assert.ok(before !== null)
    await releaseSuperseded(store, prefix, before)
    const stored = []
    for await (const { key, versionId, modifiedAt } of store.versions(prefix))
      stored.push({ key, modifiedAt, tags: await store.tags(key, versionId) })
    const yearsLater = new Date(Date.now() + 1_000 * 86_400_000)
    const left = leftAt(yearsLater, lifecycleRules(config).Rules, stored)
    assert.deepEqual(
      left,
      hours
        .slice(1)
        .flatMap((hour) =>
          ['db', 'json'].map((end) => `${prefix}daily/snapshot-20261203T${hour}0000Z.${end}`),
        ),
    )
    assert.equal(stored.length - left.length, 2)
  })

  test('a copy is not born expiring, although its original is', async () => {
    const prefix = `${PREFIX}born/`
    const first = await proved(prefix, '2026-12-01T02:00:00Z')
    assert.equal(await letExpire(store, first), true)
    const key = await keepMonth(store, { prefix, trust }, first)
    assert.ok(key !== null)
    const copy: StoredObject | null = await store.head(key)
    assert.deepEqual(await store.tags(key, copy?.versionId ?? ''), {})
  })

  test('a copy of what is gone says so', async () => {
    const prefix = `${PREFIX}gone/`
    const first = await proved(prefix, '2026-12-01T02:00:00Z')
    await admin.remove(first.key, first.versionId)
    await failsWith('store-object-missing', keepMonth(store, { prefix, trust }, first))
  })
})
