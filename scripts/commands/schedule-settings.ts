import type { CalendarSpec, ScheduleDescription } from '@temporalio/client'
import { shortDuration } from '../terminal/times.ts'

/** A schedule that a cluster's file asks for, as the engine takes it. Durations are milliseconds. */
export interface WantedSchedule {
  readonly scheduleId: string
  readonly spec: {
    readonly intervals?: { readonly every: number }[]
    readonly calendars?: CalendarSpec[]
    readonly jitter?: number
  }
  readonly policies: { readonly overlap: 'SKIP'; readonly catchupWindow: number }
  readonly action: {
    readonly type: 'startWorkflow'
    readonly workflowType: string
    readonly workflowId: string
    readonly taskQueue: string
    readonly args: object[]
    readonly retry?: { readonly maximumAttempts: number; readonly initialInterval: number }
    readonly workflowExecutionTimeout?: number
  }
}

/** What people know a schedule by, each as it is shown. Two schedules with equal settings do the same. */
export type ScheduleSettings = Readonly<Record<SettingName, string>>
type SettingName =
  'every' | 'jitter' | 'catch-up' | 'overlap' | 'retries' | 'time limit' | 'starts' | 'task queue'

export function settingsOf({
  spec,
  policies,
  action,
}: Pick<WantedSchedule | ScheduleDescription, 'spec' | 'policies' | 'action'>): ScheduleSettings {
  const rules = [
    ...(spec.intervals ?? []).map((interval) => {
      const offset = milliseconds('offset' in interval ? interval.offset : 0)
      return shortDuration(interval.every) + (offset === 0 ? '' : ` offset by ${shortDuration(offset)}`)
    }),
    ...(spec.calendars ?? []).map((calendar) => calendar.comment ?? 'calendar'),
  ]
  const limit: unknown = action.workflowExecutionTimeout
  return {
    every: rules.length === 0 ? 'never' : rules.join(' and '),
    jitter: shortDuration(milliseconds(spec.jitter)),
    'catch-up': shortDuration(policies.catchupWindow),
    overlap: (policies.overlap ?? 'skip').toLowerCase(),
    retries: String((action.retry?.maximumAttempts ?? 1) - 1),
    'time limit': limit === undefined ? 'none' : shortDuration(milliseconds(limit)),
    starts: startsText(action.workflowType, action.workflowId ?? '', action.args ?? []),
    'task queue': action.taskQueue,
  }
}

export interface SettingChange {
  readonly setting: string
  readonly from: string
  readonly to: string
}

export function changedSettings(from: ScheduleSettings, to: ScheduleSettings): SettingChange[] {
  return Object.entries(to).flatMap(([setting, wanted]) => {
    const found = new Map(Object.entries(from)).get(setting) ?? ''
    return found === wanted ? [] : [{ setting, from: found, to: wanted }]
  })
}

/** Temporal describes durations in milliseconds, and leaves out those that are zero, whatever its types say. */
function milliseconds(duration: unknown): number {
  return typeof duration === 'number' ? duration : 0
}

function startsText(workflowType: string, workflowId: string, args: readonly unknown[]): string {
  return `${workflowType} as ${workflowId}-<time> with ${args.map((one) => JSON.stringify(one)).join(', ')}`
}
