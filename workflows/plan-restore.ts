import { workflowInfo } from '@temporalio/workflow'
import type { RestoreRequest } from '../domain/messages.ts'
import { restorePlanMarkdown } from '../domain/plan-text.ts'
import { digestOf, planRestore } from '../domain/restore-plan.ts'
import type { RestorePreview } from '../domain/restore-preview.ts'
import { quorumHolds } from '../domain/survey.ts'
import { compactUtc } from '../domain/values.ts'
import { candidates, refuseUnfitVersions, refuseWithoutRoom, refuseWithoutTools } from './steps/candidate.ts'
import { look, transfer } from './steps/hands.ts'
import { refuseUnlessOff } from './steps/off.ts'
import { clusterOf, namedSnapshotOf, offOf } from './steps/request.ts'
import { Run, utcNow } from './steps/run.ts'
import { survey } from './steps/survey.ts'

/** What a restore would do now, without staging, locking or touching anything. */
export async function planRestoreOnly(request: RestoreRequest): Promise<RestorePreview> {
  const run = new Run('planRestore', clusterOf(request))
  return run.through(async () => {
    const config = await run.step('Read the cluster file', () => look.loadCluster(run.cluster))
    const off = offOf(request)
    const named = namedSnapshotOf(request)
    const found = await refuseUnlessOff(run, config, await survey(run, config), off)
    refuseWithoutTools(found)
    const catalogue = await run.step('Read the snapshot catalogue', () =>
      transfer.readCatalogue(config.cluster, named),
    )
    const [snapshot] = candidates(config, catalogue, named)
    if (snapshot === undefined) throw new Error('candidates() returned none and did not throw')
    refuseUnfitVersions(found, snapshot)
    refuseWithoutRoom(found, snapshot)
    const { startTime, originalExecutionRunId: runId } = workflowInfo()
    const plan = planRestore(config, `${compactUtc(startTime)}-${runId.slice(-8)}`, found, snapshot, off)
    return {
      plan,
      digest: digestOf(plan),
      shows: restorePlanMarkdown(plan, {
        staged: false,
        snapshot,
        survey: found,
        skipped: catalogue.refused,
        now: utcNow(),
      }),
      skipped: catalogue.refused,
      warnings: quorumHolds(found) ? [`${config.cluster} has its quorum: a restore would be refused.`] : [],
    }
  })
}
