import { z } from 'zod'
import { compareInventories } from './inventory.ts'
import { SNAPSHOT_END, type Inventory, type SnapshotManifest } from './snapshot.ts'
import { revision, sha256, utcTime, type Revision } from './values.ts'
import { check, failedChecks, type Check } from './verdict.ts'

/** What a snapshot held when a machine had restored and served it. */
export interface RehearsedFacts {
  /** Of the file that was restored. */
  readonly sha256: SnapshotManifest['sha256']
  readonly sizeBytes: number
  /** As `etcdutl snapshot status` says. */
  readonly totalKeys: number
  readonly hash: string
  /** What the etcd that served it stands at, and what it compacted last. */
  readonly revision: Revision
  readonly compactRevision: Revision
  /** Its own hash of the whole keyspace. */
  readonly keyspaceHash: string
  /** Every key with its value, at the manifest's revision. */
  readonly inventory: Inventory
  /** Seconds from the file to restored data, and to an etcd that answers. */
  readonly seconds: { readonly restored: number; readonly served: number }
  readonly etcdVersion: string
}

/** Holds what was served against what the manifest promises. What the manifest doesn't know is skipped, and says so. */
export function judgeRehearsal(manifest: SnapshotManifest, seen: RehearsedFacts): Check[] {
  const same = (name: string, was: string | number, is: string | number): Check =>
    check(name, was === is, was === is ? String(is) : `${is}, the manifest says ${was}`)
  return [
    same(
      'file',
      `${manifest.sizeBytes} bytes, SHA-256 ${manifest.sha256}`,
      `${seen.sizeBytes} bytes, SHA-256 ${seen.sha256}`,
    ),
    same('keys in the file', manifest.totalKeys, seen.totalKeys),
    same('hash of the file', manifest.hash, seen.hash),
    same('revision', manifest.revision, seen.revision),
    ...compareInventories(manifest.inventory, seen.inventory),
  ]
}

/** Written beside the manifest: that, when and with what the snapshot was restored, or could not be. */
export const attestationSchema = z.object({
  version: z.literal(1),
  cluster: z.string(),
  key: z.string().min(1),
  versionId: z.string().min(1),
  sha256,
  rehearsedAt: utcTime,
  outcome: z.enum(['restored', 'failed']),
  etcdVersion: z.string(),
  revision,
  checks: z.array(
    z.object({
      name: z.string(),
      verdict: z.enum(['pass', 'warn', 'fail', 'skipped']),
      evidence: z.string(),
    }),
  ),
  seconds: z.object({ restored: z.number(), served: z.number() }),
})
export type Attestation = z.infer<typeof attestationSchema>

export function attestationOf(
  manifest: SnapshotManifest,
  checks: readonly Check[],
  seen: Pick<RehearsedFacts, 'etcdVersion' | 'seconds'>,
  rehearsedAt: string,
): Attestation {
  return {
    version: 1,
    cluster: manifest.cluster,
    key: manifest.key,
    versionId: manifest.versionId,
    sha256: manifest.sha256,
    rehearsedAt,
    outcome: failedChecks(checks).length === 0 ? 'restored' : 'failed',
    etcdVersion: seen.etcdVersion,
    revision: manifest.revision,
    checks: [...checks],
    seconds: seen.seconds,
  }
}

/** `daily/snapshot-<UTC>.rehearsed-<UTC>.json`: nothing in the store is ever overwritten, so each has its own time. */
export function attestationKey({ key, rehearsedAt }: Pick<Attestation, 'key' | 'rehearsedAt'>): string {
  return key.replace(
    SNAPSHOT_END,
    `.rehearsed-${rehearsedAt.replace(/\.\d+Z$/, 'Z').replaceAll(/[-:]/g, '')}.json`,
  )
}

/** Of each snapshot the last word, by its key. */
export function lastRehearsals(attestations: readonly Attestation[]): Map<string, Attestation> {
  const last = new Map<string, Attestation>()
  for (const one of attestations) {
    const known = last.get(one.key)
    if (known === undefined || known.rehearsedAt < one.rehearsedAt) last.set(one.key, one)
  }
  return last
}

/** The newest snapshot that a machine restored, and when; null when there is none. */
export function newestRehearsed(attestations: readonly Attestation[]): Attestation | null {
  const restored = [...lastRehearsals(attestations).values()].filter(({ outcome }) => outcome === 'restored')
  return restored.sort((one, other) => (one.key < other.key ? 1 : -1))[0] ?? null
}

export interface RehearsalVerdict {
  readonly outcome: 'restored'
  readonly cluster: string
  readonly attestation: Attestation
  /** Where it is in the store. */
  readonly at: string
  readonly steps: readonly { readonly title: string; readonly seconds: number; readonly outcome: string }[]
}
