import { CancellationScope } from '@temporalio/workflow'
import type { ClusterConfig } from '../domain/cluster-config.ts'
import { reliefDigest, planRelief, spaceSeen, type ReliefPlan } from '../domain/relief-plan.ts'
import { reliefMarkdown } from '../domain/relief-text.ts'
import { freedMembers, reliefOutcome, spaceWarnings, type ReliefVerdict } from '../domain/relief-verdict.ts'
import { startRelieveCommand, type RelieveRequest } from '../domain/messages.ts'
import type { NodeSurvey } from '../domain/survey.ts'
import { approvalOf, checkpoint, type Consent } from './steps/checkpoint.ts'
import { backUpAfterwards, makeRoom, type MadeRoom } from './steps/relieve.ts'
import { look } from './steps/hands.ts'
import { withoutBackups } from './steps/held-backups.ts'
import { recoveryIdentity } from './steps/identity.ts'
import { markEnded } from './steps/journal.ts'
import { holdingNodes } from './steps/lock.ts'
import { clusterOf } from './steps/request.ts'
import { Run } from './steps/run.ts'
import { discardUnlessNeeded, refuseUnlessAllWell, saveCopy } from './steps/space-copy.ts'
import { refuseDuringRecovery, survey } from './steps/survey.ts'

/**
 * Gives back what a living etcd's databases hold and nobody needs: old revisions are compacted away, then each member
 * is defragmented, one at a time and the leader last, and the alarm NOSPACE is cleared.
 *
 * Nothing is thrown away before a copy of everything was saved and a person has consented. While that is waited for
 * no node is locked: the cluster lives, and its backups go on.
 */
export async function relieve(request: RelieveRequest): Promise<ReliefVerdict> {
  const run = new Run('relieve', clusterOf(request))
  return run.through(async () => {
    const { recovery, owner } = recoveryIdentity(run.cluster, startRelieveCommand(run.cluster))

    const config = await run.step('Read the cluster file', () =>
      look.loadCluster(run.cluster, { consent: true }),
    )
    const first = await survey(run, config)
    refuseDuringRecovery(config, first, owner)
    refuseUnlessAllWell(config, first)
    const copy = await saveCopy(run, config, recovery, first)

    const ended = await discardUnlessNeeded(run, config, recovery, copy, async (needed) => {
      const plan = planRelief(config, recovery, copy)
      const { consent, found } = await consentToPlan(run, config, plan, first)
      if (consent.outcome !== 'approved') return { plan, consent, found, made: null, freshBackup: null }
      return holdingNodes(run, config, owner, () =>
        withoutBackups(run, config, recovery, async () => {
          try {
            const made = await makeRoom(run, config, plan, needed)
            const freshBackup = await backUpAfterwards(run, config, recovery, owner, made.checks)
            return { plan, consent, found, made, freshBackup }
          } finally {
            // Freed or not, nothing more is done by it, and its copy may be cleaned up in its time.
            await CancellationScope.nonCancellable(() => markEnded(run, plan, 'over'))
          }
        }),
      )
    })
    return verdictOf(run, ended)
  })
}

/** After an approval everything is looked at again: a member that fell ill meanwhile leaves no room for another to be away. */
async function consentToPlan(
  run: Run,
  config: ClusterConfig,
  plan: ReliefPlan,
  first: readonly NodeSurvey[],
): Promise<{ consent: Consent; found: readonly NodeSurvey[] }> {
  const shows = reliefMarkdown(plan, first)
  const consent = await checkpoint(run, config, 'compact', reliefDigest(plan), shows)
  if (consent.outcome !== 'approved') return { consent, found: first }
  const found = await survey(run, config, 'Look again before anything is touched')
  refuseUnlessAllWell(config, found)
  return { consent, found }
}

function verdictOf(
  run: Run,
  ended: {
    readonly plan: ReliefPlan
    readonly consent: Consent
    readonly found: readonly NodeSurvey[]
    readonly made: MadeRoom | null
    readonly freshBackup: string | null
  },
): ReliefVerdict {
  const { plan, consent, found, made, freshBackup } = ended
  const members = made === null ? [] : freedMembers(made.order, spaceSeen(found), made.after)
  return {
    runbook: 'relieve',
    outcome: consent.outcome === 'approved' ? reliefOutcome(made?.checks ?? []) : consent.outcome,
    cluster: plan.cluster,
    recovery: plan.recovery,
    members,
    copy: made === null ? null : plan.copy,
    disarmed: made?.disarmed ?? [],
    steps: run.timings(),
    checks: made?.checks ?? [],
    approvals: made === null ? [] : [approvalOf('compact', consent)],
    freshBackup,
    warnings: [...run.warnings(), ...spaceWarnings(members)],
  }
}
