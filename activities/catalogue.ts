import { readFreshness } from '../systems/object-store/attestations.ts'
import { readCatalogue } from '../systems/object-store/catalogue.ts'
import type { SeenStore } from '../domain/freshness.ts'
import type { Catalogue, Lineage } from '../domain/snapshot.ts'
import type { Systems } from './systems.ts'
import { watched } from './watched.ts'

export function createCatalogueActivities(systems: Systems) {
  return {
    /** The proved snapshots, newest first, from the store alone; one that is named is among them however old it is. */
    async readCatalogue(cluster: string, named?: string): Promise<Catalogue> {
      const config = await systems.loadCluster(cluster)
      const asked = {
        ...{ cluster: config.cluster, prefix: config.store.prefix },
        ...{ now: systems.now(), trust: systems.trustFor(config) },
      }
      return watched(() => readCatalogue(systems.storeFor(config), asked, named))
    },

    /** What the store says about freshness: the newest proved snapshot, and the rehearsals, newest first. */
    async seeFreshness(cluster: string): Promise<Exclude<SeenStore, { silent: string }>> {
      const config = await systems.loadCluster(cluster)
      return watched(() =>
        readFreshness(systems.storeFor(config), config, {
          now: systems.now(),
          trust: systems.trustFor(config),
        }),
      )
    },

    /** From here on the cluster has another ID; without this record its next backup would look like a stranger's. */
    async recordLineage(lineage: Lineage): Promise<void> {
      const config = await systems.loadCluster(lineage.cluster)
      const key = `${config.store.prefix}restores/${lineage.recovery}.json`
      const text = `${JSON.stringify(lineage, null, 2)}\n`
      await watched(({ signal }) => systems.storeFor(config).putText(key, text, { signal }))
    },
  }
}
