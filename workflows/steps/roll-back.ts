import { CancellationScope, isCancellation } from '@temporalio/workflow'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { diagnose } from '../../domain/diagnosis.ts'
import { RequorumError } from '../../domain/failures.ts'
import { rollBackWords } from '../../domain/messages.ts'
import { journalPath } from '../../domain/node-paths.ts'
import type { RestoreRecord, RollBackRecord } from '../../domain/recovery-record.ts'
import { clusterIdBefore } from '../../domain/roll-back-choice.ts'
import {
  backToRestored,
  differencesFromBefore,
  stepsBeforeOld,
  type BeforeRestore,
  type RollBackPlan,
} from '../../domain/roll-back-plan.ts'
import { rollBackJournal } from '../../domain/roll-back-text.ts'
import type { Lineage } from '../../domain/snapshot.ts'
import { healthyNodes, type NodeSurvey } from '../../domain/survey.ts'
import { check, type Check } from '../../domain/verdict.ts'
import { everywhere } from './everywhere.ts'
import { causeOf, whyOf } from './failure.ts'
import { change, look, transfer, undo } from './hands.ts'
import { mark, markEnded, writeJournals } from './journal.ts'
import { keep } from './keep.ts'
import { watchNodes } from './looks.ts'
import { utcNow, type Run } from './run.ts'

/** What each node still has of the time before a restore. */
export function lookBeforeRestore(
  run: Run,
  { cluster, recovery, plan }: RestoreRecord,
): Promise<BeforeRestore[]> {
  return run.step(
    'See what is left of the time before it',
    () =>
      Promise.all(
        plan.setAside.actions.flatMap(({ node, action }) =>
          action.kind === 'set-aside'
            ? [
                look.factsBeforeRestore({ cluster, node }, recovery, {
                  dataDir: action.from,
                  aside: action.to,
                }),
              ]
            : [],
        ),
      ),
    (seen) =>
      `old data on ${seen.filter(({ asideInode }) => asideInode !== null).length} of ${seen.length} nodes, manifests on ${seen.filter(({ kept }) => kept.length > 0).length}`,
  )
}

/**
 * From the consent to an old etcd that is started everywhere. Whatever fails on the way is undone by itself: the restored
 * cluster is back, with all that was written to it, before the run ends.
 *
 * @param begun - whether another run did a part of it
 * @throws RequorumError `rollback-undone`, `cancelled`, `undo-incomplete`
 */
export async function rollBackUntilOld(run: Run, record: RollBackRecord, begun = false): Promise<void> {
  const { plan } = record
  const scope = CancellationScope.current()
  try {
    // A step is never cut in the middle; a cancellation is heard between steps.
    await CancellationScope.nonCancellable(async () => {
      const heed = (): void => {
        if (!scope.consideredCancelled) return
        throw new RequorumError('cancelled', { what: 'The roll-back was cancelled.', todo: 'It is undone.' })
      }
      await writeJournals(run, record, (node, started) => rollBackJournal(plan, node, started))
      for (const step of stepsBeforeOld(plan)) {
        heed()
        begun = true
        await everywhere(run, plan, step, change)
      }
      await mark(plan, 'opened', `the etcd from before ${plan.of.recovery} is started`)
    })
  } catch (error) {
    const why = whyOf(error)
    await CancellationScope.nonCancellable(() =>
      begun ? bringRestoredBack(run, plan, why) : markEnded(run, plan, 'undone'),
    )
    const cancelled = isCancellation(error) || causeOf(error).code === 'cancelled'
    throw new RequorumError(cancelled ? 'cancelled' : 'rollback-undone', {
      what: `The roll-back of ${plan.cluster} was undone: the restored cluster is back, with all that was written to it.`,
      why,
      todo: `Mend the cause and start again: ${rollBackWords(plan.cluster)}`,
    })
  }
}

/**
 * The way back to the restored cluster, for as long as the old etcd is not started everywhere.
 *
 * @param why - what is undone for; it stands before what fails now
 * @throws RequorumError `undo-incomplete`
 */
export async function bringRestoredBack(run: Run, plan: RollBackPlan, why: string): Promise<void> {
  const stuck = new Map<string, unknown>()
  for (const step of backToRestored(plan)) await everywhere(run, plan, step, undo, stuck)
  if (stuck.size > 0) {
    throw new RequorumError('undo-incomplete', {
      what: `The roll-back of ${plan.cluster} failed, and ${[...stuck.keys()].join(', ')} could not be put back. The nodes stay locked.`,
      why: `${why} Then: ${[...stuck].map(([node, failure]) => `${node}: ${whyOf(failure)}`).join('; ')}`,
      todo: `Nothing was deleted. Go on by hand there, as ${journalPath(plan.recovery)} says.`,
    })
  }
  await markEnded(run, plan, 'undone')
}

/**
 * The old etcd runs, and may take writes: from here on a failure is a failed check, and nothing is swapped back. All else
 * comes back, backups belong to the old cluster again, and what is there is held against what was.
 */
export async function finishRollBack(
  run: Run,
  plan: RollBackPlan,
  record: RestoreRecord,
  found: readonly NodeSurvey[],
): Promise<Check[]> {
  const checks: Check[] = []
  for (const step of [plan.startRest, plan.startAdded])
    await keep(checks, step.title, () => everywhere(run, plan, step, change))
  await keep(checks, 'Record which cluster it is again', () => recordOldCluster(run, plan, record, found))
  const seen = await keep(checks, 'all is what it was', () => lookBeforeRestore(run, record))
  if (seen !== null) {
    const differ = differencesFromBefore(plan, seen)
    checks.push(
      check(
        'all is what it was',
        differ.length === 0,
        differ.join('; ') || `data directories and manifests of ${plan.targets.length} nodes`,
      ),
    )
  }
  await markEnded(run, { ...plan, recovery: record.recovery }, `rolled back by ${plan.recovery}`)
  await markEnded(run, plan, 'rolled back')
  run.showChecks(checks)
  return checks
}

/** What the cluster is like now, in a sentence, looked at when nothing holds its nodes any more; null when that failed. */
export function looksLikeNow(run: Run, config: ClusterConfig): Promise<string | null> {
  return CancellationScope.nonCancellable(async () => {
    try {
      return diagnose(config, await watchNodes(run, config)).summary
    } catch (error) {
      run.warn([`what the cluster is like now could not be seen: ${whyOf(error)}`])
      return null
    }
  })
}

/** Its backups would look like a stranger's otherwise: the newest snapshot is of the restored cluster. */
function recordOldCluster(
  run: Run,
  plan: RollBackPlan,
  record: RestoreRecord,
  found: readonly NodeSurvey[],
): Promise<Lineage> {
  return run.step(
    'Record which cluster it is again',
    async () => {
      const { lineages } = await transfer.readCatalogue(plan.cluster)
      const clusterId = clusterIdBefore(record, lineages)
      const living = healthyNodes(found).flatMap(({ member }) =>
        member.answers ? [member.clusterId] : [],
      )[0]
      const restored = lineages.find(({ recovery }) => recovery === record.recovery)?.clusterId
      const lineage: Lineage = {
        version: 1,
        cluster: plan.cluster,
        recovery: plan.recovery,
        openedAt: utcNow(),
        rolledBack: record.recovery,
        previousClusterId: living ?? restored ?? clusterId,
        clusterId,
      }
      await transfer.recordLineage(lineage)
      return lineage
    },
    ({ previousClusterId, clusterId }) => `${previousClusterId} is ${clusterId} again`,
  )
}
