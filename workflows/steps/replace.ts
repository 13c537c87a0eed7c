import { CancellationScope, executeChild, isCancellation } from '@temporalio/workflow'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError } from '../../domain/failures.ts'
import { journalPath } from '../../domain/node-paths.ts'
import type { PlanStep } from '../../domain/plan-step.ts'
import type { ReplaceRecord } from '../../domain/recovery-record.ts'
import { othersNow, type OthersNow } from '../../domain/others.ts'
import { retryDigest, type ReplacePlan } from '../../domain/replace-plan.ts'
import { replaceJournal, retryMarkdown } from '../../domain/replace-text.ts'
import { undoSteps } from '../../domain/restore-plan.ts'
import type { PlanDigest } from '../../domain/values.ts'
import { tally } from '../../domain/validation/verdict.ts'
import { check, type Check } from '../../domain/verdict.ts'
import type { validate } from '../validate.ts'
import { checkpointAfterwards, type Consent } from './checkpoint.ts'
import { byOneOf, everywhere } from './everywhere.ts'
import { causeOf, whyOf } from './failure.ts'
import { change, tell, undo } from './hands.ts'
import { mark, markEnded, writeJournals } from './journal.ts'
import { keep } from './keep.ts'
import type { Run } from './run.ts'
import { surveyWhatAnswers } from './survey.ts'

/** The old member is out of the list; or it may be, and nobody could tell: then there is no way back either. */
export interface Removed {
  /** Why the removal itself is to be tried again, if it is. */
  readonly failed: unknown
  /** Another run came so far: what it did before is found again, and a failure of that is no way back either. */
  readonly byAnotherRun?: true
}

/**
 * From the consent to the removal of the old member. Whatever fails before it is undone by itself: data and manifests
 * are back before the run ends. A removal whose outcome nobody can tell counts as one that came about.
 *
 * @throws RequorumError `replacement-undone`, `cancelled`, `undo-incomplete`
 */
export function removeOldMember(run: Run, record: ReplaceRecord): Promise<Removed> {
  const { plan } = record
  const scope = CancellationScope.current()
  // A step is never cut in the middle; a cancellation is heard between steps.
  return CancellationScope.nonCancellable(async () => {
    const heed = (): void => {
      if (!scope.consideredCancelled) return
      throw new RequorumError('cancelled', { what: 'The replacement was cancelled.', todo: 'It is undone.' })
    }
    try {
      await writeJournals(run, record, (node, started) => replaceJournal(plan, node, started))
      for (const step of [plan.stop, plan.setAside]) {
        heed()
        await everywhere(run, plan, step, change)
      }
      heed()
    } catch (error) {
      return putBack(run, plan, error)
    }
    if (plan.remove.actions.length === 0) return { failed: null }
    try {
      await byOneOf(run, plan, plan.remove)
      await mark(plan, 'removed', `member ${plan.leaves.id ?? ''} of ${plan.node}`)
      return { failed: null }
    } catch (error) {
      if (await stillListed(run, plan)) return putBack(run, plan, error)
      return { failed: error }
    }
  })
}

/** Whether the old member is certainly still in the list. No answer is no certainty. */
export async function stillListed(run: Run, plan: ReplacePlan): Promise<boolean> {
  const helpers = plan.remove.actions.map(({ node }) => node)
  try {
    const ids = await run.step('Is the member removed?', () => tell.memberIds(plan.cluster, helpers))
    return plan.leaves.id !== null && ids.includes(plan.leaves.id)
  } catch {
    return false
  }
}

async function putBack(run: Run, plan: ReplacePlan, error: unknown): Promise<never> {
  const why = whyOf(error)
  await undoReplacement(run, plan, why)
  const cancelled = isCancellation(error) || causeOf(error).code === 'cancelled'
  throw new RequorumError(cancelled ? 'cancelled' : 'replacement-undone', {
    what: `The replacement on ${plan.node} was undone: no member was removed, data and manifests are what they were.`,
    why,
    todo: `Mend the cause and start again: requorum replace ${plan.cluster} ${plan.node}`,
  })
}

/**
 * The way back, for as long as the old member is in the list.
 *
 * @param why - what is undone for; it stands before what fails now
 * @throws RequorumError `undo-incomplete`
 */
export async function undoReplacement(run: Run, plan: ReplacePlan, why: string): Promise<void> {
  const stuck = new Map<string, unknown>()
  for (const step of undoSteps(plan)) await everywhere(run, plan, step, undo, stuck)
  if (stuck.size > 0) {
    throw new RequorumError('undo-incomplete', {
      what: `The replacement on ${plan.node} failed, and the node could not be put back. The nodes stay locked.`,
      why: `${why} Then: ${[...stuck.values()].map((failure) => whyOf(failure)).join('; ')}`,
      todo: `Nothing was deleted. Go on by hand there, as ${journalPath(plan.recovery)} says.`,
    })
  }
  await markEnded(run, plan, 'undone')
}

export interface Joined {
  readonly joined: boolean
  readonly retries: readonly { readonly consent: Consent; readonly digest: PlanDigest }[]
  readonly checks: readonly Check[]
}

/**
 * From the removal to a member that has its vote and a validated cluster. There is only forward here: a step that
 * failed for good waits for a person, who has it tried again or leaves it as it is.
 */
export async function joinAgain(
  run: Run,
  config: ClusterConfig,
  plan: ReplacePlan,
  owner: string,
  removed: Removed,
): Promise<Joined> {
  const steps: Step[] = [
    ...(removed.byAnotherRun === true ? [there(plan.stop), there(plan.setAside)] : []),
    ...(removed.failed === null && removed.byAnotherRun !== true ? [] : [byHelper(plan.remove)]),
    byHelper(plan.add),
    there(plan.makeDataDir),
    there(plan.startEtcd),
    byHelper(plan.promote),
    ...(plan.startApiServer.actions.length === 0 ? [] : [there(plan.startApiServer)]),
  ]
  const retries: { consent: Consent; digest: PlanDigest }[] = []
  let failed = removed.failed
  let next = 0
  for (;;) {
    while (failed === null && next < steps.length) {
      const step = steps[next]
      try {
        // Half joined is no safe place to stop at: a cancellation is heard where a person is waited for.
        await CancellationScope.nonCancellable(async () => step?.(run, plan))
        next += 1
      } catch (error) {
        failed = error
      }
    }
    if (failed === null) break
    const why = whyOf(failed)
    const digest = retryDigest(plan, retries.length + 1, why)
    const shows = retryMarkdown(plan, why, await lookAtOthers(run, config, plan))
    const consent = await checkpointAfterwards(run, config, 'retry', digest, shows)
    retries.push({ consent, digest })
    if (consent.outcome !== 'approved') {
      const left = check('the new member has its vote', false, why)
      return { joined: false, retries, checks: [left] }
    }
    failed = null
  }
  const checks = await CancellationScope.nonCancellable(async () => {
    const seen = await validated(run, plan, owner)
    await markEnded(run, plan, 'replaced')
    return seen
  })
  return { joined: true, retries, checks }
}

/** What failed may be that the others lost their quorum meanwhile: then that has to be mended first. */
async function lookAtOthers(run: Run, config: ClusterConfig, plan: ReplacePlan): Promise<OthersNow> {
  const found = await CancellationScope.nonCancellable(() =>
    surveyWhatAnswers(run, config, 'Look at the others'),
  )
  return othersNow(
    plan.add.actions.map(({ node }) => node),
    found,
  )
}

type Step = (run: Run, plan: ReplacePlan) => Promise<void>

function byHelper(step: PlanStep): Step {
  return (run, plan) => byOneOf(run, plan, step)
}

function there(step: PlanStep): Step {
  return (run, plan) => everywhere(run, plan, step, change)
}

/** An alarm CORRUPT outlives the member that it names, and so would block every write; then every check. */
async function validated(run: Run, plan: ReplacePlan, owner: string): Promise<Check[]> {
  const checks: Check[] = []
  const helper = plan.add.actions[0]?.node ?? plan.node
  await keep(checks, 'a write goes through', () =>
    run.step(
      'Disarm alarms and probe with a write',
      () => change.disarmAndProbe({ cluster: plan.cluster, node: helper }, `requorum/probe-${plan.recovery}`),
      (seen) => seen,
    ),
  )
  const verdict = await keep(checks, 'Validate the cluster', () =>
    run.step(
      'Validate the cluster',
      () =>
        executeChild<typeof validate>('validate', {
          workflowId: `validate/${plan.cluster}/after-${plan.recovery}`,
          args: [
            {
              ...{ cluster: plan.cluster, onBehalfOf: owner },
              ...(plan.without === undefined ? {} : { without: plan.without }),
            },
          ],
          staticSummary: `Validation of ${plan.cluster} after a member was replaced`,
        }),
      ({ checks: made }) => tally(made),
    ),
  )
  checks.push(...(verdict?.checks ?? []))
  run.showChecks(checks)
  return checks
}
