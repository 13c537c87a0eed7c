import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError } from '../../domain/failures.ts'
import { recoveryWorkflowId } from '../../domain/messages.ts'
import type { EngineConnection } from '../../workers/connection.ts'
import { loadCluster } from '../../workers/home.ts'
import { waitingLine } from '../terminal/waiting.ts'
import { clusterOf, type Call, type Outcome } from './command.ts'

/**
 * Starts a recovery under the one workflow ID that all recoveries of a cluster have, and follows it: to where it
 * waits for a person, with `--watch` to its end, with `--detach` not at all.
 *
 * @param wishes - what the runbook's input has beside the cluster.
 * @param refuse - throws for a slip that the cluster file shows: the run would say the same, and stand as the last recovery
 * @throws RequorumError `recovery-running` with where the other one stands; the failure that ended the run
 */
export async function startAndFollow(
  call: Call,
  type: string,
  wishes: object = {},
  refuse: (config: ClusterConfig) => void = () => undefined,
): Promise<Outcome> {
  const { watchRecovery } = await import('./recovery.ts')
  const { uiLink } = await import('./runs.ts')
  const config = await loadCluster(call.home, clusterOf(call))
  const { cluster, taskQueue } = config
  refuse(config)
  const engine = await call.engine()
  const workflowId = recoveryWorkflowId(cluster)
  const runId = await start(engine, taskQueue, type, { cluster, ...wishes })
  const known = { cluster, workflowId, runId, ui: uiLink(engine, workflowId) }
  const started = `Started ${workflowId}${known.ui === null ? '' : `, see ${known.ui}`}`

  if (call.flag('detach')) {
    return {
      exit: 'done',
      text: `${started}\nIt will wait for a person: \`requorum status ${cluster}\`.`,
      json: { ...known, state: 'running', progress: null, verdict: null },
    }
  }
  call.say(started)
  return watchRecovery(call, engine, known, call.flag('watch') ? 'end' : 'person')
}

async function start(
  engine: EngineConnection,
  taskQueue: string,
  type: string,
  request: { readonly cluster: string },
): Promise<string> {
  const { WorkflowExecutionAlreadyStartedError } = await import('@temporalio/client')
  try {
    const handle = await engine.client.workflow.start(type, {
      workflowId: recoveryWorkflowId(request.cluster),
      taskQueue,
      args: [request],
      workflowIdConflictPolicy: 'FAIL',
    })
    return handle.firstExecutionRunId
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error
    throw await alreadyRunning(engine, request.cluster, error)
  }
}

async function alreadyRunning(
  engine: EngineConnection,
  cluster: string,
  cause: Error,
): Promise<RequorumError> {
  const { askProgress, lookAtRun } = await import('./runs.ts')
  const run = await lookAtRun(engine, recoveryWorkflowId(cluster))
  const { progress, silence } =
    run.state === 'absent' ? { progress: null, silence: 'it has just ended' } : await askProgress(engine, run)
  const step = progress?.steps.findLast((one) => one.state === 'running')?.title
  const where =
    progress === null
      ? silence
      : progress.waiting !== null
        ? `it ${waitingLine(progress.waiting, new Date())}`
        : `it is at "${step ?? 'its beginning'}"`
  const plan = progress?.waiting?.plan
  return new RequorumError(
    'recovery-running',
    {
      what: `A recovery of ${cluster} runs already; there is never more than one.`,
      why: where,
      todo:
        plan === undefined
          ? `See it with \`requorum status ${cluster}\`.`
          : `Read its plan with \`requorum status ${cluster}\`, then \`requorum approve ${cluster} --plan ${plan}\` or \`requorum refuse ${cluster} --plan ${plan}\`.`,
    },
    { cause },
  )
}
