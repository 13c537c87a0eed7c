import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { lossChecks, measureLoss, timeToEnd, timeToWrite } from '../../domain/drill-measure.ts'
import type { DrillPlan } from '../../domain/drill-plan.ts'
import { judgeTargets, recoveredOutcome, whatToDo, type DrillVerdict } from '../../domain/drill-verdict.ts'
import { setAsideOf } from '../../domain/plan-step.ts'
import { approvalOf, type Consent } from './checkpoint.ts'
import type { Broken } from './drill.ts'
import { change } from './hands.ts'
import type { Rehearsed } from './rehearsal.ts'
import type { Run } from './run.ts'

/** The verdict of a drill to which nobody consented. */
export function nothingBroken(
  run: Run,
  plan: DrillPlan,
  consent: Exclude<Consent, { outcome: 'approved' }>,
): DrillVerdict {
  return { ...verdictOf(run, plan), outcome: consent.outcome }
}

/** Holds what is there now against what was written, and judges. */
export async function measure(
  run: Run,
  config: ClusterConfig,
  plan: DrillPlan,
  consent: Consent,
  broken: Broken,
  rehearsed: Rehearsed,
): Promise<DrillVerdict> {
  const { verdict, outcome, why, back } = rehearsed
  const known = {
    ...verdictOf(run, plan),
    backup: broken.backup,
    brokenAt: broken.brokenAt,
    recovered: { recovery: verdict?.recovery ?? null, outcome, why },
    approvals: [approvalOf('drill', consent), ...(verdict?.approvals ?? [])],
  }
  if (back !== null) {
    const putBack = back === 'put-back'
    return {
      ...known,
      steps: run.timings(),
      outcome: putBack ? 'put-back' : 'unwell',
      todo: putBack ? null : whatToDo(config.cluster, plan, outcome),
      setAside: putBack ? [] : setAsideOf(plan.setAside),
      warnings: [...run.warnings(), ...(putBack ? [] : [`what was broken was not put back: ${back.not}`])],
    }
  }
  const there = await run.step(
    'Find the markers again',
    () => change.findMarkers(config.cluster, plan.recovery),
    (keys) => `${keys.length} there`,
  )
  const steps = verdict?.steps ?? []
  const rpo = measureLoss([...broken.before, ...broken.written], there, broken.brokenAt)
  const rto = timeToWrite(broken.brokenAt, rehearsed.firstWrite, steps, plan.runbook)
  const targets = judgeTargets(config, rpo, rto)
  const checks = [
    ...lossChecks(plan.runbook, broken.before, broken.written, there),
    ...(verdict?.checks ?? []),
  ]
  const mended = outcome === 'restored' || outcome === 'replaced'
  return {
    ...known,
    outcome: mended ? recoveredOutcome(targets, checks) : 'unwell',
    rpo,
    rto,
    whole: timeToEnd(broken.brokenAt, rehearsed.endedAt, steps),
    targets,
    todo: mended ? null : whatToDo(config.cluster, plan, outcome),
    steps: run.timings(),
    checks,
    setAside: [...setAsideOf(plan.setAside), ...(verdict?.setAside ?? [])],
    warnings: [...run.warnings(), ...(verdict?.warnings ?? [])],
  }
}

function verdictOf(run: Run, plan: DrillPlan): Omit<DrillVerdict, 'outcome'> {
  return {
    runbook: 'drill',
    cluster: plan.cluster,
    recovery: plan.recovery,
    rehearsed: plan.runbook,
    fault: plan.fault,
    nodes: plan.nodes,
    backup: null,
    brokenAt: null,
    rpo: null,
    rto: null,
    whole: null,
    targets: [],
    recovered: null,
    todo: null,
    steps: run.timings(),
    checks: [],
    approvals: [],
    setAside: [],
    warnings: run.warnings(),
  }
}
