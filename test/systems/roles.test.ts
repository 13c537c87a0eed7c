/** Rights apart: each request by a session of the role that may do that and no more. Against the lab's real STS. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { sha256 } from '../../domain/values.ts'
import type { ObjectStore } from '../../systems/object-store/object-store.ts'
import { roleSessions } from '../../systems/object-store/s3-sessions.ts'
import { credentialOptions } from '../../systems/object-store/s3-credentials.ts'
import type { Right } from '../../systems/object-store/s3-clients.ts'
import { createS3Store } from '../../systems/object-store/s3-store.ts'
import { ownStore, type OwnStore } from './own-store.ts'

describe('with a role in the cluster file', () => {
  let own: OwnStore
  let store: ObjectStore
  before(async () => {
    own = await ownStore('etcd/')
    store = createS3Store({ home: own.dir, config: { ...own.config, role: own.lab.role } })
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

  /** What a session may do, tried with the SDK itself. */
  async function may(
    right: Right,
  ): Promise<Record<'put' | 'get' | 'list' | 'remove' | 'elsewhere', boolean>> {
    const config = { ...own.config, role: own.lab.role }
    const credentials = roleSessions(config, own.lab.role, credentialOptions(config, own.dir, 60_000))(right)
    const client = new S3Client({
      ...{ region: config.region, forcePathStyle: true, credentials },
      ...(config.endpoint === undefined ? {} : { endpoint: config.endpoint }),
      requestChecksumCalculation: 'WHEN_REQUIRED',
    })
    const Bucket = config.bucket
    const known = 'etcd/daily/snapshot-20261201T000000Z.db'
    const tried = async (work: Promise<unknown>): Promise<boolean> => {
      try {
        await work
        return true
      } catch (error) {
        assert.match(String(error), /AccessDenied|Access Denied|403/)
        return false
      }
    }
    const put = (Key: string): Promise<boolean> =>
      tried(client.send(new PutObjectCommand({ Bucket, Key, Body: 'x', ContentLength: 1 })))
    return {
      put: await put(`etcd/tried/${right}`),
      get: await tried(client.send(new GetObjectCommand({ Bucket, Key: known }))),
      list: await tried(client.send(new ListObjectVersionsCommand({ Bucket, Prefix: 'etcd/' }))),
      remove: await tried(client.send(new DeleteObjectCommand({ Bucket, Key: 'etcd/nothing' }))),
      elsewhere: await put(`other/${right}`),
    }
  }

  test('the writer puts below the prefix and does nothing else', async () => {
    assert.deepEqual(await may('writer'), {
      put: true,
      get: false,
      list: false,
      remove: false,
      elsewhere: false,
    })
  })

  test('the reader reads and lists, and puts nothing', async () => {
    assert.deepEqual(await may('reader'), {
      put: false,
      get: true,
      list: true,
      remove: false,
      elsewhere: false,
    })
  })

  test('the verifier looks, and puts nothing', async () => {
    const { put, get, remove, elsewhere } = await may('verifier')
    assert.deepEqual(
      { put, get, remove, elsewhere },
      { put: false, get: true, remove: false, elsewhere: false },
    )
  })

  test('the curator puts only copies of months', async () => {
    const { put, remove, elsewhere } = await may('curator')
    assert.deepEqual({ put, remove, elsewhere }, { put: false, remove: false, elsewhere: false })
  })
})
