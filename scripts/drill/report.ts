import type { Check, ReplaceVerdict, RestoreVerdict } from '../../domain/verdict.ts'

/** What the drill claims, whether it holds, and what it saw. */
export interface DrillFinding {
  readonly claim: string
  readonly holds: boolean
  readonly saw: string
}

export type DrillFindings = readonly DrillFinding[]

/** How a drill goes on when it is asked. */
export interface Wishes {
  /** Approve each checkpoint by itself, after reading the plan back. */
  readonly approve: boolean
  /** End the worker in the middle of it, and start another. */
  readonly killWorker: boolean
}

/** What a drill was, and what came of it. */
export interface Drilled {
  readonly title: string
  /** What was done, as the end of `DRILL PASSED: `. */
  readonly sentence: string
  /** What was broken and what it cost, a sentence a line. */
  readonly story: readonly string[]
  readonly findings: DrillFindings
  readonly verdict: RestoreVerdict | ReplaceVerdict
}

/** The short report of a drill, in Markdown that reads well in a terminal. */
export function drillReport(cluster: string, { story, findings, verdict }: Drilled): string {
  return [
    `# Drill of ${cluster}: ${findings.every((finding) => finding.holds) ? 'passed' : 'failed'}`,
    '',
    ...story,
    '',
    '## Is it true?',
    ...findings.map(({ claim, holds, saw }) => `- ${holds ? '✓' : '✗'} ${claim}: ${saw}`),
    '',
    '## Time of each step',
    ...verdict.steps.map(({ title, seconds }) => `- ${seconds.toFixed(1).padStart(7)} s  ${title}`),
    '',
    '## Checks',
    ...verdict.checks.map(
      ({ name, verdict: found, evidence }) => `- ${found.padEnd(7)} ${name}: ${evidence}`,
    ),
    '',
    '## Set aside, not deleted',
    ...verdict.setAside.map(({ node, path }) => `- ${node}: ${path}`),
    ...(verdict.warnings.length === 0
      ? []
      : ['', '## Warnings', ...verdict.warnings.map((warning) => `- ${warning}`)]),
    '',
  ].join('\n')
}

/** The profile etcd has no API servers, and what looks at them says so. */
export function goodChecks(all: readonly Check[]): DrillFinding {
  const checks = all.filter((one) => one.verdict !== 'skipped' || !one.evidence.startsWith('no API server'))
  const bad = checks.filter((one) => one.verdict !== 'pass')
  return {
    claim: 'every check of the validation was made, and passed',
    holds: checks.length > 0 && bad.length === 0,
    saw:
      bad.map((one) => `${one.name} (${one.verdict}): ${one.evidence}`).join('; ') ||
      `${checks.length} checks${checks.length < all.length ? `; ${all.length - checks.length} are of Kubernetes` : ''}`,
  }
}

export function scheduleGoesOn(state: { readonly paused: boolean; readonly note?: string }): DrillFinding {
  return {
    claim: 'the backup schedule goes on',
    holds: !state.paused,
    saw: state.note ?? 'not paused',
  }
}
