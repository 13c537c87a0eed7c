import type { ScheduleDescription } from '@temporalio/client'
import type { Command } from 'commander'
import { RequorumError } from '../../domain/failures.ts'
import {
  backupScheduleId,
  drillScheduleId,
  freshnessScheduleId,
  rehearseScheduleId,
} from '../../domain/messages.ts'
import type { EngineConnection } from '../../workers/connection.ts'
import { loadCluster } from '../../workers/home.ts'
import { facts, table } from '../terminal/table.ts'
import { utcWithAge } from '../terminal/times.ts'
import { clusterOf, examples, type Act, type Call, type Outcome } from './command.ts'
import type { WantedSchedule } from './schedule-settings.ts'

export function registerSchedule(program: Command, act: Act): void {
  const schedule = program
    .command('schedule')
    .description('when backups are made, rehearsed and looked after, and drills are held, all by themselves')

  const apply = schedule
    .command('apply')
    .description("make the schedules what the cluster's file says; a pause is kept")
    .argument('<cluster>')
  act(examples(apply, ['requorum schedule apply prod']), applySchedule)

  const show = schedule
    .command('show')
    .description('the schedules: next and last runs, and whether they are paused')
    .argument('<cluster>')
  act(examples(show, ['requorum schedule show prod']), showSchedule)
}

async function applySchedule(call: Call): Promise<Outcome> {
  const { backupSchedule } = await import('./backup-schedule.ts')
  const { drillSchedule } = await import('./drill-schedule.ts')
  const { freshnessSchedule } = await import('./freshness-schedule.ts')
  const { rehearseSchedule } = await import('./rehearse-schedule.ts')
  const config = await loadCluster(call.home, clusterOf(call))
  const engine = await call.engine()
  const backups = await applyOne(engine, backupSchedule(config))
  const freshness = await applyOne(engine, freshnessSchedule(config))
  const asWanted = (id: string, wanted: WantedSchedule | null): Promise<Applied | null> =>
    wanted === null ? removeOne(engine, id) : applyOne(engine, wanted)
  const rehearsal = await asWanted(rehearseScheduleId(config.cluster), rehearseSchedule(config))
  const drill = await asWanted(drillScheduleId(config.cluster), drillSchedule(config))
  return {
    exit: 'done',
    text: [backups, freshness, rehearsal, drill]
      .flatMap((one) => (one === null ? [] : [one.text]))
      .join('\n\n'),
    json: {
      ...backups.json,
      freshness: freshness.json,
      rehearsal: rehearsal?.json ?? null,
      drill: drill?.json ?? null,
    },
  }
}

interface Applied {
  readonly text: string
  readonly json: object
}

async function applyOne(engine: EngineConnection, options: WantedSchedule): Promise<Applied> {
  const { ScheduleAlreadyRunning } = await import('@temporalio/client')
  const { changedSettings, settingsOf } = await import('./schedule-settings.ts')
  const { describeSchedule } = await import('./schedule-view.ts')
  const wanted = settingsOf(options)
  const { scheduleId } = options
  const settingLines = facts(Object.entries(wanted), '  ').join('\n')

  try {
    await engine.client.schedule.create(options)
    return {
      text: `Created schedule ${scheduleId}:\n${settingLines}`,
      json: { schedule: scheduleId, created: true, paused: false, changes: [], settings: wanted },
    }
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error
  }

  const found = await describeSchedule(engine, scheduleId)
  if (found === null) throw scheduleGone(scheduleId)
  const changes = changedSettings(settingsOf(found), wanted)
  if (changes.length > 0) {
    // Without the previous state an update unpauses, and a recovery has its reason for the pause.
    await engine.client.schedule.getHandle(scheduleId).update(({ state }) => ({
      spec: options.spec,
      action: options.action,
      policies: options.policies,
      state,
    }))
  }
  const pause = pauseText(found)
  return {
    text: [
      ...(changes.length === 0
        ? [`Schedule ${scheduleId} is already what the file says:`, settingLines]
        : [
            `Changed schedule ${scheduleId}:`,
            ...table(
              ['  SETTING', 'WAS', 'IS'],
              changes.map(({ setting, from, to }) => [`  ${setting}`, from, to]),
            ),
          ]),
      ...(pause === null ? [] : [pause]),
    ].join('\n'),
    json: { schedule: scheduleId, created: false, paused: found.state.paused, changes, settings: wanted },
  }
}

/** What a cluster's file doesn't ask for any more has no schedule. */
async function removeOne(engine: EngineConnection, scheduleId: string): Promise<Applied | null> {
  const { describeSchedule } = await import('./schedule-view.ts')
  if ((await describeSchedule(engine, scheduleId)) === null) return null
  await engine.client.schedule.getHandle(scheduleId).delete()
  return {
    text: `Removed schedule ${scheduleId}: the cluster's file asks for none.`,
    json: { schedule: scheduleId, removed: true },
  }
}

async function showSchedule(call: Call): Promise<Outcome> {
  const { backupSchedule } = await import('./backup-schedule.ts')
  const { drillSchedule } = await import('./drill-schedule.ts')
  const { freshnessSchedule } = await import('./freshness-schedule.ts')
  const { rehearseSchedule } = await import('./rehearse-schedule.ts')
  const { describeSchedule } = await import('./schedule-view.ts')
  const config = await loadCluster(call.home, clusterOf(call))
  const { cluster } = config
  const engine = await call.engine()
  const found = await describeSchedule(engine, backupScheduleId(cluster))
  if (found === null) throw scheduleMissing(cluster)
  const backups = await showOne(engine, cluster, found, backupSchedule(config))
  const [freshness, rehearsal, drill] = await Promise.all(
    [
      { id: freshnessScheduleId(cluster), wanted: freshnessSchedule(config) },
      { id: rehearseScheduleId(cluster), wanted: rehearseSchedule(config) },
      { id: drillScheduleId(cluster), wanted: drillSchedule(config) },
    ].map(async ({ id, wanted }) => {
      const one = await describeSchedule(engine, id)
      if (one !== null) return showOne(engine, cluster, one, wanted)
      if (wanted === null) return null
      return {
        text: `There is no schedule ${id} yet. Make it with \`requorum schedule apply ${cluster}\`.`,
        json: null,
      }
    }),
  )
  return {
    exit: 'done',
    text: [backups, freshness, rehearsal, drill]
      .flatMap((one) => (one == null ? [] : [one.text]))
      .join('\n\n'),
    json: {
      ...backups.json,
      freshness: freshness?.json ?? null,
      rehearsal: rehearsal?.json ?? null,
      drill: drill?.json ?? null,
    },
  }
}

/** @param wanted - null where the cluster's file asks for no such schedule */
async function showOne(
  engine: EngineConnection,
  cluster: string,
  found: ScheduleDescription,
  wanted: WantedSchedule | null,
): Promise<{ exit: 'done'; text: string; json: object }> {
  const { changedSettings, settingsOf } = await import('./schedule-settings.ts')
  const { viewOf } = await import('./schedule-view.ts')
  const view = await viewOf(engine, found, 5)
  const settings = settingsOf(found)
  const differs =
    wanted === null
      ? [{ setting: 'every', from: settings.every, to: 'never' }]
      : changedSettings(settings, settingsOf(wanted))
  const now = new Date()
  const pause = pauseText(found)
  return {
    exit: 'done',
    text: [
      `Schedule ${view.id}`,
      ...facts(
        [
          ['state', pause ?? 'on'],
          ...Object.entries(settings),
          [
            'next',
            view.next.map((time) => utcWithAge(time, now)).join('\n') ||
              (pause === null ? 'none' : 'none while paused'),
          ],
          ['running', view.running.join('\n') || 'none'],
          [
            'counts',
            `${view.taken} started, ${view.skippedBecauseOneRan} skipped because one ran, ${view.missed} missed`,
          ],
        ],
        '  ',
      ),
      '',
      ...(view.recent.length === 0
        ? ['It has started nothing yet.']
        : table(
            ['STARTED', 'RUN', 'ENDED AS'],
            view.recent.map(({ takenAt, workflowId, status, why }) => [
              utcWithAge(takenAt, now),
              workflowId,
              why === null ? status : `${status}: ${why}`,
            ]),
          )),
      ...(differs.length === 0
        ? []
        : [
            '',
            "It differs from the cluster's file:",
            ...table(
              ['  SETTING', 'SCHEDULE', 'FILE'],
              differs.map(({ setting, from, to }) => [`  ${setting}`, from, to]),
            ),
            `Make it so with \`requorum schedule apply ${cluster}\`.`,
          ]),
    ].join('\n'),
    json: { ...view, settings, differsFromFile: differs },
  }
}

function scheduleGone(scheduleId: string): RequorumError {
  return new RequorumError('schedule-missing', {
    what: `Schedule ${scheduleId} was removed at this moment.`,
    todo: 'Try again.',
  })
}

export function scheduleMissing(cluster: string): RequorumError {
  return new RequorumError('schedule-missing', {
    what: `${cluster} has no backup schedule (${backupScheduleId(cluster)}).`,
    todo: `Make it with \`requorum schedule apply ${cluster}\`.`,
  })
}

export function pauseText({ state }: ScheduleDescription): string | null {
  if (!state.paused) return null
  return state.note === undefined || state.note === '' ? 'paused' : `paused: ${state.note}`
}
