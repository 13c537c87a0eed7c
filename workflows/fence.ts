import { continueAsNew, defineSignal, setHandler, sleep } from '@temporalio/workflow'
import { nodesWithoutMember, type FenceVerdict } from '../domain/fence-watch.ts'
import { FENCE_ALSO_SIGNAL, type FenceRequest } from '../domain/messages.ts'
import { FenceWatch } from './steps/fence-watch.ts'
import { look } from './steps/hands.ts'
import { refuseOtherFenceId } from './steps/identity.ts'
import { clusterOf, fenceOf } from './steps/request.ts'
import { Run } from './steps/run.ts'
import { surveyWhatAnswers } from './steps/survey.ts'

const fenceAlsoSignal = defineSignal<[unknown]>(FENCE_ALSO_SIGNAL)

/** A run for each so many looks: half an hour at first, and a few hundred events. */
const LOOKS_PER_RUN = 90

/**
 * Keeps the old members of nodes that a restore went on without from starting, whenever they come back. Looks at them
 * again and again; where one answers and is no member of the restored cluster, its control plane is stopped and its
 * manifests are put where no kubelet looks. Its data stays. Ends when that is so of every node.
 */
export async function fence(request: FenceRequest): Promise<FenceVerdict> {
  const run = new Run('fence', clusterOf(request))
  const told: unknown[] = []
  setHandler(fenceAlsoSignal, (also) => void told.push(also))
  return run.through(async () => {
    refuseOtherFenceId(run.cluster)
    const wishes = fenceOf(request)
    const config = await run.step('Read the cluster file', () => look.loadCluster(run.cluster))
    const nodes = wishes.nodes ?? nodesWithoutMember(config, await surveyWhatAnswers(run, config))

    const watch = new FenceWatch(run, config, { ...wishes, nodes })
    const over = await run.step(
      `Watch for ${nodes.join(', ') || 'nobody'}`,
      async () => {
        for (let looks = 0; looks < LOOKS_PER_RUN; looks += 1) {
          while (told.length > 0) watch.alsoWatch(told.shift())
          await watch.look()
          if (watch.isOver() && told.length === 0) return true
          await sleep(watch.pauseMs())
        }
        return false
      },
      () => watch.note(),
    )
    while (told.length > 0) watch.alsoWatch(told.shift())
    if (over) return watch.verdict()
    return continueAsNew<typeof fence>(watch.goOn())
  })
}
