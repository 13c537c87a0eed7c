import { humanSeconds } from '../../domain/progress.ts'
import { tally, type MadeCheck, type ValidationVerdict } from '../../domain/validation/verdict.ts'
import { VERDICTS } from './progress.ts'
import { table } from './table.ts'

const OUTCOMES: Readonly<Record<ValidationVerdict['outcome'], string>> = {
  healthy: 'HEALTHY',
  warnings: 'WARNINGS',
  unhealthy: 'UNHEALTHY',
}

/** The checks as a table, and the verdict as the last line, where eyes and scripts look. */
export function validationVerdictText(verdict: ValidationVerdict): string {
  return [
    ...table(
      ['VERDICT', 'CHECK', { head: 'TOOK', right: true }, 'WHAT IT SAW'],
      verdict.checks.map((one) => [VERDICTS[one.verdict], one.name, took(one), one.evidence]),
    ),
    '',
    `${OUTCOMES[verdict.outcome]}: ${verdict.cluster}, ${tally(verdict.checks)}${
      verdict.against === null ? '' : `; held against ${verdict.against}`
    }.`,
  ].join('\n')
}

function took({ verdict, seconds }: MadeCheck): string {
  if (verdict === 'skipped') return '-'
  return seconds < 10 ? `${seconds.toFixed(1)} s` : humanSeconds(seconds)
}
