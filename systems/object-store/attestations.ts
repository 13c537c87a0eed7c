import { attestationSchema, type Attestation } from '../../domain/rehearsal.ts'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { takenAtOf, type ProvedSnapshot } from '../../domain/snapshot.ts'
import type { SeenStore } from '../../domain/freshness.ts'
import { inParallel } from '../../domain/in-parallel.ts'
import {
  MANIFEST_NAME,
  newestVersions,
  parseJson,
  readCatalogue,
  type CatalogueRequest,
} from './catalogue.ts'
import type { ObjectStore } from './object-store.ts'

const NEWEST = 50
const MOST_BYTES = 1_048_576

/** The newest rehearsals, newest first. One that can't be read proves nothing, and hides no other. */
export async function readAttestations(
  store: ObjectStore,
  cluster: string,
  prefix: string,
): Promise<Attestation[]> {
  const name = /\/snapshot-\d{8}T\d{6}Z\.rehearsed-\d{8}T\d{6}Z\.json$/
  const found: Attestation[] = []
  const silences: unknown[] = []
  const newest = (await newestVersions(store, `${prefix}daily/`, name)).slice(0, NEWEST)
  await inParallel(8, newest, async ({ key, versionId }) => {
    const text = await store.readText(key, versionId, MOST_BYTES).catch((error: unknown) => {
      silences.push(error)
      return ''
    })
    const read = attestationSchema.safeParse(parseJson(text))
    if (read.success && read.data.cluster === cluster) found.push(read.data)
  })
  // A store that gives none of them does not say that there is none.
  if (found.length === 0 && silences.length > 0) throw silences[0]
  return found.sort((one, other) => (one.rehearsedAt < other.rehearsedAt ? 1 : -1))
}

type SeenFreshness = Exclude<SeenStore, { silent: string }> & {
  readonly newest: Pick<ProvedSnapshot, 'key' | 'takenAt' | 'sizeBytes' | 'totalKeys' | 'revision'> | null
}

/** What a cluster's store says about how fresh its snapshots are. @throws the store's errors */
export async function readFreshness(
  store: ObjectStore,
  { cluster, rehearsal, store: { prefix } }: ClusterConfig,
  { now, trust }: Pick<CatalogueRequest, 'now' | 'trust'>,
): Promise<SeenFreshness> {
  const { proved } = await readCatalogue(store, { cluster, prefix, now, trust })
  const rehearsals = rehearsal.every === 'never' ? null : await readAttestations(store, cluster, prefix)
  const [newest] = proved
  const oldest = (await newestVersions(store, `${prefix}daily/`, MANIFEST_NAME)).at(-1)
  return {
    newest:
      newest === undefined
        ? null
        : {
            ...{ key: newest.key, takenAt: newest.takenAt, sizeBytes: newest.sizeBytes },
            ...{ totalKeys: newest.totalKeys, revision: newest.revision },
          },
    oldestTakenAt: oldest === undefined ? null : takenAtOf(oldest.key),
    rehearsals: rehearsals?.map(({ key, rehearsedAt, outcome }) => ({ key, rehearsedAt, outcome })) ?? null,
  }
}
