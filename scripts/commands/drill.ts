import { Option, type Command } from 'commander'
import { DRILL_FAULT_NAMES, DRILL_FAULTS, DRILL_RUNBOOKS, faultsOf } from '../../domain/drill-faults.ts'
import type { DrillVerdict } from '../../domain/drill-verdict.ts'
import { drillWorkflowId, recoveryWorkflowId } from '../../domain/messages.ts'
import type { Progress } from '../../domain/progress.ts'
import type { EngineConnection } from '../../workers/connection.ts'
import { loadCluster } from '../../workers/home.ts'
import { drillVerdictText } from '../terminal/drill.ts'
import { facts } from '../terminal/table.ts'
import { clusterOf, examples, type Act, type Call, type Outcome } from './command.ts'
import type { Exit } from './exit-codes.ts'
import type { Followed, Following } from './follow.ts'

const OUTCOME_EXITS: Readonly<Record<DrillVerdict['outcome'], Exit>> = {
  passed: 'done',
  missed: 'failed',
  unwell: 'failed',
  'put-back': 'declined',
  refused: 'declined',
  'timed-out': 'declined',
}

const FAULT_LINES = facts(
  DRILL_RUNBOOKS.flatMap((runbook) =>
    faultsOf(runbook).map((fault) => [fault, `${runbook}: ${DRILL_FAULTS[fault].about}`] as const),
  ),
  '  ',
).join('\n')

export function registerDrill(program: Command, act: Act): void {
  const drill = program
    .command('drill')
    .description(
      'break a cluster that is marked for it on purpose, have it recovered, and measure RPO and RTO; waits for a person before it breaks anything, and again in the recovery',
    )
    .argument('<cluster>')
    .addOption(
      new Option('--runbook <name>', 'which recovery to rehearse; by default what the file says').choices([
        ...DRILL_RUNBOOKS,
      ]),
    )
    .addOption(
      new Option('--fault <name>', 'what to break; by default what the file says').choices([
        ...DRILL_FAULT_NAMES,
      ]),
    )
    .option('--watch', 'follow the drill and its recovery to the end, through their checkpoints')
    .option('--detach', 'start it and return at once')
    .addHelpText(
      'after',
      `\nFaults:\n${FAULT_LINES}\n\nRefused unless the cluster file says \`drill: { allowed: true }\` and each node carries the mark: docs/drills.md.`,
    )
  act(
    examples(drill, [
      'requorum drill lab',
      'requorum drill lab --watch',
      'requorum drill lab --fault lose-leader',
    ]),
    holdDrill,
  )
}

async function holdDrill(call: Call): Promise<Outcome> {
  const { uiLink } = await import('./runs.ts')
  const { cluster, taskQueue } = await loadCluster(call.home, clusterOf(call))
  const engine = await call.engine()
  const [runbook, fault] = [call.text('runbook'), call.text('fault')]
  const request = {
    cluster,
    ...(runbook === undefined ? {} : { runbook }),
    ...(fault === undefined ? {} : { fault }),
  }
  const { workflowId, started } = await start(engine, taskQueue, request)
  const known = { cluster, workflowId, started, ui: uiLink(engine, workflowId) }
  const first = started
    ? `Started ${workflowId}${known.ui === null ? '' : `, see ${known.ui}`}`
    : `A drill of ${cluster} is being held already: ${workflowId}. No second one was started.`
  if (call.flag('detach')) {
    return {
      exit: 'done',
      text: `${first}\nIt will wait for a person: \`requorum status ${cluster}\`.`,
      json: { ...known, state: 'running', verdict: null },
    }
  }
  call.say(first)
  const followed = await follow(call, engine, known, call.flag('watch') ? 'end' : 'person')
  if (followed.until !== 'end') {
    return {
      exit: 'waiting',
      text:
        followed.until === 'person'
          ? `Afterwards follow it with \`requorum drill ${cluster} --watch\`.`
          : `Stopped watching; the drill goes on. Watch it again with \`requorum drill ${cluster} --watch\`.`,
      json: { ...known, state: followed.until === 'person' ? 'waiting' : 'running', verdict: null },
    }
  }
  const verdict = await engine.client.workflow
    .getHandle<() => Promise<DrillVerdict>>(workflowId, followed.run.runId)
    .result()
  return {
    exit: OUTCOME_EXITS[verdict.outcome],
    text: `\n${drillVerdictText(verdict)}`,
    json: { ...known, state: 'ended', verdict },
  }
}

/** One that is being held already is taken as the one that was asked for. */
async function start(
  engine: EngineConnection,
  taskQueue: string,
  request: { readonly cluster: string },
): Promise<{ workflowId: string; started: boolean }> {
  const { runningDrill } = await import('./drill-run.ts')
  const { WorkflowExecutionAlreadyStartedError } = await import('@temporalio/client')
  const workflowId = drillWorkflowId(request.cluster)
  const running = await runningDrill(engine, request.cluster)
  if (running !== null) return { workflowId: running.workflowId, started: false }
  try {
    await engine.client.workflow.start('drill', {
      workflowId,
      taskQueue,
      args: [request],
      workflowIdConflictPolicy: 'FAIL',
    })
    return { workflowId, started: true }
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error
    return { workflowId, started: false }
  }
}

/** Tells the drill's story, and in its middle that of the recovery which the drill waits for. */
async function follow(
  call: Call,
  engine: EngineConnection,
  { cluster, workflowId }: { readonly cluster: string; readonly workflowId: string },
  until: Following['until'],
): Promise<Followed> {
  const { followRun } = await import('./follow.ts')
  const following = { say: (line: string) => call.say(line), until, interruption: call.interruption() }
  const before = await followRun(engine, workflowId, {
    ...following,
    stopAt: (progress) => recoversSince(progress) !== null,
  })
  const since = before.progress === null ? null : recoversSince(before.progress)
  if (before.until !== 'there' || since === null) return before
  const recovery = recoveryWorkflowId(cluster)
  if (await isThere(engine, recovery, since)) {
    call.say(`          ${recovery} recovers it, and asks for its own consent:`)
    const inside = await followRun(engine, recovery, following)
    if (inside.until !== 'end') return inside
  }
  return followRun(engine, workflowId, { ...following, until: 'end', told: before.progress })
}

/** When the step began in which the drill waits for its recovery; null when it is not in it. */
function recoversSince({ steps }: Progress): string | null {
  const last = steps.at(-1)
  return last?.state === 'running' && last.title.startsWith('Recover with ') ? last.startedAt : null
}

/** Whether the recovery that began after this time is known to the engine; the one before it has the same ID. */
async function isThere(engine: EngineConnection, workflowId: string, since: string): Promise<boolean> {
  const { lookAtRun } = await import('./runs.ts')
  const { setTimeout: sleep } = await import('node:timers/promises')
  // The workflow's clock stands at the beginning of its task.
  const earliest = Date.parse(since) - 5_000
  for (let tries = 0; tries < 20; tries++) {
    const run = await lookAtRun(engine, workflowId)
    if (run.state !== 'absent' && Date.parse(run.startedAt) >= earliest) return true
    await sleep(500)
  }
  return false
}
