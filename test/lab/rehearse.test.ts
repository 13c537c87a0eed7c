/** A stored snapshot restored by a machine: what everybody can see of it, and what one that is no good looks like. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { spawnSync } from 'node:child_process'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { attestationSchema } from '../../domain/rehearsal.ts'
import { sha256, type Sha256 } from '../../domain/values.ts'
import { proved } from './backup-runs.ts'
import { BucketAdmin } from './bucket-admin.ts'
import { requorum } from './command.ts'
import { editClusterFile, useLab } from './use-lab.ts'

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

test('signed manifests: an object swapped with a trailer and a manifest that fit is refused, and so is what nobody signed', async () => {
  const { lab, operator } = own()
  const bucket = await BucketAdmin.of(lab)
  const unsigned = proved(await operator.backup()).key
  const key = join(lab.dir, 'manifest_key')
  spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'requorum', '-f', key])
  await writeFile(join(lab.dir, 'manifest_signers'), `requorum ${await readFile(`${key}.pub`, 'utf8')}`)
  const putBack = await editClusterFile(lab, (file) => {
    file['signing'] = { key: 'manifest_key', signers: 'manifest_signers' }
  })
  try {
    const signed = proved(await operator.backup()).key
    const manifest = await bucket.manifest(signed)
    assert.match(manifest.signature ?? '', /BEGIN SSH SIGNATURE/)
    const before = await requorum(lab, 'snapshots', lab.name)
    assert.match(before.out, new RegExp(` ${signed}$`, 'm'))
    assert.match(
      before.out + before.error,
      new RegExp(`${unsigned.replace('.db', '.json')} +its manifest is not signed`),
    )

    const content = await bucket.get(signed, manifest.versionId)
    content.writeUInt8(content.readUInt8(30_000) ^ 1, 30_000)
    const database = content.subarray(0, -32)
    createHash('sha256').update(database).digest().copy(content, database.length)
    const versionId = await bucket.put(signed, content, { checksum: true })
    const fitted = { ...manifest, versionId, sha256: digestOf(content) }
    await bucket.put(signed.replace(/\.db$/, '.json'), Buffer.from(JSON.stringify(fitted)))
    const after = await requorum(lab, 'snapshots', lab.name)
    assert.match(
      after.out + after.error,
      new RegExp(`${signed.replace('.db', '.json')} +the signature of its manifest`),
    )
    const rehearsed = await requorum(lab, 'rehearse', lab.name)
    assert.notEqual(rehearsed.code, 0)
    assert.match(rehearsed.error, /no proved snapshot|nothing to rehearse|No .* snapshot/i)
  } finally {
    await putBack()
  }
})

function digestOf(content: Buffer): Sha256 {
  return sha256.parse(createHash('sha256').update(content).digest('hex'))
}
