/** Rights apart: each request by a session of the role. What a session may not do is tried in aws-command.test.ts. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { sha256 } from '../../domain/values.ts'
import type { ObjectStore } from '../../systems/object-store/object-store.ts'
import { ownStore, type OwnStore } from './own-store.ts'

describe('with a role in the cluster file', () => {
  let own: OwnStore
  let store: ObjectStore
  before(async () => {
    own = await ownStore('etcd/')
    store = own.storeWithRole
  })
  after(() => own.end())

  const content = Buffer.from('a snapshot, as far as the store knows')
  const object = (key: string) => ({
    ...{ key, sizeBytes: content.length },
    sha256: sha256.parse(createHash('sha256').update(content).digest('hex')),
    open: () => Promise.resolve(Readable.from([content])),
  })

  test('everything that a store is asked for goes through', async () => {
    await store.check()
    const stored = await store.put(object('etcd/daily/snapshot-20261201T000000Z.db'))
    const { body } = await store.open(stored.key, stored.versionId)
    assert.deepEqual(Buffer.concat(await body.toArray()), content)
    assert.equal((await store.head(stored.key))?.sha256, stored.sha256)
    const keys: string[] = []
    for await (const { key } of store.versions('etcd/daily/')) keys.push(key)
    assert.deepEqual(keys, [stored.key])
  })
})
