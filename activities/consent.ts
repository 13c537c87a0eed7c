import type { Claim, Proven } from '../systems/identity/identity.ts'
import type { Systems } from './systems.ts'
import { watched } from './watched.ts'

export interface ConsentToProve extends Claim {
  readonly cluster: string
}

export function createConsentActivities(systems: Pick<Systems, 'loadCluster' | 'identityFor'>) {
  return {
    /**
     * Who decided, by the cluster's policy. An activity and not workflow code, because whoever can reach
     * Temporal can send a name: only the policy's proof, checked on the worker's host, says whose word it was.
     */
    async proveConsent({ cluster, ...claim }: ConsentToProve): Promise<Proven> {
      const identity = systems.identityFor(await systems.loadCluster(cluster))
      return watched(() => identity.prove(claim))
    },
  }
}
