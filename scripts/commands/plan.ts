import { randomUUID } from 'node:crypto'
import type { Command } from 'commander'
import { RequorumError } from '../../domain/failures.ts'
import type { RestoreRequest } from '../../domain/messages.ts'
import type { RestorePreview } from '../../domain/restore-preview.ts'
import { loadCluster } from '../../workers/home.ts'
import { restoreWishes } from './restore.ts'
import { previewText } from '../terminal/preview.ts'
import { clusterOf, examples, repeated, type Act, type Call, type Outcome } from './command.ts'

/** The workflow as its callers know it. */
type PlanRestore = (request: RestoreRequest) => Promise<RestorePreview>

export function registerPlan(program: Command, act: Act): void {
  const plan = program.command('plan').description('what a runbook would do, without doing it')
  const restore = plan
    .command('restore')
    .description(
      'survey the nodes and print what a restore would run, node by node and in order; touches nothing',
    )
    .argument('<cluster>')
    .option('--snapshot <key>', 'take this snapshot instead of the newest proved one')
    .option('--off <node>', 'as if it were stated to be switched off or cut off; once for each', repeated)
  const lines = [
    'requorum plan restore prod',
    'requorum plan restore prod --snapshot daily/snapshot-20261122T020000Z.db > plan.txt',
  ]
  act(examples(restore, lines), planRestore)
}

async function planRestore(call: Call): Promise<Outcome> {
  const { hasWorker } = await import('./runs.ts')
  const config = await loadCluster(call.home, clusterOf(call))
  const engine = await call.engine()
  // A plan is wanted now or not at all: nobody should find it done tomorrow.
  if (!(await hasWorker(engine, config.taskQueue))) throw noWorker(config.taskQueue)
  const request: RestoreRequest = { cluster: config.cluster, ...restoreWishes(call) }
  const preview = await engine.client.workflow.execute<PlanRestore>('planRestore', {
    workflowId: `plan/${config.cluster}/${randomUUID().slice(0, 8)}`,
    taskQueue: config.taskQueue,
    args: [request],
  })
  return { exit: 'done', text: previewText(preview), json: preview }
}

export function noWorker(taskQueue: string): RequorumError {
  return new RequorumError('engine-unreachable', {
    what: `No worker serves the task queue "${taskQueue}", so nothing would happen.`,
    todo: 'Start one with `requorum up`, or `requorum up --worker-only` beside an engine of your own.',
  })
}
