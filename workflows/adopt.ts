import { CancellationScope } from '@temporalio/workflow'
import {
  adoptionDigest,
  adoptionMarkdown,
  newestUnfinished,
  planAdoption,
  type Adoption,
  type NodeRecords,
} from '../domain/adoption.ts'
import type { AdoptVerdict } from '../domain/adopt-verdict.ts'
import type { ClusterConfig } from '../domain/cluster-config.ts'
import { RequorumError } from '../domain/failures.ts'
import { withoutNodes } from '../domain/fence.ts'
import { adoptCommand, type AdoptRequest } from '../domain/messages.ts'
import type { RecoveryRecord } from '../domain/recovery-record.ts'
import { fenceOf } from '../domain/restore-plan.ts'
import { reachedNodes, type NodeSurvey } from '../domain/survey.ts'
import { finish, takeBack, type Finished } from './steps/adopt.ts'
import { approvalOf, checkpoint } from './steps/checkpoint.ts'
import { change, look } from './steps/hands.ts'
import { withoutBackups } from './steps/held-backups.ts'
import { recoveryIdentity } from './steps/identity.ts'
import { holdingNodes } from './steps/lock.ts'
import { clusterOf } from './steps/request.ts'
import { Run, utcNow } from './steps/run.ts'
import { surveyWhatAnswers } from './steps/survey.ts'

/**
 * Brings to its end what another run began and can't end any more: terminated, or lost with its engine's database.
 * The nodes remember it: the plan that was approved, the steps that were done, the marks of how far it came.
 *
 * Nothing is touched before a person has said that the other run is dead, since two at work would destroy the cluster.
 */
export async function adopt(request: AdoptRequest): Promise<AdoptVerdict> {
  const run = new Run('adopt', clusterOf(request))
  return run.through(async () => {
    const { recovery, owner } = recoveryIdentity(run.cluster, adoptCommand(run.cluster))
    const config = await run.step('Read the cluster file', () =>
      look.loadCluster(run.cluster, { consent: true }),
    )
    const found = await surveyWhatAnswers(run, config)
    const unfinished = newestUnfinished(await readRecords(run, config, found))
    const adoption = planAdoption(config.cluster, found, unfinished, request.undo === true)
    const record = await recordOf(run, adoption, unfinished?.nodes[0]?.node)
    refuseUnreached(config, record, found)
    // A restore that went on without nodes is done on the others.
    const there = withoutNodes(config, offIn(record))

    const shows = adoptionMarkdown(adoption, unfinished, found, utcNow())
    const consent = await checkpoint(run, config, 'adopt', adoptionDigest(adoption), shows)
    const verdict = (end: Partial<Finished> & Pick<AdoptVerdict, 'outcome'>): AdoptVerdict => ({
      runbook: 'adopt',
      cluster: config.cluster,
      adopted: record === null ? null : { runbook: record.runbook, recovery: record.recovery },
      checks: [],
      setAside: [],
      freshBackup: null,
      ...end,
      approvals: [approvalOf('adopt', consent), ...(end.approvals ?? [])],
      steps: run.timings(),
      warnings: [...run.warnings()],
    })
    if (consent.outcome !== 'approved') return verdict({ outcome: consent.outcome })

    await takeOver(run, adoption, owner)
    const ended = await holdingNodes(run, there, owner, () =>
      withoutBackups(run, there, record?.recovery ?? recovery, async (): Promise<Finished> => {
        if (record === null) return { outcome: 'let-go' }
        if (adoption.way === 'go-on') return finish(run, there, record, owner, unfinished?.marks ?? {})
        await CancellationScope.nonCancellable(() => takeBack(run, record))
        return { outcome: 'undone' }
      }),
    )
    const accepted = await ended.accept?.()
    return verdict({ ...ended, ...accepted })
  })
}

/** A node that can't be asked knows nothing that the others don't: each has the whole plan. */
function readRecords(run: Run, config: ClusterConfig, found: readonly NodeSurvey[]): Promise<NodeRecords[]> {
  return run.step(
    'Read what recoveries left on the nodes',
    () =>
      Promise.all(
        reachedNodes(found).map(async ({ node }) => ({
          node,
          recorded: await look.recordedRecoveries({ cluster: config.cluster, node }),
        })),
      ),
    (records) =>
      records.map(({ node, recorded }) => `${node} ${recorded.length}`).join(', ') || 'no node was reached',
  )
}

async function recordOf(
  run: Run,
  { cluster, recovery }: Adoption,
  node: string | undefined,
): Promise<RecoveryRecord | null> {
  if (recovery === null || node === undefined) return null
  return run.step(`Read its plan on ${node}`, () => look.readRecoveryRecord({ cluster, node }, recovery))
}

function offIn(record: RecoveryRecord | null): string[] {
  return record?.runbook === 'restoreQuorum' ? fenceOf(record.plan).map(({ node }) => node) : []
}

/** Half of a recovery on half of its nodes is worse than waiting for the others. */
function refuseUnreached(
  config: ClusterConfig,
  record: RecoveryRecord | null,
  found: readonly NodeSurvey[],
): void {
  const reached = reachedNodes(found).map(({ node }) => node)
  const missing = (record?.plan.targets ?? []).filter(({ node }) => !reached.includes(node))
  if (missing.length === 0) return
  throw new RequorumError('nodes-missing', {
    what: `${missing.map(({ node }) => node).join(', ')} of ${config.cluster} can't be reached, and recovery ${record?.recovery} works there too. Nothing was touched.`,
    todo: `Bring the node back to where SSH answers, then: requorum adopt ${config.cluster}`,
  })
}

/** From whom the plan says, and from nobody else: a lock that changed hands meanwhile is held by somebody alive. */
async function takeOver(run: Run, { cluster, locks }: Adoption, owner: string): Promise<void> {
  if (locks.length === 0) return
  await run.step(
    'Take the locks over',
    async () => {
      for (const lock of locks) await change.takeOverLock({ cluster, node: lock.node }, lock.owner, owner)
    },
    () => locks.map(({ node }) => node).join(', '),
  )
}
