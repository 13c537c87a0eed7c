import type { CalendarSpec } from '@temporalio/client'
import { duration, type ClusterConfig } from '../../domain/cluster-config.ts'
import { drillScheduleId, drillWorkflowId, type DrillRequest } from '../../domain/messages.ts'
import type { WantedSchedule } from './schedule-settings.ts'

/** A drill that was missed is not made up for the day after: nobody waits for it then. */
const CATCHUP_MS = 4 * 3_600_000

/**
 * When drills are held by themselves, as the cluster's file says; null where it allows none, or none by themselves.
 * A drill that begins still waits for people, so it begins when they are there.
 */
export function drillSchedule({ cluster, drill, taskQueue }: ClusterConfig): WantedSchedule | null {
  if (!drill.allowed || drill.schedule === 'never') return null
  const request: DrillRequest = { cluster }
  return {
    scheduleId: drillScheduleId(cluster),
    spec: specOf(drill.schedule),
    policies: { overlap: 'SKIP', catchupWindow: CATCHUP_MS },
    action: {
      type: 'startWorkflow',
      workflowType: 'drill',
      workflowId: drillWorkflowId(cluster),
      taskQueue,
      args: [request],
    },
  }
}

function specOf(schedule: string): WantedSchedule['spec'] {
  switch (schedule) {
    case 'quarterly':
      return {
        calendars: [
          {
            ...FIRST_TUESDAY,
            month: ['JANUARY', 'APRIL', 'JULY', 'OCTOBER'],
            comment: 'first Tuesday of January, April, July and October, 09:00 UTC',
          },
        ],
      }
    case 'monthly':
      return { calendars: [{ ...FIRST_TUESDAY, comment: 'first Tuesday of the month, 09:00 UTC' }] }
    default:
      return { intervals: [{ every: duration.parse(schedule) }] }
  }
}

/** Day of month and day of week both have to match. */
const FIRST_TUESDAY: CalendarSpec = {
  hour: 9,
  dayOfMonth: { start: 1, end: 7 },
  dayOfWeek: 'TUESDAY',
}
