import type { ClusterConfig } from './cluster-config.ts'
import type { DrillFault, DrillRunbook } from './drill-faults.ts'
import type { MeasuredLoss, MeasuredTime } from './drill-measure.ts'
import { journalPath } from './node-paths.ts'
import { failedChecks, type Check, type RestoreVerdict } from './verdict.ts'

/** How a drill ended. */
export type DrillOutcome =
  /** Broken, recovered, and within its targets. */
  | 'passed'
  /** Recovered, and a target was missed or a check failed. */
  | 'missed'
  /** The recovery mended nothing, most often because nobody consented to it; what was broken was put back. */
  | 'put-back'
  /** The recovery left something that a person has to look at: `todo` says what. */
  | 'unwell'
  /** Nothing was broken: consent to the drill was refused, */
  | 'refused'
  /** or it did not come in time. */
  | 'timed-out'

export interface DrillVerdict {
  readonly runbook: 'drill'
  readonly outcome: DrillOutcome
  readonly cluster: string
  /** Names its directories on the nodes, as a recovery's does. */
  readonly recovery: string
  /** The runbook that was rehearsed. */
  readonly rehearsed: DrillRunbook
  readonly fault: DrillFault
  readonly nodes: readonly string[]
  /** The backup that was taken just before. */
  readonly backup: string | null
  readonly brokenAt: string | null
  readonly rpo: MeasuredLoss | null
  /** To the first acknowledged write. */
  readonly rto: MeasuredTime | null
  /** To the end of the recovery. */
  readonly whole: MeasuredTime | null
  readonly targets: readonly Target[]
  /** How the recovery ended: its verdict's outcome, or the code and words of its failure. */
  readonly recovered: {
    readonly recovery: string | null
    readonly outcome: string
    readonly why: string
  } | null
  /** What a person has to do now; null when nothing is left to do. */
  readonly todo: string | null
  readonly steps: RestoreVerdict['steps']
  readonly checks: readonly Check[]
  readonly approvals: RestoreVerdict['approvals']
  readonly setAside: RestoreVerdict['setAside']
  readonly warnings: readonly string[]
}

export interface Target {
  readonly name: 'rpo' | 'rto'
  readonly limitSeconds: number
  /** Null when it could not be measured, which is not met. */
  readonly seconds: number | null
  readonly met: boolean
}

/** The targets that the cluster file sets, against what was measured. */
export function judgeTargets(
  { drill: { targets } }: ClusterConfig,
  rpo: MeasuredLoss | null,
  rto: MeasuredTime | null,
): Target[] {
  const judged = (name: Target['name'], limitMs: number | undefined, seconds: number | null): Target[] => {
    if (limitMs === undefined) return []
    const limitSeconds = limitMs / 1_000
    return [{ name, limitSeconds, seconds, met: seconds !== null && seconds <= limitSeconds }]
  }
  return [
    ...judged('rpo', targets.rpo, rpo?.seconds ?? null),
    ...judged('rto', targets.rto, rto?.withoutWaiting ?? null),
  ]
}

/** Of a recovery that mended the cluster. */
export function recoveredOutcome(
  targets: readonly Target[],
  checks: readonly Check[],
): Extract<DrillOutcome, 'passed' | 'missed'> {
  return targets.every(({ met }) => met) && failedChecks(checks).length === 0 ? 'passed' : 'missed'
}

/** What a person does about a recovery that ended neither well nor without an effect. */
export function whatToDo(
  cluster: string,
  plan: { readonly recovery: string; readonly nodes: readonly string[] },
  outcome: string,
): string {
  switch (outcome) {
    case 'unaccepted':
      return `${cluster} is restored and open, and nobody accepted it. Look at the checks of the recovery: requorum status ${cluster}, requorum validate ${cluster}`
    case 'unfinished':
      return `The old member of ${plan.nodes.join(', ')} is removed and the new one has no vote yet. Finish it: requorum diagnose ${cluster}, requorum replace ${cluster} ${plan.nodes.join(' ')}`
    default:
      return `Look first: requorum status ${cluster}, requorum diagnose ${cluster}. The recovery's journal is in ${journalPath('<recovery>')} on each node; the drill's own, ${journalPath(plan.recovery)}, says how to put back what it broke. Nothing was deleted.`
  }
}
