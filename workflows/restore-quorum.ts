import { CancellationScope, isCancellation } from '@temporalio/workflow'
import type { ClusterConfig } from '../domain/cluster-config.ts'
import { withoutNodes } from '../domain/fence.ts'
import { restoreCommand, type RestoreRequest } from '../domain/messages.ts'
import { setAsideOf } from '../domain/plan-step.ts'
import { lossOf, restorePlanMarkdown } from '../domain/plan-text.ts'
import type { RestoreRecord } from '../domain/recovery-record.ts'
import { digestOf, planRestore, type RestorePlan } from '../domain/restore-plan.ts'
import { manifestKeyOf, type Catalogue, type ProvedSnapshot } from '../domain/snapshot.ts'
import type { NodeSurvey } from '../domain/survey.ts'
import { judgeVersions } from '../domain/versions.ts'
import type { RestoreVerdict } from '../domain/verdict.ts'
import {
  candidates,
  refuseUnfitVersions,
  refuseWithoutRoom,
  refuseWithoutTools,
  stageFirstGood,
  type Candidate,
} from './steps/candidate.ts'
import { approvalOf, checkpoint, type Consent } from './steps/checkpoint.ts'
import { causeOf } from './steps/failure.ts'
import { look, transfer } from './steps/hands.ts'
import { HeldBackups } from './steps/held-backups.ts'
import { recoveryAfter, recoveryIdentity } from './steps/identity.ts'
import { holdingNodes } from './steps/lock.ts'
import { refuseUnlessOff } from './steps/off.ts'
import { clusterOf, namedSnapshotOf, offOf } from './steps/request.ts'
import { accept, openCluster, restoreUntilOpen } from './steps/restore.ts'
import { Run, utcNow } from './steps/run.ts'
import { refuseUnaskable, refuseWhileQuorumHolds, survey } from './steps/survey.ts'

/**
 * Brings a cluster that lost its quorum back from its newest good snapshot.
 *
 * Nothing on a node is stopped or moved before a person has consented to exactly this plan. From there until
 * the cluster is open to clients, whatever fails is undone by itself; after that nothing is swapped back.
 */
export async function restoreQuorum(request: RestoreRequest): Promise<RestoreVerdict> {
  const run = new Run('restoreQuorum', clusterOf(request))
  return run.through(async () => {
    const { recovery, owner } = recoveryIdentity(run.cluster, restoreCommand(run.cluster))

    const whole = await run.step('Read the cluster file', () =>
      look.loadCluster(run.cluster, { consent: true }),
    )
    const off = offOf(request)
    const named = namedSnapshotOf(request)
    const first = await refuseWhatNeedsNoRestore(run, whole, await survey(run, whole), off)
    // From here on: the nodes that it is done on.
    const config = withoutNodes(whole, off)
    refuseWithoutTools(first)
    const catalogue = await run.step(
      'Read the snapshot catalogue',
      () => transfer.readCatalogue(config.cluster, named),
      ({ proved, refused }) => `${proved.length} proved, ${refused.length} refused`,
    )

    const tries = candidates(config, catalogue, named)
    // Before the lock, which a disk that is full to its last byte could not take.
    if (tries[0] !== undefined) {
      refuseUnfitVersions(first, tries[0])
      refuseWithoutRoom(first, tries[0])
    }

    const { plan, consent, restored, verdict } = await holdingNodes(run, config, owner, async () => {
      let left = tries
      let skipped = newerRefusals(catalogue)
      // Whoever gives a candidate up for the next one gets it as a recovery of its own, with names of its own.
      for (let name = recovery; ; name = recoveryAfter(name)) {
        const candidate = await stageFirstGood(run, config, first, left, skipped)
        const ended = await tryCandidate(run, config, {
          whole,
          off,
          recovery: name,
          owner,
          candidate,
          first,
          catalogue,
          more: left.at(-1) !== candidate.snapshot,
        })
        if (!('another' in ended)) return ended
        left = left.slice(left.indexOf(candidate.snapshot) + 1)
        skipped = [...candidate.skipped, { key: candidate.snapshot.key, reason: ended.why }]
      }
    })
    if (restored === null) return verdict({ outcome: consent.outcome, approvals: [] })

    const accepted = await accept(run, config, plan, restored.checks)
    return verdict({
      outcome: accepted.outcome === 'approved' ? 'restored' : 'unaccepted',
      approvals: [approvalOf('destroy', consent), approvalOf('accept', accepted)],
      checks: restored.checks,
      freshBackup: restored.freshBackup,
    })
  })
}

/** One candidate, from its staged copies to an open cluster, or to all put back. */
async function tryCandidate(
  run: Run,
  config: ClusterConfig,
  one: {
    /** The cluster file with the nodes that are off, which are looked at again. */
    readonly whole: ClusterConfig
    readonly off: readonly string[]
    readonly recovery: string
    readonly owner: string
    readonly candidate: Candidate
    readonly first: readonly NodeSurvey[]
    readonly catalogue: Catalogue
    /** Whether there is an older snapshot to take instead. */
    readonly more: boolean
  },
) {
  const { recovery, owner, candidate } = one
  const backups = new HeldBackups(run, config, recovery)
  return tidyingUp(run, config, candidate.snapshot, backups, async () => {
    const { plan, found, consent } = await consentToCurrentPlan(
      run,
      one.whole,
      one.off,
      recovery,
      candidate,
      one.first,
      backups,
    )
    const verdict = verdictOf(run, plan, candidate, found, one.catalogue)
    if (consent.outcome !== 'approved') return { plan, consent, verdict, restored: null }
    const record: RestoreRecord = {
      version: 1,
      runbook: 'restoreQuorum',
      cluster: run.cluster,
      recovery,
      owner,
      startedAt: utcNow(),
      plan,
      snapshot: candidate.snapshot,
    }
    const opened = await restoreUntilOpen(run, config, record, { another: one.more, begun: false })
    if ('another' in opened) return opened
    // Open: clients can write from here on, so nothing is swapped back by itself, a cancellation included.
    const restored = await CancellationScope.nonCancellable(() =>
      openCluster(run, config, record, owner, opened),
    )
    return { plan, consent, verdict, restored }
  })
}

async function refuseWhatNeedsNoRestore(
  run: Run,
  config: ClusterConfig,
  found: readonly NodeSurvey[],
  off: readonly string[],
): Promise<NodeSurvey[]> {
  // First of all: nobody should switch a node off for a restore that is not wanted.
  refuseWhileQuorumHolds(config, found)
  const ours = await refuseUnlessOff(run, config, found, off)
  refuseUnaskable(config, found)
  return ours
}

/**
 * Asks until the plan that was approved is still the plan. After an approval, with no backup at work any more,
 * the nodes are looked at again: if the actions would differ, the consent was to something else and is asked
 * for anew.
 */
async function consentToCurrentPlan(
  run: Run,
  config: ClusterConfig,
  off: readonly string[],
  recovery: string,
  candidate: Candidate,
  first: readonly NodeSurvey[],
  backups: HeldBackups,
): Promise<{ plan: RestorePlan; found: readonly NodeSurvey[]; consent: Consent }> {
  let found = first
  for (;;) {
    const plan = planRestore(config, recovery, found, candidate.snapshot, off)
    const shows = restorePlanMarkdown(plan, {
      staged: true,
      snapshot: candidate.snapshot,
      survey: found,
      skipped: candidate.skipped,
      now: utcNow(),
    })
    const consent = await checkpoint(run, config, 'destroy', digestOf(plan), shows)
    if (consent.outcome !== 'approved') return { plan, found, consent }

    await backups.hold()
    const again = await survey(run, config, 'Look again before anything is touched')
    found = await refuseWhatNeedsNoRestore(run, config, again, off)
    refuseUnfitVersions(found, candidate.snapshot)
    const now = digestOf(planRestore(config, recovery, found, candidate.snapshot, off))
    if (now === digestOf(plan)) return { plan, found, consent }
  }
}

/** Lets the backups go on and removes the staged copies, however the work ended. */
async function tidyingUp<Result>(
  run: Run,
  config: ClusterConfig,
  snapshot: ProvedSnapshot,
  backups: HeldBackups,
  work: () => Promise<Result>,
): Promise<Result> {
  const tidy = (): Promise<void> =>
    CancellationScope.nonCancellable(async () => {
      run.warn(await backups.release())
      await unstage(run, config, snapshot)
    })
  try {
    const result = await work()
    await tidy()
    return result
  } catch (error) {
    // After an undo that could not be finished the journal's commands need the copies, and no backup may run.
    if (causeOf(error).code !== 'undo-incomplete') await tidy()
    throw error
  }
}

/** Manifests that could not be proved, as far as they are newer than the newest that could. */
function newerRefusals(catalogue: Catalogue): Candidate['skipped'] {
  const newest = manifestKeyOf(catalogue.proved[0]?.key ?? '')
  return catalogue.refused.filter(({ key }) => key > newest)
}

async function unstage(run: Run, config: ClusterConfig, snapshot: ProvedSnapshot): Promise<void> {
  await run.step('Remove the staged copies', async () => {
    const removed = config.nodes.map(({ name }) =>
      look.unstageSnapshot({ cluster: config.cluster, node: name }, snapshot.sha256),
    )
    for (const one of await Promise.allSettled(removed)) {
      if (one.status === 'rejected' && isCancellation(one.reason)) throw one.reason
    }
  })
}

function verdictOf(
  run: Run,
  plan: RestorePlan,
  candidate: Candidate,
  found: readonly NodeSurvey[],
  catalogue: Catalogue,
) {
  const loss = lossOf(candidate.snapshot, found, utcNow())
  return (end: Partial<RestoreVerdict> & Pick<RestoreVerdict, 'outcome' | 'approvals'>): RestoreVerdict => ({
    cluster: plan.cluster,
    recovery: plan.recovery,
    candidate: {
      key: candidate.snapshot.key,
      revision: candidate.snapshot.revision,
      takenAt: candidate.snapshot.takenAt,
    },
    loss,
    skippedCandidates: candidate.skipped,
    steps: run.timings(),
    checks: [],
    setAside: end.outcome === 'restored' || end.outcome === 'unaccepted' ? setAsideOf(plan.setAside) : [],
    freshBackup: null,
    ...end,
    warnings: [
      ...run.warnings(),
      ...judgeVersions(candidate.snapshot, found).warnings,
      ...catalogue.refused.map(({ key, reason }) => `${key} can't be restored from: ${reason}`),
    ],
  })
}
