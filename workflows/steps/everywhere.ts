import type { PlannedRecovery, PlanStep } from '../../domain/plan-step.ts'
import type { RestorePlan } from '../../domain/restore-plan.ts'
import { causeOf, whyOf } from './failure.ts'
import { change, tell } from './hands.ts'
import type { Run } from './run.ts'

/**
 * Does one step of a plan on all its nodes at once and waits for all: the barrier. A node that fails doesn't
 * cut the others short, because the way back may begin only when nothing is at work any more.
 *
 * @param except - nodes to leave out, and where those that fail are added when it is given; without it the
 *   first failure is thrown.
 */
export async function everywhere(
  run: Run,
  plan: PlannedRecovery,
  step: PlanStep,
  hands: typeof change,
  except?: Map<string, unknown>,
): Promise<void> {
  const actions = step.actions.filter(({ node }) => except?.has(node) !== true)
  if (actions.length === 0) return
  await run.step(
    step.title,
    async () => {
      const done = await Promise.allSettled(actions.map((one) => perform(plan, step, one, hands)))
      for (const [index, one] of done.entries()) {
        if (one.status === 'fulfilled') continue
        if (except === undefined) throw one.reason
        except.set(actions[index]?.node ?? '', one.reason)
      }
    },
    () => actions.map(({ node }) => node).join(', '),
  )
}

/**
 * Does one step by the first of its nodes that can: what the cluster as a whole is told, whoever tells it.
 *
 * @throws what the last of them threw
 */
export async function byOneOf(run: Run, plan: PlannedRecovery, step: PlanStep): Promise<void> {
  await run.step(
    step.title,
    async () => {
      for (const [index, one] of step.actions.entries()) {
        try {
          return await perform(plan, step, one, tell)
        } catch (error) {
          // What etcd itself has said is the same wherever it is asked.
          const last = index === step.actions.length - 1 || causeOf(error).code === 'learner-behind'
          if (last) throw error
          run.warn([`${one.node}: ${whyOf(error)}`])
        }
      }
      return 'nobody was asked'
    },
    (said) => said,
  )
}

/**
 * Starts etcd node by node, each when the one before it serves its peers.
 *
 * With `--experimental-initial-corrupt-check`, which kubeadm sets, a member asks every peer for its hash before it
 * serves anything, with 7 s of patience for each. Members that start at once hold one another up until that is over:
 * 14 s with three. A peer that has not been started refuses at once, and one that serves answers.
 */
export async function startOneByOne(run: Run, plan: RestorePlan): Promise<void> {
  const step = plan.startEtcd
  await run.step(
    step.title,
    async () => {
      for (const one of step.actions) {
        await perform(plan, step, one, change)
        await change.awaitPeerPort({ cluster: plan.cluster, node: one.node })
      }
    },
    () => step.actions.map(({ node }) => node).join(', '),
  )
}

function perform(
  plan: PlannedRecovery,
  step: PlanStep,
  { node, action }: PlanStep['actions'][number],
  hands: typeof change,
): Promise<string> {
  return hands.performAction.executeWithOptions({ summary: `${node}: ${step.title}` }, [
    { cluster: plan.cluster, node, ...addressOf(plan, node) },
    plan.recovery,
    slug(step.title),
    action,
  ])
}

function addressOf(plan: PlannedRecovery, node: string): { address?: string } {
  const target = plan.targets.find((one) => one.node === node)
  return target === undefined ? {} : { address: target.address }
}

function slug(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')
}
