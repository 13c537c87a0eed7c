/** AWS's own command as Debian has it, with the sessions that Requorum works with, against the lab's real store and STS. */
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { lifecycleRules } from '../../domain/retention.ts'
import { credentialOptions } from '../../systems/object-store/s3-credentials.ts'
import { roleSessions, type Right } from '../../systems/object-store/s3-sessions.ts'
import { clusterConfig } from '../unit/examples.ts'
import { ownStore, type OwnStore } from './own-store.ts'

const run = promisify(execFile)
const skip =
  spawnSync('aws', ['--version']).status === 0
    ? false
    : 'the command `aws` is not installed; do it with: node scripts/setup.mjs --for test-lab'

const KEY = 'etcd/daily/snapshot-20261201T000000Z.db'

describe('the aws command', { skip }, () => {
  let own: OwnStore
  let dir: string
  before(async () => {
    own = await ownStore('etcd/')
    dir = await mkdtemp(join(tmpdir(), 'requorum-aws-'))
    await writeFile(join(dir, 'snapshot'), 'bytes of a snapshot')
  })
  after(async () => {
    await rm(dir, { recursive: true, force: true })
    await own.end()
  })

  type Env = Readonly<Record<string, string>>

  /** Credentials in the environment, where no process list of others shows them. */
  async function aws(env: Env, ...words: string[]): Promise<{ ok: boolean; out: string }> {
    const { endpoint = '', region } = own.config
    try {
      const { stdout } = await run('aws', ['--endpoint-url', endpoint, '--region', region, ...words], {
        env: { PATH: process.env['PATH'] ?? '', HOME: dir, AWS_CONFIG_FILE: '/dev/null', ...env },
      })
      return { ok: true, out: stdout }
    } catch (error) {
      const said =
        typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr) : ''
      assert.match(said, /AccessDenied|Forbidden|403/, said)
      return { ok: false, out: said }
    }
  }

  const ownProfile = (profile = own.lab.profile): Env => ({
    AWS_SHARED_CREDENTIALS_FILE: own.lab.credentialsFile,
    AWS_PROFILE: profile,
  })

  /** Taken as the worker takes it: this STS refuses the signature of the command's own `sts assume-role` [4.48, tried]. */
  async function sessionOf(right: Right): Promise<Env> {
    const credentials = credentialOptions(own.config, own.dir, 60_000)
    const given = await roleSessions({ config: own.config, locks: false }, own.lab.role, credentials)(right)()
    return {
      AWS_ACCESS_KEY_ID: given.accessKeyId,
      AWS_SECRET_ACCESS_KEY: given.secretAccessKey,
      AWS_SESSION_TOKEN: given.sessionToken,
    }
  }

  const bucket = (): string[] => ['--bucket', own.config.bucket]
  const encrypted = (): string[] => [
    '--server-side-encryption',
    'aws:kms',
    '--ssekms-key-id',
    own.config.kmsKeyId,
  ]

  test('with the writer’s session puts, and can not read, list or delete what it put', async () => {
    const writer = await sessionOf('writer')
    const body = ['--body', join(dir, 'snapshot')]
    const put = await aws(writer, 's3api', 'put-object', ...bucket(), '--key', KEY, ...body, ...encrypted())
    assert.ok(put.ok, put.out)
    const read = await aws(writer, 's3api', 'get-object', ...bucket(), '--key', KEY, join(dir, 'read'))
    const list = await aws(writer, 's3api', 'list-object-versions', ...bucket())
    const remove = await aws(writer, 's3api', 'delete-object', ...bucket(), '--key', KEY)
    assert.deepEqual([read.ok, list.ok, remove.ok], [false, false, false])
  })

  test('with the reader’s session reads and lists, and can not write', async () => {
    const reader = await sessionOf('reader')
    const read = await aws(reader, 's3api', 'get-object', ...bucket(), '--key', KEY, join(dir, 'read'))
    assert.ok(read.ok, read.out)
    assert.equal(await readFile(join(dir, 'read'), 'utf8'), 'bytes of a snapshot')
    const list = await aws(reader, 's3api', 'list-object-versions', ...bucket(), '--prefix', 'etcd/')
    assert.match(list.out, new RegExp(KEY))
    const body = ['--body', join(dir, 'snapshot')]
    const put = await aws(reader, 's3api', 'put-object', ...bucket(), '--key', `${KEY}2`, ...body)
    const remove = await aws(reader, 's3api', 'delete-object', ...bucket(), '--key', KEY)
    assert.deepEqual([put.ok, remove.ok], [false, false])
  })

  test('with the verifier’s and the curator’s session puts no snapshot and deletes none', async () => {
    for (const right of ['verifier', 'curator'] as const) {
      const session = await sessionOf(right)
      const body = ['--body', join(dir, 'snapshot')]
      const put = await aws(session, 's3api', 'put-object', ...bucket(), '--key', `${KEY}3`, ...body)
      const remove = await aws(session, 's3api', 'delete-object', ...bucket(), '--key', KEY)
      assert.deepEqual([put.ok, remove.ok], [false, false], right)
    }
  })

  test('puts the lifecycle rules on the bucket as `requorum snapshots rules` prints them', async () => {
    const file = join(dir, 'rules.json')
    const rules = lifecycleRules(clusterConfig({ store: { ...own.config } }))
    await writeFile(file, JSON.stringify(rules))
    const admin = ownProfile(own.lab.adminProfile)
    const configuration = ['--lifecycle-configuration', `file://${file}`]
    const put = await aws(admin, 's3api', 'put-bucket-lifecycle-configuration', ...bucket(), ...configuration)
    assert.ok(put.ok, put.out)
    const kept = await aws(admin, 's3api', 'get-bucket-lifecycle-configuration', ...bucket())
    for (const { ID } of rules.Rules) assert.match(kept.out, new RegExp(ID))
  })
})
