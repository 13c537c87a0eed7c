import type { Check } from '../verdict.ts'
import { counted, type Finding } from './finding.ts'

/** A check with what it took and what it might have taken, in seconds. */
export interface MadeCheck extends Check {
  readonly seconds: number
  readonly limitSeconds: number
}

export type ValidationOutcome =
  /** At least one check passed and none was worse. */
  | 'healthy'
  /** Something that a person should look at, or nothing was looked at at all. */
  | 'warnings'
  /** A check failed, or could not be made. */
  | 'unhealthy'

export interface ValidationVerdict {
  readonly outcome: ValidationOutcome
  readonly cluster: string
  /** The snapshot whose inventory the counts were held against; null when there was none. */
  readonly against: string | null
  readonly checks: readonly MadeCheck[]
}

/** Evidence is for people, and is kept in histories: more than this says nothing more. */
const MOST_EVIDENCE = 1_500

export function madeCheck(name: string, found: Finding, seconds: number, limitMs: number): MadeCheck {
  const evidence = found.evidence.replaceAll(/\s*\n\s*/g, ' ')
  return {
    name,
    verdict: found.verdict,
    evidence: evidence.length > MOST_EVIDENCE ? `${evidence.slice(0, MOST_EVIDENCE)}…` : evidence,
    seconds: Math.round(seconds * 10) / 10,
    limitSeconds: limitMs / 1_000,
  }
}

export function outcomeOf(checks: readonly Check[]): ValidationOutcome {
  const has = (verdict: Check['verdict']): boolean => checks.some((one) => one.verdict === verdict)
  if (has('fail')) return 'unhealthy'
  // Where everything was skipped nothing is known, and that is no health.
  return has('warn') || !has('pass') ? 'warnings' : 'healthy'
}

/** `12 passed, 1 failed, 1 skipped` */
export function tally(checks: readonly Check[]): string {
  const count = (verdict: Check['verdict']): number => checks.filter((one) => one.verdict === verdict).length
  const said: [number, string][] = [
    [count('pass'), 'passed'],
    [count('fail'), 'failed'],
    [count('skipped'), 'skipped'],
  ]
  const warnings = count('warn')
  return [
    ...said.filter(([number]) => number > 0).map(([number, word]) => `${number} ${word}`),
    ...(warnings > 0 ? [counted(warnings, 'warning')] : []),
  ].join(', ')
}
