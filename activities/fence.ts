import { knocks, type Answered } from '../domain/fence.ts'
import { FENCED_JOURNAL } from '../domain/node-paths.ts'
import { knockFrom } from '../systems/node/knock.ts'
import { writeNodeFile } from '../systems/node/node.ts'
import { everyNode, nodeAt, type NodeRef, type Systems } from './systems.ts'
import { watched } from './watched.ts'

export function createFenceActivities(systems: Systems) {
  return {
    /** What answers on nodes that are stated to be off, as the nodes see it from which it is tried. */
    async knock(cluster: string, from: readonly string[], off: readonly string[]): Promise<Answered[]> {
      const nodes = (await everyNode(systems, cluster)).filter(({ node }) => from.includes(node.name))
      const doors = knocks(await systems.loadCluster(cluster), off)
      return watched(async ({ signal }) =>
        (await Promise.all(nodes.map((at) => knockFrom(at, doors, signal)))).flat(),
      )
    },

    /** Leaves on the node why its control plane does not start, and how that is undone by hand. */
    async writeFenceJournal(ref: NodeRef, text: string): Promise<void> {
      const at = await nodeAt(systems, ref)
      await watched(() => writeNodeFile(at, FENCED_JOURNAL, text))
    },
  }
}
