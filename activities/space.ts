import { copyPath } from '../domain/relief-plan.ts'
import { awaitCaughtUp, awaitCompacted, disarmSpaceAlarms, type CaughtUp } from '../systems/etcd/space.ts'
import { everyNode, nodeAt, type NodeRef, type Systems } from './systems.ts'
import { watched } from './watched.ts'

export function createSpaceActivities(systems: Systems) {
  return {
    /** Waits until all members are well and have caught up; says who leads then. @throws `cluster-unhealthy` */
    async awaitCaughtUp(cluster: string): Promise<CaughtUp> {
      const nodes = await everyNode(systems, cluster)
      return watched((watching) => awaitCaughtUp(nodes, watching))
    },

    /** Waits until the members have dropped what was compacted, as long as that is worth waiting for. */
    async awaitCompacted(cluster: string): Promise<string> {
      const nodes = await everyNode(systems, cluster)
      return watched((watching) => awaitCompacted(nodes, watching))
    },

    /** Clears NOSPACE and nothing else. @throws RequorumError `cluster-unhealthy` when another alarm stands */
    async disarmSpaceAlarms(ref: NodeRef): Promise<string[]> {
      const at = await nodeAt(systems, ref)
      return watched(() => disarmSpaceAlarms(at))
    },

    /** Removes the copy of a run that threw nothing away after all. */
    async discardCopy(ref: NodeRef, recovery: string): Promise<void> {
      const at = await nodeAt(systems, ref)
      await watched(() => at.shell.run(at.node, ['rm', '-f', '--', copyPath(at.config, recovery)]))
    },
  }
}
