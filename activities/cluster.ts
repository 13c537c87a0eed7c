import { mostPeople, type ClusterConfig } from '../domain/cluster-config.ts'
import { RequorumError } from '../domain/failures.ts'
import type { Systems } from './systems.ts'

export function createClusterActivities(systems: Pick<Systems, 'loadCluster' | 'identityFor'>) {
  return {
    /**
     * The cluster file as it is now, checked. It holds paths of credentials, never credentials.
     *
     * @param needs.consent - refuses also a cluster about which nobody could decide, before a run waits for them.
     * @throws RequorumError `cluster-unknown`, `config-invalid`
     */
    async loadCluster(cluster: string, needs: { consent?: boolean } = {}): Promise<ClusterConfig> {
      const config = await systems.loadCluster(cluster)
      if (needs.consent !== true) return config
      const faults = await systems.identityFor(config).faults(mostPeople(config))
      if (faults.length === 0) return config
      throw new RequorumError('config-invalid', {
        what: `Nobody could consent to a recovery of ${cluster}, so none is begun.`,
        why: faults.map(({ field, what }) => `approval.${field}: ${what}`).join('\n'),
        todo: `Mend it on the worker's host, look again with \`requorum config check ${cluster}\` there, and start again.`,
      })
    },
  }
}
