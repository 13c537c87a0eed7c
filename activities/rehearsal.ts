import { RequorumError, type FailureCode } from '../domain/failures.ts'
import { attestationKey, type Attestation, type RehearsedFacts } from '../domain/rehearsal.ts'
import type { ProvedSnapshot } from '../domain/snapshot.ts'
import { readAttestations } from '../systems/object-store/attestations.ts'
import { prepareHost, rehearse } from '../systems/etcd/rehearsal/rehearse.ts'
import { unpacked } from '../systems/transfer/unpacked.ts'
import type { Systems } from './systems.ts'
import { watched } from './watched.ts'

const DAMAGE: readonly FailureCode[] = ['snapshot-damaged', 'store-object-missing']

export function createRehearsalActivities(systems: Systems) {
  return {
    /**
     * Fetches a snapshot to the worker's host, restores and serves it there, and removes all of it.
     *
     * @returns what it held, or why it can't be restored
     * @throws RequorumError `tools-missing`, `versions-unfit`, `no-space`, `step-failed` (the host), and the store's
     */
    async rehearseSnapshot(
      cluster: string,
      snapshot: ProvedSnapshot,
    ): Promise<RehearsedFacts | { readonly failed: string }> {
      const config = await systems.loadCluster(cluster)
      const host = systems.rehearsalHost(config)
      return watched(async ({ signal }) => {
        const etcdVersion = await prepareHost(host, config, signal)
        const attempt = await host.begin()
        try {
          const { body } = await systems.storeFor(config).open(snapshot.key, snapshot.versionId, { signal })
          const path = await host.place(attempt, snapshot.sha256, unpacked(body, snapshot.packed), signal)
          return await rehearse(host, config, snapshot, { attempt, path, etcdVersion }, signal)
        } catch (error) {
          // Wrong bytes in the store, or none: nobody could restore it. That is what a rehearsal is for.
          if (!(error instanceof RequorumError && DAMAGE.includes(error.code))) throw error
          return { failed: error.text.what }
        } finally {
          await host.end(attempt)
        }
      })
    },

    /** Writes what came of it beside the manifest. Returns its key. */
    async attest(attestation: Attestation): Promise<string> {
      const store = systems.storeFor(await systems.loadCluster(attestation.cluster))
      const key = attestationKey(attestation)
      const text = `${JSON.stringify(attestation, null, 2)}\n`
      await watched(({ signal }) => store.putText(key, text, { signal }))
      return key
    },

    /** What is known of rehearsals, from the store alone. */
    async readAttestations(cluster: string): Promise<Attestation[]> {
      const config = await systems.loadCluster(cluster)
      return watched(() => readAttestations(systems.storeFor(config), cluster, config.store.prefix))
    },
  }
}
