/** The lab's own store, where only luck would show a fault of its making. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { findKms } from '../../lab/services/kms.ts'
import { startStore } from '../../lab/services/store.ts'
import { createS3Store } from '../../systems/object-store/s3-store.ts'

/**
 * About one start in thirty, with four at once: the store used its token before OpenBao had written the token's lease,
 * OpenBao revoked it, and every put of that lab was a 500.
 */
test('a token that the KMS has revoked is granted again, and the store encrypts', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'requorum-lab-store-'))
  const request = { dir, say: (): void => undefined }
  const first = await startStore(request)
  t.after(async () => {
    await first.stop()
    await rm(dir, { recursive: true, force: true })
  })
  const kms = await findKms(join(dir, 'kms'))
  const rootToken = /"rootToken":\s*"([^"]+)"/.exec(
    await readFile(join(dir, 'kms', 'seal.json'), 'utf8'),
  )?.[1]
  const revoked = await fetch(`${kms?.address}/v1/auth/token/revoke`, {
    method: 'POST',
    headers: { 'x-vault-token': rootToken ?? '' },
    body: JSON.stringify({ token: kms?.storeToken }),
  })
  assert.equal(revoked.status, 204)

  const again = await startStore(request)
  const config = { ...again, prefix: '', pathStyle: true }
  await createS3Store({ home: dir, config }).check()
})
