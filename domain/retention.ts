import type { ClusterConfig } from './cluster-config.ts'
import { SNAPSHOT_END, takenAtOf, type ProvedSnapshot, type SnapshotManifest } from './snapshot.ts'

/**
 * What lets a stored object expire: the lifecycle rules of its bucket take only what has this tag, and an object gets it
 * only when newer proved snapshots have made it superfluous. Age alone ends nothing: with backups failing for longer
 * than the retention the last good ones are still there.
 */
export const EXPIRES_TAG = { name: 'requorum-expires', value: 'superseded' } as const

const DAY_MS = 86_400_000

/** Where objects of a cluster stand in its bucket, and how long the superseded ones among them are kept. */
const AREAS = ['daily', 'monthly', 'quarantine'] as const
export type Area = (typeof AREAS)[number]

/**
 * Whatever was taken before this moment is superseded: the `keep`-th newest proved snapshot was taken then.
 * Null when there are not that many, and nothing may expire.
 */
export function supersededBefore(
  proved: readonly Pick<ProvedSnapshot, 'takenAt'>[],
  keep: number,
): string | null {
  const newestFirst = proved.map(({ takenAt }) => Date.parse(takenAt)).sort((one, other) => other - one)
  const oldestKept = newestFirst[keep - 1]
  return oldestKept === undefined ? null : new Date(oldestKept).toISOString()
}

/** Whether what stands under this key belongs to a snapshot taken before that moment. A key without a time never does. */
export function isSuperseded(key: string, before: string): boolean {
  const takenAt = takenAtOf(key)
  return takenAt !== null && Date.parse(takenAt) < Date.parse(before)
}

/** The first proved snapshot of the month (UTC) that this moment lies in; null when none of it is known. */
export function firstOfMonth(proved: readonly ProvedSnapshot[], moment: string): ProvedSnapshot | null {
  const month = monthOf(moment)
  const ofMonth = proved.filter(({ takenAt }) => monthOf(takenAt) === month)
  return ofMonth.reduce<ProvedSnapshot | null>(
    (first, one) => (first === null || one.takenAt < first.takenAt ? one : first),
    null,
  )
}

/** `2026-11` of a time in ISO 8601, UTC. */
export function monthOf(takenAt: string): string {
  return takenAt.slice(0, 7)
}

/** The key of its copy among the monthly ones: `<prefix>monthly/snapshot-<UTC time>.db`. */
export function monthlyKeyOf(dailyKey: string): string {
  return dailyKey.replace(/daily\/(?=[^/]*$)/, 'monthly/')
}

/** A rule as S3 has it (S3 API, LifecycleRule). */
export interface LifecycleRule {
  readonly ID: string
  readonly Status: 'Enabled'
  readonly Filter:
    | { readonly Prefix: string }
    | {
        readonly And: {
          readonly Prefix: string
          readonly Tags: readonly { readonly Key: string; readonly Value: string }[]
        }
      }
  readonly Expiration: { readonly Days: number } | { readonly ExpiredObjectDeleteMarker: true }
  readonly NoncurrentVersionExpiration?: { readonly NoncurrentDays: number }
  readonly AbortIncompleteMultipartUpload?: { readonly DaysAfterInitiation: number }
}

/**
 * The bucket's lifecycle configuration, as `aws s3api put-bucket-lifecycle-configuration` takes it (S3 API,
 * LifecycleConfiguration). In a bucket with versions an expiry only hides an object; what takes it away is the rule for
 * versions that are not current, and that one wants the tag as well.
 */
export function lifecycleRules({
  store: { prefix },
  retention,
}: Pick<ClusterConfig, 'store' | 'retention'>): { readonly Rules: readonly LifecycleRule[] } {
  const tagged = (area: Area): LifecycleRule['Filter'] => ({
    And: { Prefix: `${prefix}${area}/`, Tags: [{ Key: EXPIRES_TAG.name, Value: EXPIRES_TAG.value }] },
  })
  const named = (what: string): string => `requorum-${prefix}${what}`
  return {
    Rules: [
      ...AREAS.map((area): LifecycleRule => ({
        ID: named(area),
        Status: 'Enabled',
        Filter: tagged(area),
        Expiration: { Days: days(retention[area]) },
        NoncurrentVersionExpiration: { NoncurrentDays: 1 },
      })),
      {
        ID: named('probe'),
        Status: 'Enabled',
        Filter: { Prefix: `${prefix}probe/` },
        Expiration: { Days: 1 },
        NoncurrentVersionExpiration: { NoncurrentDays: 1 },
      },
      {
        ID: named('left-behind'),
        Status: 'Enabled',
        Filter: { Prefix: prefix },
        Expiration: { ExpiredObjectDeleteMarker: true },
        AbortIncompleteMultipartUpload: { DaysAfterInitiation: 2 },
      },
    ],
  }
}

/** How S3 Object Lock keeps an object from being deleted: in which mode, and until when (UTC). */
export interface ObjectLock {
  readonly mode: 'GOVERNANCE' | 'COMPLIANCE'
  readonly until: Date
}

/** As what is stored now under this key is to be locked; null when it is not. What says who a cluster is stays as long as a month's. */
export function lockOf(
  { prefix, retention }: { readonly prefix: string; readonly retention: ClusterConfig['retention'] },
  key: string,
  now: Date,
): ObjectLock | null {
  const area = key.startsWith(`${prefix}restores/`) ? 'monthly' : areaOf(prefix, key)
  if (retention.lock === 'none' || area === undefined) return null
  return {
    mode: retention.lock === 'compliance' ? 'COMPLIANCE' : 'GOVERNANCE',
    // Whole seconds, as a header is to say them.
    until: new Date(Math.ceil(now.getTime() / 1_000) * 1_000 + days(retention[area]) * DAY_MS),
  }
}

function areaOf(prefix: string, key: string): Area | undefined {
  return AREAS.find((one) => key.startsWith(`${prefix}${one}/`))
}

/** Until when the youngest of these objects is to be kept, by its area's retention; null when none is kept at all. */
export function keptUntil(
  { store: { prefix }, retention }: Pick<ClusterConfig, 'store' | 'retention'>,
  objects: readonly { readonly key: string; readonly modifiedAt: string }[],
): string | null {
  const ends = objects.flatMap(({ key, modifiedAt }) => {
    const area = areaOf(prefix, key)
    return area === undefined ? [] : [Date.parse(modifiedAt) + days(retention[area]) * DAY_MS]
  })
  return ends.length === 0 ? null : new Date(Math.max(...ends)).toISOString()
}

/** S3 counts whole days. */
function days(ms: number): number {
  return Math.max(1, Math.ceil(ms / DAY_MS))
}

/**
 * The local copies that may go: those beyond the newest `keep` that the store holds as proved snapshots.
 * A copy that is not stored yet is never among them, however old it is, and neither is a file whose name
 * isn't ours, nor the newest that is proved. Names carry their UTC time, so the order of names is the order of time.
 */
export function localCopiesToPrune(
  files: readonly string[],
  proved: readonly Pick<SnapshotManifest, 'key'>[],
  keep: number,
): string[] {
  const newestFirst = (names: readonly string[]): string[] => names.filter(isOurs).sort().reverse()
  const ours = newestFirst(files)
  const stored = newestFirst(
    proved.map(({ key }) => key.slice(key.lastIndexOf('/') + 1).replace(SNAPSHOT_END, '.db')),
  )
  const newestStored = stored[0] ?? ''
  return ours.slice(keep).filter((file) => stored.includes(file) && file < newestStored)
}

function isOurs(file: string): boolean {
  return /^snapshot-\d{8}T\d{6}Z\.db$/.test(file)
}
