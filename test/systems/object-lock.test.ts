/** Object Lock against the lab's real store: what is stored under a lock, whichever way it came, nobody deletes. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { partsOf } from '../../domain/parts.ts'
import type { StoredObject } from '../../domain/snapshot.ts'
import { sha256 } from '../../domain/values.ts'
import type { NewObject, ObjectStore } from '../../systems/object-store/object-store.ts'
import { letExpire } from '../../systems/object-store/keep.ts'
import { createS3Store } from '../../systems/object-store/s3-store.ts'
import { answerOf } from '../../systems/transfer/transfer.ts'
import { BucketAdmin } from '../lab/bucket-admin.ts'
import { clusterConfig } from '../unit/examples.ts'
import { runScript } from './node-scripts.ts'
import { failsWith, ownStore, type OwnStore } from './own-store.ts'

const DAY_MS = 86_400_000
const PART = 5 * 1_048_576
const at = { node: clusterConfig().nodes[0]! }
const { retention } = clusterConfig({ retention: { lock: 'compliance', daily: '7d', monthly: '40d' } })

describe('under Object Lock', () => {
  let own: OwnStore
  let admin: BucketAdmin
  let store: ObjectStore
  before(async () => {
    own = await ownStore('locked/')
    admin = await BucketAdmin.of({ store: own.lab })
    store = createS3Store({ home: own.dir, config: { ...own.config, role: own.lab.role }, retention })
  })
  after(() => own.end())

  const hash = (content: Buffer) => sha256.parse(createHash('sha256').update(content).digest('hex'))
  const objectOf = (key: string, content: Buffer): NewObject => ({
    ...{ key: `locked/${key}`, sizeBytes: content.length, sha256: hash(content) },
    open: () => Promise.resolve(Readable.from([content])),
  })

  const lockedFor = async (stored: StoredObject | null, days: number): Promise<void> => {
    assert.ok(stored !== null)
    const seen = await store.head(stored.key, stored.versionId)
    const left = Date.parse(seen?.lockedUntil ?? '') - Date.now()
    assert.ok(
      Math.abs(left - days * DAY_MS) < 600_000,
      `${stored.key}: locked until ${seen?.lockedUntil ?? 'never'}`,
    )
    await assert.rejects(admin.remove(stored.key, stored.versionId), /403|AccessDenied|WORM|retention/i)
    assert.notEqual(await store.head(stored.key, stored.versionId), null)
  }

  test('a bucket that can not lock is told from one that can, before anything is stored', async () => {
    await failsWith('store-refused', store.check(), /put-object-lock-configuration/)
    await admin.allowLocks()
    await store.check()
  })

  test('what the worker puts, a manifest too, can not be deleted for as long as its area keeps it', async () => {
    await lockedFor(await store.put(objectOf('daily/worker.db', randomBytes(2_000))), 7)
    await lockedFor(await store.putText('locked/daily/worker.json', '{}'), 7)
    await lockedFor(await store.putText('locked/restores/1.json', '{}'), 40)
  })

  test('what a node puts by its own request is locked by that request', async () => {
    const content = randomBytes(3_000)
    const path = join(own.dir, 'node.db')
    await writeFile(path, content)
    const object = objectOf('daily/node.db', content)
    const stored = await store.putBy(object, async (request) => {
      assert.equal(request.headers['x-amz-object-lock-mode'], 'COMPLIANCE')
      return answerOf(at, await runScript('send.sh', [path], request), 0)
    })
    await lockedFor(stored, 7)
  })

  test('what is stored in parts is locked as one', async () => {
    const content = randomBytes(PART + 1_000)
    const pieces = [content.subarray(0, PART), content.subarray(PART)]
    const parts = partsOf(content.length, PART, pieces.map(hash))
    const object = { key: 'locked/daily/parts.db', sizeBytes: content.length, parts }
    const stored = await store.putParts(object, {
      open: ({ number }) => Promise.resolve(Readable.from([pieces[number - 1]])),
    })
    await lockedFor(stored, 7)
  })

  test('the copy for the month is locked for as long as a month is kept, and can be let expire', async () => {
    const daily = await store.put(objectOf('daily/first.db', randomBytes(2_000)))
    const copy = await store.copy(daily, 'locked/monthly/first.db')
    await lockedFor(copy, 40)
    assert.equal(await letExpire(store, copy), true)
  })

  test('a probe is not locked: it is to go after a day', async () => {
    const probe = await store.putText('locked/probe/one.txt', 'x')
    assert.equal((await store.head(probe.key, probe.versionId))?.lockedUntil, undefined)
    await admin.remove(probe.key, probe.versionId)
  })
})
