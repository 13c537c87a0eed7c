import type { Command } from 'commander'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError } from '../../domain/failures.ts'
import { rehearseWorkflowId, type RehearseRequest } from '../../domain/messages.ts'
import type { RehearsalVerdict } from '../../domain/rehearsal.ts'
import { namedSnapshot } from '../../domain/snapshot.ts'
import type { EngineConnection } from '../../workers/connection.ts'
import { loadCluster } from '../../workers/home.ts'
import { table } from '../terminal/table.ts'
import { VERDICTS } from '../terminal/progress.ts'
import { clusterOf, examples, type Act, type Call, type Outcome } from './command.ts'
import { noWorker } from './plan.ts'

type Rehearse = (request: RehearseRequest) => Promise<RehearsalVerdict>

export function registerRehearse(program: Command, act: Act): void {
  const rehearse = program
    .command('rehearse')
    .description(
      "restore the newest snapshot for real, on the worker's host, and write down what came of it; touches no node",
    )
    .argument('<cluster>')
    .option('--snapshot <key>', 'this one instead of the newest proved one')
  act(
    examples(rehearse, [
      'requorum rehearse prod',
      'requorum rehearse prod --snapshot daily/snapshot-20261122T020000Z.db',
    ]),
    rehearseNow,
  )
}

async function rehearseNow(call: Call): Promise<Outcome> {
  const { followToEnd } = await import('./follow-to-end.ts')
  const { hasWorker } = await import('./runs.ts')
  const config = await loadCluster(call.home, clusterOf(call))
  const snapshot = namedSnapshot(call.text('snapshot'))
  const engine = await call.engine()
  if (!(await hasWorker(engine, config.taskQueue))) throw noWorker(config.taskQueue)
  const handle = await start(engine, config, snapshot)
  return followToEnd(call, engine, config.cluster, handle, (verdict) => ({
    exit: 'done',
    text: rehearsalText(verdict),
  }))
}

/** One at a time for each cluster: two would hold the memory of two databases. */
async function start(
  engine: EngineConnection,
  { cluster, taskQueue }: Pick<ClusterConfig, 'cluster' | 'taskQueue'>,
  snapshot: string | undefined,
) {
  const { WorkflowExecutionAlreadyStartedError } = await import('@temporalio/client')
  const workflowId = rehearseWorkflowId(cluster)
  try {
    return await engine.client.workflow.start<Rehearse>('rehearse', {
      workflowId,
      taskQueue,
      args: [{ cluster, ...(snapshot === undefined ? {} : { snapshot }) }],
      workflowIdConflictPolicy: 'FAIL',
      staticSummary: `Rehearsal of ${cluster}`,
    })
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error
    throw new RequorumError(
      'rehearsal-running',
      {
        what: `A rehearsal of ${cluster} runs already (${workflowId}). No second one was started.`,
        todo: `Wait for it; what came of it: requorum snapshots ${cluster}`,
      },
      { cause: error },
    )
  }
}

/** The checks as a table, and the verdict as the last line. */
function rehearsalText({ attestation, at }: RehearsalVerdict): string {
  const { key, checks, seconds, etcdVersion } = attestation
  return [
    ...table(
      ['VERDICT', 'CHECK', 'WHAT IT SAW'],
      checks.map((one) => [VERDICTS[one.verdict], one.name, one.evidence]),
    ),
    '',
    `RESTORED: ${key}, in ${seconds.restored} s, and served by etcd ${etcdVersion} after ${seconds.served} s. Written down as ${at}.`,
  ].join('\n')
}
