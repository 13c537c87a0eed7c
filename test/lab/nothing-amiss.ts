import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { atConsole } from '../../lab/hosts/console.ts'
import { openCatalogue } from '../../workers/wiring.ts'
import { BucketAdmin } from './bucket-admin.ts'
import { everyHost, type OwnLab } from './own-lab.ts'

/**
 * What holds after any fault of a backup: whatever is listed as proved is in the store byte for byte, nothing that was
 * proved before is gone, no object is there without a manifest or a reason, and no host has anything left of the run.
 *
 * @param before - the keys that were proved before the fault
 * @returns the keys that are proved now, newest first
 */
export async function nothingAmiss({ lab }: OwnLab, before: readonly string[] = []): Promise<string[]> {
  const bucket = await BucketAdmin.of(lab)
  const { proved, refused } = await openCatalogue(lab.dir, lab.name)
  assert.deepEqual(refused, [])
  for (const { key, versionId, sha256, sizeBytes } of proved) {
    const content = await bucket.get(key, versionId)
    assert.equal(content.length, sizeBytes, key)
    assert.equal(createHash('sha256').update(content).digest('hex'), sha256, key)
  }
  const keys = proved.map(({ key }) => key)
  for (const key of before) assert.ok(keys.includes(key), `${key} was proved and is not any more`)

  const stored = await bucket.keys('daily/')
  const unproved = stored.filter((key) => key.endsWith('.db') && !stored.includes(key.replace(/db$/, 'json')))
  assert.deepEqual(unproved, [], 'objects without a manifest')

  const left = await everyHost(lab, async (host) => {
    const look = `systemctl list-units --no-legend --plain 'requorum-*'
      find /run -name 'requorum-inventory*' -o -path '/run/requorum/transfer.*' -prune
      find /var/lib/etcd-backups -name '*.part*' 2>/dev/null || true`
    return (await atConsole(lab.hosts, host, look)).stdout.trim()
  })
  assert.deepEqual(
    left,
    left.map(() => ''),
    'left on the hosts',
  )
  return keys
}
