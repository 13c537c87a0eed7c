import { setTimeout as sleep } from 'node:timers/promises'
import type { ScheduleDescription } from '@temporalio/client'
import type { Command } from 'commander'
import { RequorumError } from '../../domain/failures.ts'
import { backupScheduleId, type BackupRequest } from '../../domain/messages.ts'
import type { BackupVerdict } from '../../domain/verdict.ts'
import type { EngineConnection } from '../../workers/connection.ts'
import { loadCluster } from '../../workers/home.ts'
import { backupVerdictText } from '../terminal/verdict.ts'
import { clusterOf, examples, type Act, type Call, type Outcome } from './command.ts'
import { pauseText, scheduleMissing } from './schedule.ts'

type Backup = (request: BackupRequest) => Promise<BackupVerdict>

/** How long the engine may take to act on a trigger. */
const TRIGGER_TIMEOUT_MS = 20_000

export function registerBackup(program: Command, act: Act): void {
  const backup = program.command('backup').description('snapshots of etcd, proved and stored')
  const now = backup
    .command('now')
    .description('make a backup now, by triggering the schedule; when one runs already, that one counts')
    .argument('<cluster>')
    .option('--wait', 'follow it to its end and print its verdict')
  act(examples(now, ['requorum backup now prod --wait']), backUpNow)
}

async function backUpNow(call: Call): Promise<Outcome> {
  const { followRun } = await import('./follow.ts')
  const { hasWorker, uiLink } = await import('./runs.ts')
  const config = await loadCluster(call.home, clusterOf(call))
  const engine = await call.engine()
  const { workflowId, started, pause } = await trigger(engine, config.cluster)
  const link = uiLink(engine, workflowId)
  const first = [
    started
      ? `Started ${workflowId}.`
      : `A backup of ${config.cluster} runs already: ${workflowId}. No second one was started.`,
    ...(pause === null ? [] : [`The schedule is ${pause}; during a recovery this backup may be refused.`]),
  ].join('\n')
  const known = { cluster: config.cluster, workflowId, started, ui: link }

  if (!call.flag('wait')) {
    const worker = await hasWorker(engine, config.taskQueue)
    const warning = `No worker serves the task queue "${config.taskQueue}" yet: start one with \`requorum up\`.`
    return {
      exit: 'done',
      text: [first, ...(link === null ? [] : [`See it at ${link}`]), ...(worker ? [] : [warning])].join('\n'),
      json: { ...known, ended: false, verdict: null },
    }
  }

  call.say(first)
  const followed = await followRun(engine, workflowId, {
    say: (line) => call.say(line),
    until: 'end',
    interruption: call.interruption(),
  })
  if (followed.until !== 'end') {
    return {
      exit: 'waiting',
      text: `Stopped looking; the backup goes on. Look again with \`requorum status ${config.cluster}\`.`,
      json: { ...known, ended: false, verdict: null },
    }
  }
  const verdict = await engine.client.workflow.getHandle<Backup>(workflowId, followed.run.runId).result()
  return {
    exit: verdict.outcome === 'proved' ? 'done' : 'failed',
    text: `\n${backupVerdictText(verdict)}`,
    json: { ...known, ended: true, verdict },
  }
}

/** Triggers the schedule under its own overlap rule, and finds out what that led to. */
async function trigger(
  engine: EngineConnection,
  cluster: string,
): Promise<{ workflowId: string; started: boolean; pause: string | null }> {
  const { ScheduleOverlapPolicy } = await import('@temporalio/client')
  const { describeSchedule } = await import('./schedule-view.ts')
  const before = await describeSchedule(engine, backupScheduleId(cluster))
  if (before === null) throw scheduleMissing(cluster)
  const pause = pauseText(before)
  const known = new Set(startedBy(before))
  // trigger() has a default of its own, ALLOW_ALL, which would run two backups side by side.
  await engine.client.schedule.getHandle(backupScheduleId(cluster)).trigger(ScheduleOverlapPolicy.SKIP)

  const deadline = Date.now() + TRIGGER_TIMEOUT_MS
  while (Date.now() < deadline) {
    const now = await describeSchedule(engine, backupScheduleId(cluster))
    if (now === null) throw scheduleMissing(cluster)
    const fresh = startedBy(now).find((workflowId) => !known.has(workflowId))
    if (fresh !== undefined) return { workflowId: fresh, started: true, pause }
    const running = now.info.runningActions.at(-1)?.workflow.workflowId
    const skipped = now.info.numActionsSkippedOverlap > before.info.numActionsSkippedOverlap
    if (skipped && running !== undefined) return { workflowId: running, started: false, pause }
    await sleep(200)
  }
  throw new RequorumError('unexpected', {
    what: `The schedule was triggered and has started nothing within ${TRIGGER_TIMEOUT_MS / 1_000} s.`,
    todo: `Look at it with \`requorum schedule show ${cluster}\`, then try again.`,
  })
}

function startedBy({ info }: ScheduleDescription): string[] {
  return [...info.recentActions.map((one) => one.action), ...info.runningActions].map(
    (one) => one.workflow.workflowId,
  )
}
