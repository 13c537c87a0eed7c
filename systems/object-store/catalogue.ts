import { RequorumError, reasonOf } from '../../domain/failures.ts'
import { inParallel } from '../../domain/in-parallel.ts'
import {
  lineageSchema,
  manifestKeyOf,
  prove,
  SNAPSHOT_END,
  snapshotManifestSchema,
  type Catalogue,
  type Lineage,
  type ManifestTrust,
  type ProvedSnapshot,
} from '../../domain/snapshot.ts'
import type { ObjectStore } from './object-store.ts'

const NEWEST = 50
const CLOCK_TOLERANCE_MS = 300_000
export const MANIFEST_NAME = /\/snapshot-\d{8}T\d{6}Z\.json$/
const MANIFEST_BYTES = 1_048_576

export interface CatalogueRequest {
  readonly cluster: string
  readonly prefix: string
  readonly now: Date
  /** Whose word on a manifest is taken. */
  readonly trust: ManifestTrust
}

/**
 * The catalogue out of the store alone: no database can be lost with it. Reads versions and not the newest
 * names, so that delete markers hide nothing; a manifest whose object isn't there as it says is refused with
 * the reason and hides no other.
 *
 * The newest fifty are read.
 *
 * @param named - the key of a snapshot that is to be read as well, however old it is, daily or monthly
 */
export async function readCatalogue(
  store: ObjectStore,
  { cluster, prefix, now, trust }: CatalogueRequest,
  named?: string,
): Promise<Catalogue> {
  const manifests = (await newestVersions(store, `${prefix}daily/`, MANIFEST_NAME)).slice(0, NEWEST)
  const wanted = named === undefined ? null : manifestKeyOf(named)
  if (wanted !== null && !manifests.some(({ key }) => key === wanted))
    manifests.push(...(await newestVersions(store, wanted, MANIFEST_NAME)))
  const proved: ProvedSnapshot[] = []
  const refused: { key: string; reason: string }[] = []
  let passing: RequorumError | undefined
  await inParallel(8, manifests, async ({ key, versionId }) => {
    const verdict = await readManifest(store, cluster, trust, { key, versionId })
    if ('refused' in verdict) {
      refused.push({ key, reason: verdict.refused })
      passing ??= verdict.passing
    } else if (Date.parse(verdict.proved.takenAt) > now.getTime() + CLOCK_TOLERANCE_MS) {
      // Taken for the newest, it would hide every better one until its time has come.
      refused.push({ key, reason: `its time, ${verdict.proved.takenAt}, lies ahead of this clock` })
    } else {
      proved.push(verdict.proved)
    }
  })
  // A store that gives nothing says nothing about its snapshots. One object that it can't give is that object's.
  if (proved.length === 0 && passing !== undefined) throw passing
  proved.sort((a, b) => (a.takenAt < b.takenAt ? 1 : -1))
  refused.sort((a, b) => (a.key < b.key ? 1 : -1))

  const lineages: Lineage[] = []
  for (const { key, versionId } of await newestVersions(store, `${prefix}restores/`, /\.json$/)) {
    // A restore needs none of them: one that can't be read must not stand in its way.
    const text = await store.readText(key, versionId, MANIFEST_BYTES).catch((error: unknown) => {
      refused.push({ key, reason: reasonOf(error).split('\n').join(' ') })
      return ''
    })
    const read = lineageSchema.safeParse(parseJson(text))
    if (read.success && read.data.cluster === cluster) lineages.push(read.data)
  }
  return { proved, lineages, refused }
}

/** The keys of the copies that are kept for their month, newest first. Whether one is whole is seen when it is named. */
export async function monthlyCopies(store: ObjectStore, prefix: string): Promise<string[]> {
  const objects = await newestVersions(store, `${prefix}monthly/`, /\/snapshot-[^/]*$/)
  const keys = objects.map(({ key }) => key)
  return keys.filter((key) => SNAPSHOT_END.test(key) && keys.includes(manifestKeyOf(key)))
}

async function readManifest(
  store: ObjectStore,
  cluster: string,
  trust: ManifestTrust,
  { key, versionId }: { readonly key: string; readonly versionId: string },
): Promise<{ proved: ProvedSnapshot } | { refused: string; passing?: RequorumError }> {
  try {
    const written = parseJson(await store.readText(key, versionId, MANIFEST_BYTES))
    const read = snapshotManifestSchema.safeParse(written)
    if (!read.success)
      return { refused: `its manifest can't be read: ${read.error.issues[0]?.message ?? ''}` }
    if (read.data.cluster !== cluster) return { refused: `it is of the cluster ${read.data.cluster}` }
    const distrust = await trust.distrust(typeof written === 'object' && written !== null ? written : {})
    if (distrust !== null) return { refused: distrust }
    const { signature: _checked, ...manifest } = read.data
    return prove(manifest, await store.head(manifest.key, manifest.versionId))
  } catch (error) {
    const refused = reasonOf(error).split('\n').join(' ')
    return error instanceof RequorumError && error.retryable ? { refused, passing: error } : { refused }
  }
}

export async function newestVersions(
  store: ObjectStore,
  prefix: string,
  name: RegExp,
): Promise<{ key: string; versionId: string }[]> {
  const newest = new Map<string, { key: string; versionId: string; modifiedAt: string }>()
  for await (const version of store.versions(prefix)) {
    if (version.deleteMarker || !name.test(version.key)) continue
    const known = newest.get(version.key)
    if (known === undefined || version.modifiedAt > known.modifiedAt) newest.set(version.key, version)
  }
  return [...newest.values()].sort((a, b) => (a.key < b.key ? 1 : -1))
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) // our own manifests: 64-bit values are strings in them
  } catch {
    return null
  }
}
