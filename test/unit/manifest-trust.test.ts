import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { RequorumError } from '../../domain/failures.ts'
import { manifestStatement, snapshotManifestSchema } from '../../domain/snapshot.ts'
import { createManifestTrust } from '../../systems/identity/manifest-trust.ts'
import { signConsent } from '../../systems/identity/ssh-sign.ts'
import { snapshotOf } from './examples.ts'

const dir = mkdtempSync(join(tmpdir(), 'requorum-trust-'))
after(() => rmSync(dir, { recursive: true, force: true }))

function makeKey(name: string): { key: string; line: string } {
  const key = join(dir, name)
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', key])
  return { key, line: `${name} ${readFileSync(`${key}.pub`, 'utf8')}` }
}

const ours = makeKey('backups')
const another = makeKey('somebody')
const signers = join(dir, 'signers')
writeFileSync(signers, ours.line)

const manifest = snapshotManifestSchema.parse(snapshotOf('2026-11-22T02:00:00Z'))
const trust = createManifestTrust({ key: ours.key, signers })

describe('a signed manifest', () => {
  test('is trusted as it was written, in whatever order its fields stand', async () => {
    const sealed = await trust.seal(manifest)
    assert.equal(await trust.distrust(sealed), null)
    assert.equal(await trust.distrust(Object.fromEntries(Object.entries(sealed).reverse())), null)
    assert.deepEqual(snapshotManifestSchema.parse(sealed), sealed)
  })

  test('of a later release is trusted with the fields that it has more', async () => {
    const later = { ...manifest, compression: 'zstd' }
    const { signature } = await trust.seal(later)
    assert.equal(await trust.distrust({ ...later, signature }), null)
    assert.match((await trust.distrust({ ...manifest, signature })) ?? '', /does not hold/)
  })

  test('is not trusted when anything in it was changed', async () => {
    const sealed = await trust.seal(manifest)
    for (const changed of [
      { ...sealed, sha256: 'f'.repeat(64) },
      { ...sealed, versionId: 'another' },
      { ...sealed, cluster: 'other' },
      { ...sealed, inventory: { skipped: 'none' } },
    ])
      assert.match((await trust.distrust(changed)) ?? '', /signature of its manifest does not hold/)
  })

  test('is not trusted without a signature, with one of another key, or with one for another purpose', async () => {
    assert.match((await trust.distrust(manifest)) ?? '', /is not signed/)
    const foreign = await createManifestTrust({ key: another.key, signers: null }).seal(manifest)
    assert.match((await trust.distrust(foreign)) ?? '', /isn't one of an allowed signer/)
    const consent = await signConsent(manifestStatement(manifest), ours.key)
    assert.match((await trust.distrust({ ...manifest, signature: consent })) ?? '', /does not hold/)
    assert.match((await trust.distrust({ ...manifest, signature: 'x' })) ?? '', /no SSH signature/)
  })

  test('is only read where nobody asks for signatures, and not made where no key is named', async () => {
    const none = createManifestTrust({ key: null, signers: null })
    assert.equal(await none.seal(manifest), manifest)
    assert.equal(await none.distrust(manifest), null)
  })

  test('can not be made or judged without its files, and says which', async () => {
    const lost = createManifestTrust({ key: join(dir, 'lost'), signers: join(dir, 'lost') })
    const of = (code: string) => (error: unknown) => error instanceof RequorumError && error.code === code
    await assert.rejects(lost.seal(manifest), of('signing-failed'))
    await assert.rejects(lost.distrust({ ...manifest, signature: 'x' }), of('config-invalid'))
  })
})
