import { oneLine, type DecisionRecord } from '../../domain/consent.ts'
import { humanSeconds, secondsBetween, type Progress, type StepProgress } from '../../domain/progress.ts'
import type { Check } from '../../domain/verdict.ts'
import { table } from './table.ts'

const MARKS = { running: '▶', done: '✓', failed: '✗' } as const
export const VERDICTS = { pass: 'pass', warn: 'WARN', fail: 'FAIL', skipped: 'skipped' } as const

/** One line per step, as a list of what is done. */
export function stepLines(steps: readonly StepProgress[], now: Date): string[] {
  return steps.map((step) => stepLine(step, step.endedAt ?? now.toISOString()))
}

/** What is new since the last look, one line per change, each with its time of day in UTC. */
export function changesSince(before: Progress | null, now: Progress): string[] {
  const lines: { at: string; text: string }[] = []
  now.steps.forEach((step, index) => {
    const was = before?.steps[index]
    if (was?.state === step.state && was.note === step.note) return
    const at = step.endedAt ?? step.startedAt
    lines.push({ at, text: stepLine(step, step.endedAt) })
  })
  const fresh = now.decisionsSeen - (before?.decisionsSeen ?? 0)
  for (const decision of fresh > 0 ? now.decisions.slice(-fresh) : [])
    lines.push({ at: decision.at, text: decisionText(decision) })
  return lines
    .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))
    .map(({ at, text }) => `${clock(at)}  ${text}`)
}

export function decisionLine(decision: DecisionRecord): string {
  return `${clock(decision.at)}  ${decisionText(decision)}`
}

function decisionText({ counted, because, sent }: DecisionRecord): string {
  const what = oneLine(sent).slice(0, 160)
  return counted
    ? `● decision counted: ${what}`
    : `○ a decision changed nothing: ${because ?? 'no reason given'}: ${what}`
}

export function checkLines(checks: readonly Check[]): string[] {
  return checks.length === 0
    ? []
    : table(
        ['VERDICT', 'CHECK', 'WHAT IT SAW'],
        checks.map((one) => [VERDICTS[one.verdict], one.name, one.evidence.replaceAll('\n', ' ')]),
      )
}

function stepLine(step: StepProgress, until: string | null): string {
  const took = until === null ? '' : ` (${humanSeconds(secondsBetween(step.startedAt, until))})`
  return `${MARKS[step.state]} ${step.title}${took}${step.note === null ? '' : `: ${step.note}`}`
}

function clock(time: string): string {
  return `${time.slice(11, 19)}Z`
}
