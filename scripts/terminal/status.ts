import { humanBytes } from '../../domain/progress.ts'
import type { ClusterStatus, Learned, RecoveryStatus, RunStatus } from '../commands/cluster-status.ts'
import type { KnownRun } from '../commands/runs.ts'
import type { ScheduleView } from '../commands/schedule-view.ts'
import { failureLine, failureText } from './failure.ts'
import { checkLines, decisionLine, stepLines } from './progress.ts'
import { recoveryVerdictText } from './recovery-verdict.ts'
import { facts, indented } from './table.ts'
import { utcWithAge } from './times.ts'
import { waitingLine, waitingText } from './waiting.ts'

/** Of decisions that changed nothing the newest tell enough. */
const MOST_DECLINED = 5

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
          ? [['fence', runText(cluster, status.fence, now, whole)] as const]
          : []),
        ...('known' in drill && drill.known !== null
          ? [['drill', runText(cluster, drill.known, now, whole)] as const]
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
    ...(whole && 'known' in recovery ? progressLines(recovery.known, now) : []),
    ...(whole && 'known' in recovery ? reportLines(recovery.known, now) : []),
    ...(whole && 'known' in drill && drill.known !== null ? progressLines(drill.known, now) : []),
  ]
}

function said<Value>(learned: Learned<Value>, text: (value: Value) => string): string {
  return 'known' in learned ? text(learned.known) : `unknown: ${learned.unknown.what}`
}

function recoveryText(cluster: string, status: RecoveryStatus, now: Date, whole: boolean): string {
  const { run, verdict, failure, before } = status
  if (run.state !== 'ended') return runText(cluster, status, now, whole)
  const how = verdict?.outcome ?? run.status.toLowerCase().replaceAll('_', ' ')
  const adopt = `\nif it had begun, \`requorum adopt ${cluster}\` goes on from the journals on the nodes`
  return [
    `none running; the last one ended as "${how}"${endedAt(run, now)}`,
    // What ended it from outside left it no time to say how far it was.
    run.status === 'TERMINATED' || run.status === 'TIMED_OUT' ? adopt : '',
    failure === null || whole ? '' : `\n${failureLine(failure)}`,
    before === null ? '' : `\nbefore it, one ended as "${before.verdict.outcome}"${endedAt(before.run, now)}`,
  ].join('')
}

function runText(cluster: string, { run, progress, silence }: RunStatus, now: Date, whole: boolean): string {
  if (run.state === 'absent') return 'none'
  const since = `${run.workflowId}, started ${utcWithAge(run.startedAt, now)}`
  if (progress === null) return `${since}\ntells nothing: ${silence ?? 'no reason known'}`
  if (progress.waiting !== null) {
    const read = whole ? '' : `\nread its plan with \`requorum status ${cluster}\``
    return `${since}\n${waitingLine(progress.waiting, now)}${read}`
  }
  const step = progress.steps.findLast((one) => one.state === 'running')
  return `${since}\n${step === undefined ? 'begins' : `at "${step.title}"`}`
}

function endedAt({ endedAt: at }: KnownRun, now: Date): string {
  return at === null ? '' : ` ${utcWithAge(at, now)}`
}

/** The last recovery whole: why it failed, and the report of the last that did not. */
function reportLines({ failure, verdict, before }: RecoveryStatus, now: Date): string[] {
  const report = verdict ?? before?.verdict
  return [
    ...(failure === null ? [] : ['', '  Why it ended', indented(failureText(failure, false), '    ')]),
    ...(report === undefined ? [] : ['', '  Report', indented(recoveryVerdictText(report, now), '    ')]),
  ]
}

function progressLines({ progress }: RunStatus, now: Date): string[] {
  if (progress === null) return []
  const declined = progress.decisions.filter(({ counted }) => !counted)
  return [
    ...(progress.steps.length === 0
      ? []
      : ['', '  Steps', ...stepLines(progress.steps, now).map((line) => `    ${line}`)]),
    ...(progress.checks.length === 0
      ? []
      : ['', '  Checks', indented(checkLines(progress.checks).join('\n'), '    ')]),
    ...(declined.length === 0
      ? []
      : [
          '',
          '  Decisions that changed nothing',
          ...declined.slice(-MOST_DECLINED).map((one) => `    ${decisionLine(one)}`),
        ]),
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
  if (last === undefined) return state
  const why = last.why === null ? '' : `\n${last.why}`
  return `${state}\nlast ${utcWithAge(last.takenAt, now)}: ${last.status}${why}`
}
