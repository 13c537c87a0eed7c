import { CancellationScope, executeChild } from '@temporalio/workflow'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError } from '../../domain/failures.ts'
import { nextToDefragment, type ReliefPlan, type MemberSpace } from '../../domain/relief-plan.ts'
import { reliefJournal } from '../../domain/relief-text.ts'
import { reliefOutcome } from '../../domain/relief-verdict.ts'
import { backupWorkflowId } from '../../domain/messages.ts'
import type { PlanStep } from '../../domain/plan-step.ts'
import { listChecks, type CheckName } from '../../domain/validation/checks.ts'
import type { Check } from '../../domain/verdict.ts'
import type { backup } from '../backup.ts'
import { Checklist } from './checklist.ts'
import { whyOf } from './failure.ts'
import { change } from './hands.ts'
import { utcNow, type Run } from './run.ts'

/** What has to be so when all is done. */
const AFTERWARDS: readonly CheckName[] = ['members', 'leader', 'hashes', 'alarms', 'write-probe']

export interface MadeRoom {
  /** The nodes in the order in which their members were defragmented. */
  readonly order: readonly string[]
  readonly after: readonly MemberSpace[]
  readonly disarmed: readonly string[]
  readonly checks: readonly Check[]
}

/**
 * Compacts, defragments one member after the other, clears the alarm, and looks whether all is well. Each step may
 * be done again. A cancellation is heard between members, where each of them is whole.
 *
 * @param needed - told before the first revision is thrown away.
 * @throws RequorumError `cancelled`, `cluster-unhealthy`, and what a node throws; with a warning that says how far it came
 */
export async function makeRoom(
  run: Run,
  config: ClusterConfig,
  plan: ReliefPlan,
  needed: () => void,
): Promise<MadeRoom> {
  const scope = CancellationScope.current()
  const order: string[] = []
  let compacted = false
  const heed = (): void => {
    if (!scope.consideredCancelled) return
    throw new RequorumError('cancelled', {
      what: `Making room in ${plan.cluster} was cancelled between two members. All of them are well.`,
      todo: `Start again for the rest: requorum relieve ${plan.cluster}`,
    })
  }
  try {
    return await CancellationScope.nonCancellable(async () => {
      await writeJournals(run, config, plan)
      heed()
      needed()
      compacted = true
      for (const one of plan.compact.actions) await perform(run, plan, plan.compact.title, 'compact', one)
      await run.step(
        'Wait until every member has dropped old revisions',
        () => change.awaitCompacted(plan.cluster),
        (evidence) => evidence,
      )
      let now = await allWell(run, plan, 'Wait until all members are well')
      for (;;) {
        const next = nextToDefragment(plan, now.leader, order)
        if (next === null) break
        heed()
        await perform(run, plan, `Defragment ${next.node}`, 'defragment', next)
        order.push(next.node)
        now = await allWell(run, plan, `Wait until all members are well after ${next.node}`)
      }
      const disarmed = await run.step(
        'Clear the alarm NOSPACE',
        () => change.disarmSpaceAlarms({ cluster: plan.cluster, node: plan.copy.node }),
        (cleared) => (cleared.length === 0 ? 'none stood' : cleared.join(', ')),
      )
      return { order, after: now.members, disarmed, checks: await lookAfterwards(run, config) }
    })
  } catch (error) {
    run.warn([howFar(plan, compacted, order)])
    throw error
  }
}

function allWell(run: Run, plan: ReliefPlan, title: string) {
  return run.step(
    title,
    () => change.awaitCaughtUp(plan.cluster),
    ({ evidence }) => evidence,
  )
}

function writeJournals(run: Run, config: ClusterConfig, plan: ReliefPlan): Promise<unknown> {
  return run.step('Write the journal on every node', () => {
    const text = reliefJournal(config, plan, utcNow())
    return Promise.all(
      config.nodes.map(({ name }) =>
        change.writeJournal({ cluster: config.cluster, node: name }, plan.recovery, text),
      ),
    )
  })
}

function perform(
  run: Run,
  plan: ReliefPlan,
  title: string,
  step: string,
  { node, action }: PlanStep['actions'][number],
): Promise<string> {
  const address = plan.targets.find((target) => target.node === node)?.address
  return run.step(
    title,
    () =>
      change.performAction.executeWithOptions({ summary: `${node}: ${title}` }, [
        { cluster: plan.cluster, node, ...(address === undefined ? {} : { address }) },
        plan.recovery,
        step,
        action,
      ]),
    (said) => said,
  )
}

/** The checks of a validation that speak of etcd; none is left out here, whatever the cluster file leaves out of one. */
async function lookAfterwards(run: Run, config: ClusterConfig): Promise<Check[]> {
  const listed = listChecks({ skip: [], limits: config.validate.limits }, [], NO_API_SERVERS)
  const checks = new Checklist(
    run,
    listed.filter(({ name }) => AFTERWARDS.some((one) => one === name)),
    { run: '', patient: false, against: { none: 'nothing is compared' } },
  )
  await checks.makeAllBut('canary')
  return checks.made()
}

const NO_API_SERVERS = { servers: [], without: [], unreached: [] }

function howFar(plan: ReliefPlan, compacted: boolean, order: readonly string[]): string {
  if (!compacted) return 'nothing was compacted or defragmented'
  const left = plan.targets.map(({ node }) => node).filter((node) => !order.includes(node))
  return `compacted to revision ${plan.copy.revision}; defragmented: ${order.join(', ') || 'none'}; not: ${left.join(', ') || 'none'}; an alarm NOSPACE that stood may still stand; everything from before is in ${plan.copy.path} on ${plan.copy.node}`
}

/** A backup into the store, which was refused as long as the alarm stood. What fails here is a warning: the room is made. */
export async function backUpAfterwards(
  run: Run,
  config: ClusterConfig,
  recovery: string,
  owner: string,
  checks: readonly Check[],
): Promise<string | null> {
  if (reliefOutcome(checks) !== 'freed') {
    run.warn(['no backup was taken afterwards: not all is well, and a backup takes no member with an alarm'])
    return null
  }
  try {
    const { key } = await CancellationScope.nonCancellable(() =>
      run.step(
        'Take a fresh backup',
        () =>
          executeChild<typeof backup>('backup', {
            workflowId: `${backupWorkflowId(config.cluster)}/after-${recovery}`,
            args: [{ cluster: config.cluster, onBehalfOf: owner }],
            staticSummary: `Backup of ${config.cluster} after room was made in it`,
          }),
        (verdict) => verdict.key,
      ),
    )
    return key
  } catch (error) {
    run.warn([`no backup was taken afterwards: ${whyOf(error)}`])
    return null
  }
}
