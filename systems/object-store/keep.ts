import { RequorumError } from '../../domain/failures.ts'
import { inParallel } from '../../domain/in-parallel.ts'
import { EXPIRES_TAG, isSuperseded, monthlyKeyOf, monthOf } from '../../domain/retention.ts'
import { manifestKeyOf, objectOf, prove, takenAtOf, type ProvedSnapshot } from '../../domain/snapshot.ts'
import { MANIFEST_NAME, newestVersions, type CatalogueRequest } from './catalogue.ts'
import type { ObjectStore, ObjectVersion, StoreCallOptions } from './object-store.ts'

/** So many tagged ones in a row say that what is older was seen to by the backups before. */
const ENOUGH_TAGGED = 100

/**
 * Copies the snapshot and then its manifest to `monthly/`, unless that month has one. The manifest comes last there too:
 * without one there is no copy.
 *
 * @returns the key of the copy; null when the month has one already
 * @throws RequorumError the store's, and `store-mismatch` when the copy is not what the original is
 */
export async function keepMonth(
  store: ObjectStore,
  { prefix, trust }: Pick<CatalogueRequest, 'prefix' | 'trust'>,
  snapshot: ProvedSnapshot,
  options: StoreCallOptions = {},
): Promise<string | null> {
  const month = monthOf(snapshot.takenAt)
  const kept = await newestVersions(store, `${prefix}monthly/`, MANIFEST_NAME)
  if (kept.some(({ key }) => monthOf(takenAtOf(key) ?? '') === month)) return null
  const key = monthlyKeyOf(snapshot.key)
  const copied = await store.copy({ ...snapshot, ...objectOf(snapshot) }, key, options)
  const { hashOfParts: ofOriginal, ...whole } = snapshot
  const { versionId, hashOfParts } = copied
  const parts = hashOfParts === undefined ? {} : { hashOfParts }
  const manifest = await trust.seal({ ...whole, ...parts, key, versionId })
  const verdict = prove(manifest, copied)
  if ('refused' in verdict) {
    throw new RequorumError('store-mismatch', {
      what: `${key} can't be proved: ${verdict.refused}.`,
      todo: 'The original is untouched. Look at the store if this happens again.',
    })
  }
  await store.putText(manifestKeyOf(key), `${JSON.stringify(manifest, null, 2)}\n`, options)
  return key
}

/**
 * Lets expire what was superseded at that moment, in `daily/` and `monthly/`: snapshots, manifests, attestations and
 * what half a backup left. Versions under a delete marker as well, or they would stay for ever.
 *
 * @returns how many objects were tagged
 */
export async function releaseSuperseded(
  store: ObjectStore,
  prefix: string,
  before: string,
  options: StoreCallOptions = {},
): Promise<number> {
  let released = 0
  for (const area of ['daily', 'monthly']) {
    const superseded: ObjectVersion[] = []
    for await (const version of store.versions(`${prefix}${area}/`, options)) {
      if (!version.deleteMarker && isSuperseded(version.key, before)) superseded.push(version)
    }
    released += await tagNewestFirst(store, superseded.reverse(), options)
  }
  return released
}

async function tagNewestFirst(
  store: ObjectStore,
  versions: readonly ObjectVersion[],
  options: StoreCallOptions,
): Promise<number> {
  let released = 0
  for (let at = 0; at < versions.length; at += ENOUGH_TAGGED) {
    let tagged = 0
    await inParallel(8, versions.slice(at, at + ENOUGH_TAGGED), async (version) => {
      if (await letExpire(store, version, options)) tagged += 1
    })
    if (tagged === 0) break
    released += tagged
  }
  return released
}

/** @returns whether the tag was not there yet */
export function letExpire(
  store: ObjectStore,
  { key, versionId }: Pick<ObjectVersion, 'key' | 'versionId'>,
  options: StoreCallOptions = {},
): Promise<boolean> {
  return store.tag(key, versionId, EXPIRES_TAG.name, EXPIRES_TAG.value, options)
}
