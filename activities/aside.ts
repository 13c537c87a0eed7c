import type { NodeAside } from '../domain/clean-up-plan.ts'
import type { BeforeRestore } from '../domain/roll-back-plan.ts'
import { factsBeforeRestore, listAside } from '../systems/node/aside.ts'
import { nodeAt, type NodeRef, type Systems } from './systems.ts'
import { watched } from './watched.ts'

/** What recoveries set aside on the nodes. */
export function createAsideActivities(systems: Systems) {
  return {
    async listAside(ref: NodeRef, dataDir: string): Promise<NodeAside> {
      const at = await nodeAt(systems, ref)
      return watched(() => listAside(at, dataDir))
    },

    /** What a node still has of the time before a restore. */
    async factsBeforeRestore(
      ref: NodeRef,
      recovery: string,
      places: { readonly dataDir: string; readonly aside: string },
    ): Promise<BeforeRestore> {
      const at = await nodeAt(systems, ref)
      return watched(() => factsBeforeRestore(at, recovery, places))
    },
  }
}
