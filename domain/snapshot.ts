import { z } from 'zod'
import { RequorumError } from './failures.ts'
import { canonicalJson, compactUtc, etcdId, revision, sha256, utcTime } from './values.ts'

/** A packed snapshot: what unpacks it, and its own size and SHA-256. */
export const packing = z.object({
  by: z.enum(['zstd', 'gzip']),
  sizeBytes: z.number().int().positive(),
  sha256,
})
export type Packing = z.infer<typeof packing>

/**
 * The manifest that is written beside a snapshot and is its commit point: no manifest, no backup.
 * It pins the version ID, so that a delete marker or a later write over the same key hides nothing.
 */
export const snapshotManifestSchema = z.object({
  version: z.literal(1),
  cluster: z.string(),
  takenAt: utcTime,
  /** The object: `daily/snapshot-<UTC>.db`, under the store's prefix; `.db.zst` or `.db.gz` where it is packed. */
  key: z.string().min(1),
  versionId: z.string().min(1),
  /** Of the whole snapshot, etcd's own SHA-256 trailer included. */
  sha256,
  sizeBytes: z.number().int().positive(),
  /** Where the object is the snapshot packed: by what, and the object's own size and SHA-256. */
  packed: packing.optional(),
  /** Where it is stored in parts, the store keeps no SHA-256 of the whole but this one: over those of the parts, and their number. */
  hashOfParts: z
    .string()
    .regex(/^[0-9a-f]{64}-\d{1,5}$/)
    .optional(),
  source: z.object({ node: z.string(), memberId: etcdId }),
  etcd: z.object({
    version: z.string(),
    clusterId: etcdId,
    members: z.array(z.object({ id: etcdId, name: z.string(), peerUrls: z.array(z.string()) })),
  }),
  /** As `etcdutl snapshot status` says: `totalKeys` counts every version of a key, `hash` is its CRC over the keys. */
  revision,
  totalKeys: z.number().int().nonnegative(),
  hash: z.string(),
  /** Read from the source at the snapshot's revision; `skipped` says why when it could not be. */
  inventory: z.union([
    z.object({
      keys: z.number().int().nonnegative(),
      leased: z.number().int().nonnegative(),
      /** SHA-256 over every key with its revisions, version and lease, in key order. Early manifests have none. */
      metadata: sha256.optional(),
      /** SHA-256 over the values of up to 256 keys, spread over all. Of every value speaks the snapshot's own SHA-256. */
      sample: sha256.optional(),
      kinds: z.record(z.string(), z.number().int().nonnegative()),
    }),
    z.object({ skipped: z.string() }),
  ]),
  /** Without these files a snapshot is ciphertext and dead tokens; null when the node has none. */
  keyFingerprints: z.object({ saPub: sha256.nullable(), encryptionConfig: sha256.nullable() }),
  /** An SSH signature (`ssh-keygen -Y sign`, namespace `requorum-manifest`) over all the rest, canonical JSON. */
  signature: z.string().max(16_384).optional(),
})

/**
 * The manifest's JSON schema (draft 2020-12), as docs/schemas publishes it. A reader takes fields that it doesn't know for
 * those of a later release.
 */
export function manifestJsonSchema(): object {
  return {
    ...z.toJSONSchema(snapshotManifestSchema, { io: 'input' }),
    title: 'Manifest of an etcd snapshot, version 1',
    description: 'Written beside a snapshot as its commit point: no manifest, no backup.',
  }
}

export const MANIFEST_NAMESPACE = 'requorum-manifest'

/**
 * What the signature of a manifest is about: everything in it but the signature, sorted, without white space. As it was
 * written, with fields that a later release may have added.
 */
export function manifestStatement(written: object): string {
  return canonicalJson(Object.fromEntries(Object.entries(written).filter(([field]) => field !== 'signature')))
}

/** Who may vouch for a snapshot. Without it whoever may write to the bucket can pass anything off as one. */
export interface ManifestTrust {
  /** The manifest with a signature, where the cluster file names a key. @throws RequorumError `signing-failed` */
  seal(manifest: SnapshotManifest): Promise<SnapshotManifest>
  /** Why a manifest, as it was read, is not trusted; null when it is. @throws RequorumError `config-invalid` */
  distrust(written: object): Promise<string | null>
}

export type SnapshotManifest = z.infer<typeof snapshotManifestSchema>
export type Inventory = SnapshotManifest['inventory']

/** How many keys it holds, as people count them. etcdutl counts each version of a key that is not compacted yet. */
export function keysText({
  inventory,
  totalKeys,
}: Pick<SnapshotManifest, 'inventory' | 'totalKeys'>): string {
  return savedKeysText({ liveKeys: liveKeysOf(inventory), totalKeys })
}

export function savedKeysText({
  liveKeys,
  totalKeys,
}: Pick<SavedSnapshot, 'liveKeys' | 'totalKeys'>): string {
  return liveKeys === null ? `${totalKeys} versions of keys` : `${liveKeys} keys`
}

export function liveKeysOf(inventory: Inventory): number | null {
  return 'keys' in inventory ? inventory.keys : null
}

/** A file on a node that has been saved and looked at, and that nobody can restore from yet. */
export interface SavedSnapshot {
  readonly node: string
  readonly path: string
  readonly takenAt: string
  readonly sha256: SnapshotManifest['sha256']
  readonly sizeBytes: number
  readonly revision: SnapshotManifest['revision']
  readonly totalKeys: number
  /** How many keys live at its revision, as the source counts them; null when it can't any more. */
  readonly liveKeys: number | null
  readonly hash: string
}

const provedSnapshotSchema = snapshotManifestSchema.brand<'ProvedSnapshot'>()
/** A manifest whose object the store has confirmed: version, size and checksum. Only `prove` makes one. */
export type ProvedSnapshot = z.infer<typeof provedSnapshotSchema>

/** What the store answers about one version of an object. */
export interface StoredObject {
  readonly key: string
  readonly versionId: string
  readonly sizeBytes: number
  readonly sha256: SnapshotManifest['sha256'] | null
  /** Of one that was stored in parts: the SHA-256 over those of its parts, and their number, as `…-24`. */
  readonly hashOfParts?: string | undefined
  /** By Object Lock, UTC; missing where it is not locked, or the store does not tell. */
  readonly lockedUntil?: string
}

/** Size and SHA-256 of the object that holds a snapshot. */
export function objectOf({
  packed,
  sizeBytes,
  sha256: whole,
}: Pick<SnapshotManifest, 'packed' | 'sizeBytes' | 'sha256'>): Pick<Packing, 'sizeBytes' | 'sha256'> {
  return packed ?? { sizeBytes, sha256: whole }
}

/** The manifest as a proved snapshot, or the reason why it isn't one. */
export function prove(
  manifest: SnapshotManifest,
  stored: StoredObject | null,
): { proved: ProvedSnapshot } | { refused: string } {
  if (stored === null)
    return { refused: `version ${manifest.versionId} of ${manifest.key} is gone from the store` }
  const object = objectOf(manifest)
  if (stored.sizeBytes !== object.sizeBytes) {
    return { refused: `the store holds ${stored.sizeBytes} bytes, the manifest says ${object.sizeBytes}` }
  }
  if (stored.sha256 !== null && stored.sha256 !== object.sha256) {
    return { refused: `the store's SHA-256 ${stored.sha256.slice(0, 12)}… isn't the manifest's` }
  }
  if (
    manifest.hashOfParts !== undefined &&
    stored.hashOfParts !== undefined &&
    stored.hashOfParts !== manifest.hashOfParts
  )
    return { refused: `the store's SHA-256 over the parts isn't the manifest's` }
  return { proved: provedSnapshotSchema.parse(manifest) }
}

export function snapshotKey(prefix: string, area: 'daily' | 'quarantine', takenAt: Date): string {
  return `${prefix}${area}/snapshot-${compactUtc(takenAt)}.db`
}

const snapshotName = z
  .string()
  .regex(
    /^([A-Za-z0-9._-]+\/)*(daily|monthly)\/snapshot-\d{8}T\d{6}Z\.db(\.zst|\.gz)?$/,
    'a key like daily/snapshot-20261122T020000Z.db',
  )

/** The key of a snapshot that somebody asks for; undefined for the newest. @throws RequorumError `input-invalid` */
export function namedSnapshot(named: unknown): string | undefined {
  if (named === undefined || named === null) return undefined
  const read = snapshotName.safeParse(named)
  if (read.success) return read.data
  throw new RequorumError('input-invalid', {
    what: 'What is asked for is no key of a snapshot. Nothing was touched.',
    why: `"snapshot" has to be ${read.error.issues[0]?.message ?? 'a key'}`,
    todo: 'See the keys with `requorum snapshots CLUSTER`, and give one as it stands there.',
  })
}

/** When the snapshot was taken whose object, manifest or attestation has this key; null when the key says no time. */
export function takenAtOf(key: string): string | null {
  const [, ...parts] = /\/snapshot-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\./.exec(key) ?? []
  if (parts.length === 0) return null
  return `${parts.slice(0, 3).join('-')}T${parts.slice(3).join(':')}Z`
}

/** How the name of a snapshot's object ends. */
export const SNAPSHOT_END = /\.db(\.zst|\.gz)?$/

export function manifestKeyOf(snapshotKeyName: string): string {
  return snapshotKeyName.replace(SNAPSHOT_END, '.json')
}

/** The key of a snapshot that is stored packed. */
export function packedKeyOf(key: string, by: Packing['by']): string {
  return `${key}.${by === 'zstd' ? 'zst' : 'gz'}`
}

/**
 * Written when a restored cluster is opened, or rolled back: from then on the cluster has another ID, and the next backup
 * would look like a stranger's without this record.
 */
export const lineageSchema = z.object({
  version: z.literal(1),
  cluster: z.string(),
  recovery: z.string(),
  openedAt: utcTime,
  /** Missing in a roll-back, which puts back what was there. */
  restoredFrom: z.object({ key: z.string(), versionId: z.string(), sha256 }).optional(),
  /** The restore that was taken back; missing in a restore. */
  rolledBack: z.string().optional(),
  previousClusterId: etcdId,
  clusterId: etcdId,
})
export type Lineage = z.infer<typeof lineageSchema>

export interface Catalogue {
  /** Newest first. */
  readonly proved: readonly ProvedSnapshot[]
  readonly lineages: readonly Lineage[]
  /** Objects that look like ours and can't be used, each with its reason. */
  readonly refused: readonly { readonly key: string; readonly reason: string }[]
}
