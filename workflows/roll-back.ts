import { CancellationScope } from '@temporalio/workflow'
import type { ClusterConfig } from '../domain/cluster-config.ts'
import { RequorumError } from '../domain/failures.ts'
import { rollBackCommand, type RollBackRequest } from '../domain/messages.ts'
import { setAsideOf } from '../domain/plan-step.ts'
import type { RestoreRecord } from '../domain/recovery-record.ts'
import type { BackupBefore } from '../domain/backup-before.ts'
import { digestOf } from '../domain/restore-plan.ts'
import { chooseRestore } from '../domain/roll-back-choice.ts'
import { planRollBack, refuseUnreached, rollBackDigest, type RollBackPlan } from '../domain/roll-back-plan.ts'
import { lossSinceOpened, rollBackMarkdown, type RollBackVerdict } from '../domain/roll-back-text.ts'
import type { NodeSurvey } from '../domain/survey.ts'
import { failedChecks } from '../domain/verdict.ts'
import { backupBefore } from './steps/backup-before.ts'
import { approvalOf, checkpoint, type Consent } from './steps/checkpoint.ts'
import { look } from './steps/hands.ts'
import { withoutBackups } from './steps/held-backups.ts'
import { recoveryIdentity } from './steps/identity.ts'
import { holdingNodes } from './steps/lock.ts'
import { clusterOf } from './steps/request.ts'
import { finishRollBack, lookBeforeRestore, looksLikeNow, rollBackUntilOld } from './steps/roll-back.ts'
import { Run, utcNow } from './steps/run.ts'
import { survey } from './steps/survey.ts'

/**
 * Gives a restored cluster up for what was there before its restore: the old data and manifests, byte for byte.
 *
 * It loses what was written since the restored cluster was opened, so it has a plan and a consent of its own. The old
 * cluster may well have had no quorum: done means that all is what it was, and the verdict says what that looks like.
 */
export async function rollBack(request: RollBackRequest): Promise<RollBackVerdict> {
  const run = new Run('rollBack', clusterOf(request))
  return run.through(async () => {
    const { recovery, owner } = recoveryIdentity(run.cluster, rollBackCommand(run.cluster))

    const config = await run.step('Read the cluster file', () =>
      look.loadCluster(run.cluster, { consent: true }),
    )
    const restore = await openedRestore(run, config, request.recovery)
    const first = await survey(run, config)
    refuseUnreached(config.cluster, first)
    const waived = { waived: 'not taken yet' }
    // Whatever refuses the plan refuses it before anything is locked.
    planRollBack(config, recovery, restore, first, await lookBeforeRestore(run, restore.record), waived)

    const verdict = await holdingNodes(run, config, owner, () =>
      withoutBackups(run, config, recovery, async () => {
        const before = await backupBefore(
          run,
          config,
          recovery,
          owner,
          `Backup of ${config.cluster} before its restore is rolled back`,
        )
        const { plan, found, consent } = await consentToCurrentPlan(run, config, recovery, restore, before)
        const verdict = verdictOf(run, plan, restore, found)
        if (consent.outcome !== 'approved') return verdict({ outcome: consent.outcome })

        await rollBackUntilOld(run, {
          ...{ version: 1, runbook: 'rollBack', cluster: run.cluster },
          ...{ recovery, owner, startedAt: utcNow(), plan },
        })
        // The old etcd may take writes from here on, so nothing is swapped back by itself.
        const checks = await CancellationScope.nonCancellable(() =>
          finishRollBack(run, plan, restore.record, found),
        )
        return verdict({
          outcome: failedChecks(checks).length === 0 ? 'rolled-back' : 'unfinished',
          approvals: [approvalOf('rollback', consent)],
          setAside: setAsideOf(plan.setAside),
          checks,
        })
      }),
    )
    if (verdict.approvals.length === 0) return verdict
    const now = await looksLikeNow(run, config)
    return { ...verdict, now, steps: run.timings(), warnings: run.warnings() }
  })
}

interface OpenedRestore {
  readonly record: RestoreRecord
  /** The line of the mark that it left when clients could write. */
  readonly opened: string
}

/** The restore that is meant, as the nodes' records have it. @throws RequorumError `nothing-to-roll-back`, `record-unreadable` */
async function openedRestore(run: Run, config: ClusterConfig, named: unknown): Promise<OpenedRestore> {
  if (named !== undefined && typeof named !== 'string') {
    throw new RequorumError('input-invalid', {
      what: '"recovery" of the input has to be the name of a restore. Nothing was touched.',
      todo: 'Start it with an input like {"cluster":"prod"}.',
    })
  }
  return run.step(
    'Find the restore',
    async () => {
      const known = await Promise.all(
        config.nodes.map(async ({ name: node }) => ({
          node,
          recorded: await look.recordedRecoveries({ cluster: config.cluster, node }),
        })),
      )
      const { recovery, digest, opened } = chooseRestore(config, known, named)
      const record = await look.readRecoveryRecord(
        { cluster: config.cluster, node: config.nodes[0]?.name ?? '' },
        recovery,
      )
      if (record.runbook === 'restoreQuorum' && digestOf(record.plan) === digest) return { record, opened }
      throw new RequorumError('record-unreadable', {
        what: `The record of ${recovery} changed while it was read. Nothing was touched.`,
        todo: 'Start again.',
      })
    },
    ({ record, opened }) => `${record.recovery}, opened ${opened}`,
  )
}

/** Asks until the plan that was approved is still the plan; the nodes are looked at again after the approval. */
async function consentToCurrentPlan(
  run: Run,
  config: ClusterConfig,
  recovery: string,
  restore: OpenedRestore,
  before: BackupBefore,
): Promise<{ plan: RollBackPlan; found: readonly NodeSurvey[]; consent: Consent }> {
  const planNow = async (title?: string): Promise<{ plan: RollBackPlan; found: readonly NodeSurvey[] }> => {
    const found = await survey(run, config, title)
    const facts = await lookBeforeRestore(run, restore.record)
    return { plan: planRollBack(config, recovery, restore, found, facts, before), found }
  }
  let { plan, found } = await planNow()
  for (;;) {
    const loss = lossSinceOpened(restore.record, plan.of.opened, found, utcNow())
    const shows = rollBackMarkdown(plan, loss)
    const consent = await checkpoint(run, config, 'rollback', rollBackDigest(plan), shows)
    if (consent.outcome !== 'approved') return { plan, found, consent }
    const now = await planNow('Look again before anything is touched')
    if (rollBackDigest(now.plan) === rollBackDigest(plan)) return { ...now, consent }
    ;({ plan, found } = now)
  }
}

function verdictOf(run: Run, plan: RollBackPlan, { record }: OpenedRestore, found: readonly NodeSurvey[]) {
  const loss = lossSinceOpened(record, plan.of.opened, found, utcNow())
  return (end: Partial<RollBackVerdict> & Pick<RollBackVerdict, 'outcome'>): RollBackVerdict => ({
    runbook: 'rollBack',
    cluster: plan.cluster,
    recovery: plan.recovery,
    of: plan.of.recovery,
    loss,
    backup: 'key' in plan.backup ? plan.backup.key : `none: ${plan.backup.waived}`,
    now: null,
    checks: [],
    approvals: [],
    setAside: [],
    ...end,
    steps: run.timings(),
    warnings: run.warnings(),
  })
}
