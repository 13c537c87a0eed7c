import { CancellationScope } from '@temporalio/workflow'
import type { ClusterConfig } from '../domain/cluster-config.ts'
import {
  chooseDrill,
  drillDigest,
  planDrill,
  refuseUnlessAllowed,
  refuseUnlessHealthy,
  refuseUnmarked,
  type DrillPlan,
} from '../domain/drill-plan.ts'
import { drillMarkdown } from '../domain/drill-text.ts'
import type { DrillVerdict } from '../domain/drill-verdict.ts'
import type { DrillRequest } from '../domain/messages.ts'
import type { NodeSurvey } from '../domain/survey.ts'
import { refuseWithoutTools } from './steps/candidate.ts'
import { checkpoint, type Consent } from './steps/checkpoint.ts'
import { breakOnPurpose, removeMarkers } from './steps/drill.ts'
import { measure, nothingBroken } from './steps/drill-verdict.ts'
import { look } from './steps/hands.ts'
import { drillIdentity } from './steps/identity.ts'
import { holdingNodes } from './steps/lock.ts'
import { recoverAndWatch } from './steps/rehearsal.ts'
import { clusterOf, drillOf } from './steps/request.ts'
import { Run } from './steps/run.ts'
import { refuseDuringRecovery, survey } from './steps/survey.ts'

/**
 * Breaks a cluster that is marked for it, has it recovered as in earnest, and measures what was lost and how long it took.
 *
 * Nobody who asks for a drill can allow it: the cluster's file and a mark on every node do. Nothing is broken before a
 * person has consented to exactly that, the cluster was found healthy, and a fresh backup is proved. The recovery runs
 * as any other, under the one ID of recoveries, and asks for its own consents. Where it mends nothing, what the drill
 * broke is put back.
 */
export async function drill(request: DrillRequest): Promise<DrillVerdict> {
  const run = new Run('drill', clusterOf(request))
  return run.through(async () => {
    const wishes = drillOf(request)
    const { recovery, owner } = drillIdentity(run.cluster)

    const file = await markedCluster(run, 'Read the cluster file')
    const chosen = chooseDrill(file, wishes)
    const { config, plan, consent } = await consentToCurrentDrill(run, file, recovery, owner, chosen)
    if (consent.outcome !== 'approved') return nothingBroken(run, plan, consent)

    try {
      const broken = await holdingNodes(run, config, owner, () => breakOnPurpose(run, config, plan, owner))
      const recovered = await recoverAndWatch(run, config, plan, owner)
      return await measure(run, config, plan, consent, broken, recovered)
    } finally {
      await CancellationScope.nonCancellable(() => removeMarkers(run, plan))
    }
  })
}

/** @throws RequorumError `drill-forbidden`, before any node is looked at unless the cluster's file allows drills */
async function markedCluster(run: Run, title: string): Promise<ClusterConfig> {
  const config = await run.step(title, () => look.loadCluster(run.cluster, { consent: true }))
  refuseUnlessAllowed(config)
  const marked = await run.step(
    'Read the mark on every node',
    () => look.markedForDrills(run.cluster),
    (nodes) => nodes.join(', ') || 'none has it',
  )
  refuseUnmarked(config, marked)
  return config
}

/** Asks until the plan that was approved is still the plan; marks and nodes are looked at again after the approval. */
async function consentToCurrentDrill(
  run: Run,
  file: ClusterConfig,
  recovery: string,
  owner: string,
  chosen: ReturnType<typeof chooseDrill>,
): Promise<{ config: ClusterConfig; plan: DrillPlan; consent: Consent }> {
  let config = file
  let plan = planDrill(config, recovery, await healthy(run, config, owner, 'Survey nodes'), chosen)
  for (;;) {
    const consent = await checkpoint(run, config, 'drill', drillDigest(plan), drillMarkdown(plan))
    if (consent.outcome !== 'approved') return { config, plan, consent }
    config = await markedCluster(run, 'Read the cluster file again')
    const found = await healthy(run, config, owner, 'Look again before anything is broken')
    const now = planDrill(config, recovery, found, chosen)
    if (drillDigest(now) === drillDigest(plan)) return { config, plan, consent }
    plan = now
  }
}

async function healthy(
  run: Run,
  config: ClusterConfig,
  owner: string,
  title: string,
): Promise<readonly NodeSurvey[]> {
  const found = await survey(run, config, title)
  refuseDuringRecovery(config, found, owner)
  refuseUnlessHealthy(config, found)
  refuseWithoutTools(found)
  return found
}
