/** A stored snapshot restored by a machine: what everybody can see of it, and what one that is no good looks like. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { attestationSchema } from '../../domain/rehearsal.ts'
import { sha256, type Sha256 } from '../../domain/values.ts'
import { proved } from './backup-runs.ts'
import { BucketAdmin } from './bucket-admin.ts'
import { requorum } from './command.ts'
import { useLab } from './use-lab.ts'

const own = useLab({ keys: 500 })

test('the newest snapshot is restored and served on the worker’s host, every key of it is right, and it is on record', async () => {
  const { lab, operator } = own()
  const { key } = proved(await operator.backup())
  const { code, out, error } = await requorum(lab, 'rehearse', lab.name)
  assert.equal(code, 0, out + error)
  assert.match(out, /^pass +object counts +\d+ keys of \d+ kinds$/m)
  assert.match(out, /^pass +content +every key with its .*: equal; values of a sample: equal$/m)
  assert.match(
    out,
    new RegExp(`RESTORED: ${key}, in [\\d.]+ s, and served by etcd 3\\.5\\.16 after [\\d.]+ s\\.`),
  )

  const bucket = await BucketAdmin.of(lab)
  const manifest = await bucket.manifest(key)
  const [at = '', ...more] = (await bucket.keys('daily/')).filter((one) => one.includes('.rehearsed-'))
  assert.deepEqual(more, [])
  // eslint-disable-next-line no-restricted-properties -- our own: 64-bit values are strings in it
  const attestation = attestationSchema.parse(JSON.parse((await bucket.get(at)).toString('utf8')))
  assert.equal(attestation.outcome, 'restored')
  assert.deepEqual(
    [attestation.key, attestation.versionId, attestation.sha256],
    [manifest.key, manifest.versionId, manifest.sha256],
  )
  assert.deepEqual(await readdir(join(lab.dir, 'rehearsals', lab.name)), ['lock'])
  const listed = await requorum(lab, 'snapshots', lab.name)
  assert.match(listed.out, new RegExp(` ago +${key}`))
})

test('one whose bytes went bad is found the same day: the run fails, the list says so, and so does the check', async () => {
  const { lab, operator } = own()
  const { key } = proved(await operator.backup())
  const bucket = await BucketAdmin.of(lab)
  const manifest = await bucket.manifest(key)
  const content = await bucket.get(key, manifest.versionId)
  content.writeUInt8(content.readUInt8(30_000) ^ 1, 30_000)
  const versionId = await bucket.put(key, content, { checksum: true })
  // Fitted to it, so that nothing but etcd's own checksum can tell.
  const bad = { ...manifest, versionId, sha256: digestOf(content) }
  await bucket.put(key.replace(/\.db$/, '.json'), Buffer.from(JSON.stringify(bad)))

  const { code, error } = await requorum(lab, 'rehearse', lab.name)
  assert.equal(code, 1)
  assert.match(error, new RegExp(`${key} could not be restored as its manifest promises`))
  assert.match(error, /the SHA-256 trailer of .* isn't that of its content/)
  const listed = await requorum(lab, 'snapshots', lab.name)
  assert.match(listed.out, new RegExp(`FAILED +${key}`))
  const checked = await requorum(lab, 'snapshots', 'check', lab.name)
  assert.equal(checked.code, 6)
  assert.match(checked.out, new RegExp(`STALE \\S+: ${key} could not be restored when it was rehearsed`))
  assert.deepEqual(await readdir(join(lab.dir, 'rehearsals', lab.name)), ['lock'])
})

function digestOf(content: Buffer): Sha256 {
  return sha256.parse(createHash('sha256').update(content).digest('hex'))
}
