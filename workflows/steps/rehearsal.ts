import { CancellationScope, isCancellation, ParentClosePolicy, sleep, startChild } from '@temporalio/workflow'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { dataDirOf, type DrillPlan } from '../../domain/drill-plan.ts'
import { RequorumError } from '../../domain/failures.ts'
import { recoveryWorkflowId } from '../../domain/messages.ts'
import type { ReplaceVerdict, RestoreVerdict } from '../../domain/verdict.ts'
import type { replaceMember } from '../replace-member.ts'
import type { restoreQuorum } from '../restore-quorum.ts'
import { putBack } from './drill.ts'
import { causeOf } from './failure.ts'
import { look, vigil } from './hands.ts'
import { holdingNodes } from './lock.ts'
import { utcNow, type Run } from './run.ts'

/** One look for the first write lasts this long; then it is begun anew. */
const LOOK_MS = 300_000
const WITHOUT_WRITE = '15s'

/** How a recovery ended, and what became of what the drill broke. */
export interface Rehearsed {
  /** Its verdict; null when it failed. */
  readonly verdict: RestoreVerdict | ReplaceVerdict | null
  /** Its verdict's outcome, or the code of its failure. */
  readonly outcome: string
  readonly why: string
  readonly endedAt: string
  /** When etcd first acknowledged a write; null when none was seen. */
  readonly firstWrite: string | null
  /** Whether the drill took back what it broke; the words say why it did not where it should have. */
  readonly back: 'put-back' | { readonly not: string } | null
}

/**
 * Has the cluster recovered under the one ID that recoveries have, and looks meanwhile when a write first goes through.
 * A recovery that mended nothing leaves the drill's broken log where it is: then what was broken is put back.
 *
 * @throws RequorumError `undo-incomplete`, `cancelled`
 */
export async function recoverAndWatch(
  run: Run,
  config: ClusterConfig,
  plan: DrillPlan,
  owner: string,
): Promise<Rehearsed> {
  const watch = new CancellationScope()
  let seen: Promise<string | null> = Promise.resolve(null)
  try {
    const verdict = await run.step(
      `Recover with ${plan.runbook}, as ${recoveryWorkflowId(config.cluster)}`,
      async () => {
        const recovery = await startRecovery(plan)
        seen = watch.run(() => firstWrite(plan)).catch(() => null)
        return recovery.result()
      },
      ({ outcome }) => outcome,
    )
    const { outcome } = verdict
    const endedAt = utcNow()
    if (outcome === 'refused' || outcome === 'timed-out') {
      watch.cancel()
      const back = await putBackUnlessMended(run, config, plan, owner)
      return { verdict, outcome, why: 'nobody consented to it', endedAt, firstWrite: null, back }
    }
    const written = await Promise.race([seen, sleep(WITHOUT_WRITE)])
    return { verdict, outcome, why: '', endedAt, firstWrite: written ?? null, back: null }
  } catch (error) {
    watch.cancel()
    const back = await putBackUnlessMended(run, config, plan, owner)
    const { code, message } = causeOf(error)
    const why = message.split('\n').join(' ')
    if (isCancellation(error)) throw cancelled(plan, back)
    return { verdict: null, outcome: code, why, endedAt: utcNow(), firstWrite: null, back }
  } finally {
    watch.cancel()
  }
}

async function startRecovery(
  plan: DrillPlan,
): Promise<{ readonly result: () => Promise<RestoreVerdict | ReplaceVerdict> }> {
  const request = { cluster: plan.cluster }
  const options = {
    workflowId: recoveryWorkflowId(plan.cluster),
    // A drill that is terminated must not take a recovery with it.
    parentClosePolicy: ParentClosePolicy.ABANDON,
    staticSummary: `Recovery of ${plan.cluster}, broken by the drill ${plan.recovery}`,
  }
  try {
    return plan.runbook === 'restoreQuorum'
      ? await startChild<typeof restoreQuorum>('restoreQuorum', { ...options, args: [request] })
      : await startChild<typeof replaceMember>('replaceMember', { ...options, args: [request] })
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'WorkflowExecutionAlreadyStartedError') throw error
    throw new RequorumError('recovery-running', {
      what: `Another recovery of ${plan.cluster} runs already; there is never more than one.`,
      todo: `See it with \`requorum status ${plan.cluster}\`.`,
    })
  }
}

/** By the engine's clock, as the moment of breaking: a worker's may differ from it. */
async function firstWrite(plan: DrillPlan): Promise<string> {
  for (;;) {
    if ((await vigil.awaitFirstWrite(plan.cluster, plan.recovery, LOOK_MS)) !== null) return utcNow()
    await sleep('1s')
  }
}

/** Under the lock: nobody else's recovery may be at work. What can't be told, or is held by others, is left as it is. */
function putBackUnlessMended(
  run: Run,
  config: ClusterConfig,
  plan: DrillPlan,
  owner: string,
): Promise<'put-back' | { readonly not: string }> {
  return CancellationScope.nonCancellable(async () => {
    try {
      return await holdingNodes(run, config, owner, async () => {
        const mended = await run.step(
          'Is it still as the drill broke it?',
          () => mendedNodes(plan),
          (nodes) => (nodes.length === 0 ? 'yes' : `not ${nodes.join(', ')}`),
        )
        if (mended.length > 0) {
          return { not: `on ${mended.join(', ')} there is something else than what the drill put there` }
        }
        await putBack(run, plan)
        return 'put-back' as const
      })
    } catch (error) {
      const { code, message } = causeOf(error)
      if (code === 'undo-incomplete') throw error
      return { not: message.split('\n').join(' ') }
    }
  })
}

async function mendedNodes(plan: DrillPlan): Promise<string[]> {
  const broken = await Promise.all(
    plan.nodes.map((node) => look.holdsBrokenLog({ cluster: plan.cluster, node }, dataDirOf(plan, node))),
  )
  return plan.nodes.filter((_node, at) => broken[at] !== true)
}

function cancelled(plan: DrillPlan, back: 'put-back' | { readonly not: string }): RequorumError {
  return new RequorumError('cancelled', {
    what:
      back === 'put-back'
        ? `The drill of ${plan.cluster} was cancelled. What it broke was put back.`
        : `The drill of ${plan.cluster} was cancelled. What it broke was not put back.`,
    ...(back === 'put-back' ? {} : { why: back.not }),
    todo:
      back === 'put-back'
        ? 'Nothing.'
        : `Look first: requorum status ${plan.cluster}, requorum diagnose ${plan.cluster}`,
  })
}
