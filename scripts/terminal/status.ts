import { humanBytes } from '../../domain/progress.ts'
import type { ClusterStatus, Learned, RecoveryStatus } from '../commands/cluster-status.ts'
import type { ScheduleView } from '../commands/schedule-view.ts'
import { checkLines, stepLines } from './progress.ts'
import { facts, indented } from './table.ts'
import { utcWithAge } from './times.ts'
import { waitingLine, waitingText } from './waiting.ts'

/** One cluster's block; with `whole` also the steps of its recovery and the plan that waits. */
export function clusterLines(status: ClusterStatus, now: Date, whole: boolean): string[] {
  const { cluster, config, recovery, drill, schedule, snapshot, warnings } = status
  if ('unknown' in config) return [cluster, `  ${config.unknown.what}`]
  const nodes = config.known.nodes.map(({ name }) => name)
  return [
    `${cluster}  (${nodes.length} ${nodes.length === 1 ? 'node' : 'nodes'}: ${nodes.join(', ')})`,
    ...facts(
      [
        ['recovery', said(recovery, (known) => recoveryText(cluster, known, now, whole))],
        ...(status.fence?.run.state === 'running'
          ? [['fence', recoveryText(cluster, status.fence, now, whole)] as const]
          : []),
        ...('known' in drill && drill.known !== null
          ? [['drill', recoveryText(cluster, drill.known, now, whole)] as const]
          : []),
        ['backup', said(schedule, (known) => known?.running.join('\n') || 'none running')],
        ['schedule', said(schedule, (known) => scheduleText(known, now))],
        [
          'snapshot',
          said(snapshot, (known) =>
            known === null
              ? 'none'
              : `${known.key}\nrevision ${known.revision}, ${humanBytes(known.sizeBytes)}, taken ${utcWithAge(known.takenAt, now)}`,
          ),
        ],
        ...warnings.map((warning) => ['WARNING', warning] as const),
      ],
      '  ',
    ),
    ...(whole && 'known' in recovery ? recoveryDetails(recovery.known, now) : []),
    ...(whole && 'known' in drill && drill.known !== null ? recoveryDetails(drill.known, now) : []),
  ]
}

function said<Value>(learned: Learned<Value>, text: (value: Value) => string): string {
  return 'known' in learned ? text(learned.known) : `unknown: ${learned.unknown.what}`
}

function recoveryText(
  cluster: string,
  { run, progress, silence, verdict }: RecoveryStatus,
  now: Date,
  whole: boolean,
): string {
  if (run.state === 'absent') return 'none'
  if (run.state === 'ended') {
    const how = verdict?.outcome ?? run.status.toLowerCase().replaceAll('_', ' ')
    const ended = run.endedAt === null ? '' : ` ${utcWithAge(run.endedAt, now)}`
    const unclean = run.status === 'TERMINATED' || run.status === 'CANCELLED' || run.status === 'FAILED'
    return `none running; the last one ended as "${how}"${ended}${unclean ? '\nsee the journals on the nodes: /var/lib/requorum/recoveries' : ''}`
  }
  const since = `${run.workflowId}, started ${utcWithAge(run.startedAt, now)}`
  if (progress === null) return `${since}\ntells nothing: ${silence ?? 'no reason known'}`
  if (progress.waiting !== null) {
    const read = whole ? '' : `\nread its plan with \`requorum status ${cluster}\``
    return `${since}\n${waitingLine(progress.waiting, now)}${read}`
  }
  const step = progress.steps.findLast((one) => one.state === 'running')
  return `${since}\n${step === undefined ? 'begins' : `at "${step.title}"`}`
}

function recoveryDetails({ progress }: RecoveryStatus, now: Date): string[] {
  if (progress === null) return []
  return [
    ...(progress.steps.length === 0
      ? []
      : ['', '  Steps', ...stepLines(progress.steps, now).map((line) => `    ${line}`)]),
    ...(progress.checks.length === 0
      ? []
      : ['', '  Checks', indented(checkLines(progress.checks).join('\n'), '    ')]),
    ...(progress.waiting === null ? [] : ['', waitingText(progress, progress.waiting, now)]),
  ]
}

function scheduleText(schedule: ScheduleView | null, now: Date): string {
  if (schedule === null) return 'none'
  const [last] = schedule.recent
  const [next] = schedule.next
  const state = schedule.paused
    ? `PAUSED${schedule.note === null ? '' : `: ${schedule.note}`}`
    : next === undefined
      ? 'on, nothing to come'
      : `next ${utcWithAge(next, now)}`
  return last === undefined ? state : `${state}\nlast ${utcWithAge(last.takenAt, now)}: ${last.status}`
}
