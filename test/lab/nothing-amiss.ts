import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { atConsole } from '../../lab/hosts/console.ts'
import { objectOf, SNAPSHOT_END, type ProvedSnapshot } from '../../domain/snapshot.ts'
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
  for (const snapshot of proved) assert.ok(await isWhole(bucket, snapshot), snapshot.key)
  const keys = proved.map(({ key }) => key)
  for (const key of before) assert.ok(keys.includes(key), `${key} was proved and is not any more`)

  assert.deepEqual(unexplained(await bucket.keys('')), [], 'objects without a manifest or a reason')

  const left = await everyHost(lab, async (host) => {
    const look = `systemctl list-units --no-legend --plain 'requorum-*'
      find /run -name 'requorum-inventory*' -o -path '/run/requorum/transfer.*' -prune
      find /var/lib/etcd-backups -name '*.part*' -o -name '.snapshot-*' 2>/dev/null || true`
    return (await atConsole(lab.hosts, host, look)).stdout.trim()
  })
  assert.deepEqual(
    left,
    left.map(() => ''),
    'left on the hosts',
  )
  return keys
}

/** Whether the store has the snapshot, in the version that its manifest pins, byte for byte. */
export async function isWhole(bucket: BucketAdmin, snapshot: ProvedSnapshot): Promise<boolean> {
  const { sizeBytes, sha256 } = objectOf(snapshot)
  const content = await bucket.get(snapshot.key, snapshot.versionId)
  return content.length === sizeBytes && createHash('sha256').update(content).digest('hex') === sha256
}

/** Objects of snapshots that neither a manifest nor the reason for a quarantine stands beside. */
export function unexplained(keys: readonly string[]): string[] {
  return keys.filter(
    (key) =>
      SNAPSHOT_END.test(key) &&
      !['.json', '.reasons.json'].some((end) => keys.includes(key.replace(SNAPSHOT_END, end))),
  )
}
