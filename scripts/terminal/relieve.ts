import type { ReliefVerdict } from '../../domain/relief-verdict.ts'
import { humanBytes, humanSeconds } from '../../domain/progress.ts'
import { checkLines } from './progress.ts'
import { NOTHING_CHANGED } from './declined.ts'
import { facts, indented, table } from './table.ts'
import { warningLines } from './verdict.ts'

/** The report of a run that made room. The verdict is its last line, where eyes and scripts look. */
export function reliefVerdictText(verdict: ReliefVerdict): string {
  const { copy, members, steps, checks } = verdict
  const main: [string, string][] = [
    ['recovery', verdict.recovery],
    ...verdict.approvals.map((one): [string, string] => [
      'approved',
      `${one.checkpoint} (plan ${one.plan}) by ${one.by.join(', ')}`,
    ]),
    ...(copy === null
      ? []
      : [
          ['compacted', `to revision ${copy.revision}`] satisfies [string, string],
          [
            'copy',
            `${copy.node}:${copy.path}, ${humanBytes(copy.sizeBytes)}; kept until \`requorum cleanup\``,
          ] satisfies [string, string],
          ['alarms', verdict.disarmed.join(', ') || 'none stood'] satisfies [string, string],
          ['new backup', verdict.freshBackup ?? 'none'] satisfies [string, string],
        ]),
  ]
  const timed = steps.map((step): [string, string] => [
    step.title,
    `${humanSeconds(step.seconds)}${step.outcome === 'done' ? '' : `  ${step.outcome}`}`,
  ])
  return [
    ...facts(main),
    ...(members.length === 0 ? [] : ['', ...memberLines(members)]),
    ...(timed.length === 0 ? [] : ['', 'Steps', ...facts(timed, '  ')]),
    ...(checks.length === 0 ? [] : ['', 'Checks', indented(checkLines(checks).join('\n'))]),
    ...warningLines(verdict.warnings),
    '',
    outcomeLine(verdict),
  ].join('\n')
}

function memberLines(members: ReliefVerdict['members']): string[] {
  const right = (head: string) => ({ head, right: true }) as const
  return table(
    ['MEMBER', right('BEFORE'), right('AFTER'), right('GIVEN BACK'), right('OF QUOTA')],
    members.map(({ node, beforeBytes, afterBytes, gainedBytes, quotaBytes }) => [
      node,
      humanBytes(beforeBytes),
      humanBytes(afterBytes),
      gainedBytes < 0 ? `-${humanBytes(-gainedBytes)}` : humanBytes(gainedBytes),
      quotaBytes === null ? 'none' : `${Math.round((100 * afterBytes) / quotaBytes)} %`,
    ]),
  )
}

function outcomeLine({ outcome, cluster, members }: ReliefVerdict): string {
  const gained = members.reduce((sum, { gainedBytes }) => sum + gainedBytes, 0)
  switch (outcome) {
    case 'freed':
      return `FREED: ${members.length} members of ${cluster} gave back ${humanBytes(Math.max(0, gained))}; no alarm stands, and a write went through each.`
    case 'still-full':
      return `STILL FULL: ${cluster} refuses writes all the same. Its content is too big for the quota: find what fills it, or raise --quota-backend-bytes in every etcd manifest (8 GiB at most).`
    case 'unhealthy':
      return `UNHEALTHY: all was done, and ${cluster} is not well. See which check failed, and \`requorum diagnose ${cluster}\`.`
    case 'refused':
    case 'timed-out':
      return NOTHING_CHANGED[outcome]({ cluster })
  }
}
