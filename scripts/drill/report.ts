import { humanSeconds, secondsBetween } from '../../domain/progress.ts'
import type { RestoreVerdict } from '../../domain/verdict.ts'
import type { Destruction } from '../../lab/hosts/destroy-quorum.ts'

/** What the drill claims, whether it holds, and what it saw. */
export type DrillFindings = readonly {
  readonly claim: string
  readonly holds: boolean
  readonly saw: string
}[]

/** The short report of a drill, in Markdown that reads well in a terminal. */
export function drillReport(
  cluster: string,
  destruction: Destruction,
  verdict: RestoreVerdict,
  findings: DrillFindings,
): string {
  const lastWrite = destruction.load.acknowledged.at(-1)
  const lostRevisions =
    lastWrite === undefined || verdict.candidate === null
      ? null
      : lastWrite.revision - BigInt(verdict.candidate.revision)
  const lostSeconds =
    verdict.candidate === null
      ? null
      : secondsBetween(verdict.candidate.takenAt, destruction.at.toISOString())
  return [
    `# Drill of ${cluster}: ${findings.every((finding) => finding.holds) ? 'passed' : 'failed'}`,
    '',
    `Destroyed ${destruction.at.toISOString()}: data of ${destruction.wiped.join(', ')} gone, database and log of ${destruction.damaged} damaged under load.`,
    `Restored from ${verdict.candidate?.key ?? 'nothing'} (revision ${verdict.candidate?.revision ?? '?'}).`,
    `Lost: ${lostRevisions ?? '?'} revisions, ${lostSeconds === null ? '?' : humanSeconds(lostSeconds)} of writes.`,
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
