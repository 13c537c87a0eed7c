import { randomUUID } from 'node:crypto'
import type { Command } from 'commander'
import type { Diagnosis } from '../../domain/diagnosis.ts'
import type { DiagnoseRequest } from '../../domain/messages.ts'
import { loadCluster } from '../../workers/home.ts'
import { diagnosisText } from '../terminal/diagnosis.ts'
import { clusterOf, examples, type Act, type Call, type Outcome } from './command.ts'
import { noWorker } from './plan.ts'

/** The workflow as its callers know it. */
type Diagnose = (request: DiagnoseRequest) => Promise<Diagnosis>

export function registerDiagnose(program: Command, act: Act): void {
  const diagnose = program
    .command('diagnose')
    .description(
      'look at every node and say what is the matter: healthy, restart, expired certificates, no space, replace one member, restore, or hands off and why; touches nothing',
    )
    .argument('<cluster>')
    .option('--exit-code', 'end with 6 when the cluster is not healthy, for scripts')
  const lines = [
    'requorum diagnose prod',
    'requorum diagnose prod --json | jq -r .kind',
    'requorum diagnose prod --exit-code || page-somebody',
  ]
  act(examples(diagnose, lines), diagnoseCluster)
}

async function diagnoseCluster(call: Call): Promise<Outcome> {
  const { hasWorker } = await import('./runs.ts')
  const config = await loadCluster(call.home, clusterOf(call))
  const engine = await call.engine()
  // An answer is wanted now: nobody should find it tomorrow.
  if (!(await hasWorker(engine, config.taskQueue))) throw noWorker(config.taskQueue)
  const diagnosis = await engine.client.workflow.execute<Diagnose>('diagnose', {
    workflowId: `diagnose/${config.cluster}/${randomUUID().slice(0, 8)}`,
    taskQueue: config.taskQueue,
    args: [{ cluster: config.cluster }],
  })
  const ill = call.flag('exitCode') && diagnosis.kind !== 'healthy'
  return { exit: ill ? 'ill' : 'done', text: diagnosisText(diagnosis), json: diagnosis }
}
