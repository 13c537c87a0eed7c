import type { MeasuredTime } from '../../domain/drill-measure.ts'
import type { DrillVerdict } from '../../domain/drill-verdict.ts'
import { humanSeconds } from '../../domain/progress.ts'
import { NOTHING_CHANGED } from './declined.ts'
import { facts, table } from './table.ts'
import { approved, lines, stepsAndChecks, warningLines } from './verdict.ts'

const OUTCOMES: Readonly<Record<DrillVerdict['outcome'], (verdict: DrillVerdict) => string>> = {
  passed: ({ cluster, rehearsed }) =>
    `PASSED: ${cluster} was broken on purpose and recovered by ${rehearsed}.`,
  missed: ({ cluster }) => `MISSED: ${cluster} is recovered, and not as its targets or checks ask.`,
  'put-back': ({ cluster, recovered }) =>
    `PUT BACK: the recovery ended as "${recovered?.outcome ?? 'unknown'}" and mended nothing. ${cluster} is as it was before.`,
  unwell: ({ cluster, recovered }) =>
    `UNWELL: the recovery of ${cluster} ended as "${recovered?.outcome ?? 'unknown'}". A person has to look at it now.`,
  ...NOTHING_CHANGED,
}

/** The report of a drill. The verdict is its last line. */
export function drillVerdictText(verdict: DrillVerdict): string {
  const { recovered, rpo, todo } = verdict
  return [
    ...facts([
      ['drill', verdict.recovery],
      ['rehearsed', verdict.rehearsed],
      ['fault', `${verdict.fault} on ${verdict.nodes.join(', ')}`],
      ...(verdict.brokenAt === null
        ? []
        : [['broken at', verdict.brokenAt] as const, ['backup before', verdict.backup ?? 'none'] as const]),
      ...(recovered === null
        ? []
        : [
            [
              'recovery',
              `${recovered.recovery ?? 'failed'}: ${recovered.outcome}${recovered.why === '' ? '' : `, ${recovered.why}`}`,
            ] as const,
          ]),
      ...approved(verdict.approvals),
      ...lines('set aside', verdict.setAside, ({ node, path }) => `${node}:${path}`),
    ]),
    ...(rpo === null ? [] : ['', ...measured(verdict, rpo)]),
    ...stepsAndChecks(verdict),
    ...warningLines(verdict.warnings),
    ...(todo === null ? [] : ['', `Do:  ${todo}`]),
    '',
    OUTCOMES[verdict.outcome](verdict),
  ].join('\n')
}

function measured({ rto, whole, targets }: DrillVerdict, rpo: NonNullable<DrillVerdict['rpo']>): string[] {
  const target = (name: 'rpo' | 'rto'): string => {
    const found = targets.find((one) => one.name === name)
    if (found === undefined) return ''
    return `${found.met ? 'met' : 'MISSED'}: at most ${humanSeconds(found.limitSeconds)}`
  }
  const apart = (time: MeasuredTime | null): string[] =>
    time === null ? ['not measured', ''] : [humanSeconds(time.seconds), humanSeconds(time.withoutWaiting)]
  return table(
    ['MEASURED', { head: 'IN ALL', right: true }, { head: 'WITHOUT PEOPLE', right: true }, 'TARGET'],
    [
      [
        `lost (RPO): ${rpo.markersLost} of ${rpo.markersWritten} markers, ${rpo.revisions} revisions`,
        humanSeconds(rpo.seconds),
        '',
        target('rpo'),
      ],
      ['to the first write (RTO)', ...apart(rto), target('rto')],
      ['to the end of the recovery', ...apart(whole), ''],
    ],
  )
}
