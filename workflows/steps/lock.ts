import { CancellationScope } from '@temporalio/workflow'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { causeOf, whyOf } from './failure.ts'
import { change, look } from './hands.ts'
import type { Run } from './run.ts'

/**
 * Holds every node for this recovery, so that a second engine keeps out, and lets go at the end, however the
 * runbook ended. Only an undo that could not be finished keeps the lock: a person has to look first.
 */
export async function holdingNodes<Result>(
  run: Run,
  config: ClusterConfig,
  owner: string,
  work: () => Promise<Result>,
): Promise<Result> {
  const refs = config.nodes.map(({ name }) => ({ cluster: config.cluster, node: name }))
  let keep = false
  try {
    await run.step('Lock the nodes', async () => {
      // One after the other in one order: of two recoveries, one has the first node and the other has none.
      for (const ref of refs) await change.lockNode(ref, owner)
    })
    return await work()
  } catch (error) {
    keep = causeOf(error).code === 'undo-incomplete'
    throw error
  } finally {
    if (!keep) {
      await CancellationScope.nonCancellable(() =>
        run
          .step('Unlock the nodes', () => Promise.all(refs.map((ref) => look.unlockNode(ref, owner))))
          // What the run did stays true; a lock that stays behind names its owner to whoever meets it.
          .catch((error: unknown) => run.warn([`a node may still be locked: ${whyOf(error)}`])),
      )
    }
  }
}
