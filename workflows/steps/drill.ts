import { CancellationScope, executeChild } from '@temporalio/workflow'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import type { Marker } from '../../domain/drill-measure.ts'
import { breakSteps, putBackSteps, type DrillPlan } from '../../domain/drill-plan.ts'
import { drillJournal } from '../../domain/drill-text.ts'
import { RequorumError } from '../../domain/failures.ts'
import { backupWorkflowId } from '../../domain/messages.ts'
import { journalPath } from '../../domain/node-paths.ts'
import { reachedNodes } from '../../domain/survey.ts'
import type { backup } from '../backup.ts'
import { candidates, refuseUnfitVersions, refuseWithoutRoom } from './candidate.ts'
import { everywhere } from './everywhere.ts'
import { causeOf, whyOf } from './failure.ts'
import { change, look, transfer, undo } from './hands.ts'
import { utcNow, type Run } from './run.ts'
import { survey } from './survey.ts'

const MARKERS_AFTER = ['after-1', 'after-2', 'after-3', 'after-4', 'after-5']
const BETWEEN_MARKERS_MS = 500

/** A cluster that was broken, and by what its loss will be measured. */
export interface Broken {
  readonly backup: string
  /** Acknowledged before the backup began. */
  readonly before: readonly Marker[]
  /** Acknowledged after it. */
  readonly written: readonly Marker[]
  /** When the first node began to be broken. */
  readonly brokenAt: string
}

/**
 * Takes a backup, writes markers around it, and breaks what the plan says. The nodes are held by the drill meanwhile.
 *
 * @throws RequorumError what kept it from breaking anything; what failed while it broke, when everything was put back;
 *   `undo-incomplete`
 */
export async function breakOnPurpose(
  run: Run,
  config: ClusterConfig,
  plan: DrillPlan,
  owner: string,
): Promise<Broken> {
  const before = await writeMarkers(run, config, plan, ['before'])
  const backup = await backUp(run, config, plan, owner)
  if (plan.runbook === 'restoreQuorum') await refuseUnrestorable(run, config)
  const written = await writeMarkers(run, config, plan, MARKERS_AFTER)
  return { backup, before, written, brokenAt: await breakNodes(run, config, plan) }
}

function writeMarkers(
  run: Run,
  config: ClusterConfig,
  plan: DrillPlan,
  names: readonly string[],
): Promise<Marker[]> {
  const node = config.nodes[0]?.name ?? ''
  // By the engine's clock, as the moment of breaking, and none too late: a worker's clock may differ from it.
  const at = utcNow()
  return run.step(
    names.length === 1 ? 'Write a marker before the backup' : 'Write markers after the backup',
    async () => {
      const ref = { cluster: config.cluster, node }
      const written = await change.writeMarkers(ref, plan.recovery, names, BETWEEN_MARKERS_MS)
      return written.map((marker) => ({ ...marker, at }))
    },
    (markers) => `${markers.length} acknowledged, the last at revision ${markers.at(-1)?.revision ?? 'none'}`,
  )
}

async function backUp(run: Run, config: ClusterConfig, plan: DrillPlan, owner: string): Promise<string> {
  const { key, outcome, warnings } = await run.step(
    'Take a fresh backup',
    () =>
      executeChild<typeof backup>('backup', {
        workflowId: `${backupWorkflowId(config.cluster)}/before-drill-${plan.recovery}`,
        args: [{ cluster: config.cluster, onBehalfOf: owner }],
        staticSummary: `Backup of ${config.cluster} before a drill`,
      }),
    (verdict) => verdict.key,
  )
  if (outcome === 'proved') return key
  throw new RequorumError('snapshot-implausible', {
    what: `The backup before the drill is not plausible, so nothing was broken: ${key}.`,
    why: warnings.join('; '),
    todo: 'Find out why before the good snapshots grow old.',
  })
}

/** What would refuse the restore refuses it while the cluster is whole. */
async function refuseUnrestorable(run: Run, config: ClusterConfig): Promise<void> {
  const catalogue = await run.step(
    'Could it be restored?',
    () => transfer.readCatalogue(config.cluster),
    ({ proved }) => `${proved.length} proved snapshots`,
  )
  const found = reachedNodes(await survey(run, config, 'Look at room and versions'))
  const [newest] = candidates(config, catalogue)
  if (newest === undefined) return
  refuseUnfitVersions(found, newest)
  refuseWithoutRoom(found, newest)
}

/** @returns when it began */
async function breakNodes(run: Run, config: ClusterConfig, plan: DrillPlan): Promise<string> {
  const scope = CancellationScope.current()
  // A step is never cut in the middle; a cancellation is heard between steps.
  return CancellationScope.nonCancellable(async () => {
    const heed = (): void => {
      if (scope.consideredCancelled) {
        throw new RequorumError('cancelled', { what: 'The drill was cancelled.', todo: 'It is undone.' })
      }
    }
    await run.step('Write the journal on every node', () =>
      Promise.all(
        config.nodes.map(({ name }) =>
          change.writeJournal(
            { cluster: config.cluster, node: name },
            plan.recovery,
            drillJournal(plan, utcNow()),
          ),
        ),
      ),
    )
    const brokenAt = utcNow()
    try {
      for (const step of breakSteps(plan)) {
        heed()
        await everywhere(run, plan, step, change)
      }
      return brokenAt
    } catch (error) {
      const { code, message } = causeOf(error)
      await putBack(run, plan)
      throw new RequorumError(code, {
        what: `The drill of ${plan.cluster} was given up while it broke ${plan.nodes.join(', ')}. Everything was put back.`,
        why: message.split('\n').join(' '),
        todo: 'Mend the cause, then drill again.',
      })
    }
  })
}

/**
 * Puts back what the drill broke, and waits until every member is well again.
 *
 * @throws RequorumError `undo-incomplete`, `cluster-unhealthy`
 */
export async function putBack(run: Run, plan: DrillPlan): Promise<void> {
  const stuck = new Map<string, unknown>()
  for (const step of putBackSteps(plan)) await everywhere(run, plan, step, undo, stuck)
  if (stuck.size > 0) {
    throw new RequorumError('undo-incomplete', {
      what: `What the drill broke on ${[...stuck.keys()].join(', ')} could not be put back. The nodes stay locked.`,
      why: [...stuck.values()].map((failure) => whyOf(failure)).join('; '),
      todo: `Nothing was deleted. Go on by hand there, as ${journalPath(plan.recovery)} says.`,
    })
  }
  await run.step(
    'Wait until all members are well',
    () => change.awaitCaughtUp(plan.cluster),
    ({ evidence }) => evidence,
  )
}

/** A cluster that is not well keeps them: they harm nobody. */
export async function removeMarkers(run: Run, plan: DrillPlan): Promise<void> {
  try {
    await run.step('Remove the markers', () => look.removeMarkers(plan.cluster, plan.recovery))
  } catch (error) {
    run.warn([
      `markers of the drill may still be in etcd, below requorum/drill-${plan.recovery}/: ${whyOf(error)}`,
    ])
  }
}
