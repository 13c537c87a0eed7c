import type { Marker } from '../domain/drill-measure.ts'
import { awaitFirstWrite, findMarkers, removeMarkers, writeMarkers } from '../systems/etcd/markers.ts'
import { holdsBrokenLog, isMarkedForDrills } from '../systems/node/drill.ts'
import { everyNode, nodeAt, type NodeRef, type Systems } from './systems.ts'
import { watched } from './watched.ts'

export function createDrillActivities(systems: Systems) {
  return {
    /** The nodes that carry the mark of this cluster. One that can't be asked is an error: it says nothing. */
    async markedForDrills(cluster: string): Promise<string[]> {
      const nodes = await everyNode(systems, cluster)
      const marked = await watched(() => Promise.all(nodes.map(isMarkedForDrills)))
      return nodes.filter((_node, at) => marked[at] === true).map(({ node }) => node.name)
    },

    /** Writes a marker for each name, through this node's member, and returns what etcd acknowledged. */
    async writeMarkers(
      ref: NodeRef,
      drill: string,
      names: readonly string[],
      everyMs: number,
    ): Promise<Marker[]> {
      const at = await nodeAt(systems, ref)
      return watched(() => writeMarkers(at, drill, names, everyMs, systems.now))
    },

    /** Keys of the markers that are there. @throws RequorumError `etcd-unavailable` */
    async findMarkers(cluster: string, drill: string): Promise<string[]> {
      const nodes = await everyNode(systems, cluster)
      return watched(() => findMarkers(nodes, drill))
    },

    async removeMarkers(cluster: string, drill: string): Promise<void> {
      const nodes = await everyNode(systems, cluster)
      await watched(() => removeMarkers(nodes, drill))
    },

    /** When the cluster first acknowledged a write; null when it did not within the time. */
    async awaitFirstWrite(
      cluster: string,
      drill: string,
      forMs: number,
    ): Promise<{ readonly at: string; readonly node: string } | null> {
      const nodes = await everyNode(systems, cluster)
      return watched((watching) => awaitFirstWrite(nodes, drill, forMs, systems.now, watching))
    },

    /** Whether what the drill put in place of the data is still there: no recovery has put anything else there. */
    async holdsBrokenLog(ref: NodeRef, dataDir: string): Promise<boolean> {
      const at = await nodeAt(systems, ref)
      return watched(() => holdsBrokenLog(at, dataDir))
    },
  }
}
