import { humanSeconds, type Progress, type WaitingCheckpoint } from '../../domain/progress.ts'
import { indented } from './table.ts'
import { age, utc } from './times.ts'

/** What a person has to read before deciding, and the words to decide with. */
export function waitingText(progress: Progress, waiting: WaitingCheckpoint, now: Date): string {
  const checkpoint = waiting.name
  return [
    `⏸ ${progress.workflowId} waits for a person: ${checkpoint}, plan ${waiting.plan}`,
    `  ${approvals(waiting)}, until ${utc(waiting.until)} (${age(waiting.until, now)})`,
    '',
    indented(waiting.shows.trimEnd()),
    '',
    '  To approve:',
    indented(waiting.approve, '    '),
    ...(waiting.others ?? []).flatMap(({ does, approve }) => [`  Or, ${does}:`, indented(approve, '    ')]),
    '  To refuse:',
    indented(waiting.refuse, '    '),
  ].join('\n')
}

/** The same in one line. */
export function waitingLine(waiting: WaitingCheckpoint, now: Date): string {
  const left = (Date.parse(waiting.until) - now.getTime()) / 1_000
  return `waits for a person at "${waiting.name}", plan ${waiting.plan}, ${approvals(waiting)}, ${humanSeconds(left)} left`
}

export function approvals(waiting: WaitingCheckpoint): string {
  const by = waiting.approvedBy.length === 0 ? '' : ` (${waiting.approvedBy.join(', ')})`
  return `${waiting.approvedBy.length} of ${waiting.people} ${waiting.people === 1 ? 'approval' : 'approvals'}${by}`
}
