import { randomUUID } from 'node:crypto'
import type { Command } from 'commander'
import { RequorumError } from '../../domain/failures.ts'
import { validationWorkflowId, type ValidationRequest } from '../../domain/messages.ts'
import { CHECK_NAMES, checkName } from '../../domain/validation/checks.ts'
import type { ValidationVerdict } from '../../domain/validation/verdict.ts'
import { loadCluster } from '../../workers/home.ts'
import { validationVerdictText } from '../terminal/validation.ts'
import { clusterOf, examples, type Act, type Call, type Outcome } from './command.ts'
import { noWorker } from './plan.ts'

/** The workflow as its callers know it. */
type Validate = (request: ValidationRequest) => Promise<ValidationVerdict>

export function registerValidate(program: Command, act: Act): void {
  const validate = program
    .command('validate')
    .description('look whether a cluster is well, from etcd to a workload that answers; changes nothing')
    .argument('<cluster>')
    .option(
      '--against <key>',
      'hold the counts of objects against this snapshot instead of the newest proved one',
    )
    .option('--skip <checks>', 'leave these checks out, by name, with commas between')
    .addHelpText('after', `\nChecks:\n  ${CHECK_NAMES.join(', ')}`)
  act(
    examples(validate, [
      'requorum validate prod',
      'requorum validate prod --against daily/snapshot-20261122T020000Z.db',
      'requorum validate prod --skip canary,object-counts',
    ]),
    validateCluster,
  )
}

async function validateCluster(call: Call): Promise<Outcome> {
  const { followToEnd } = await import('./follow-to-end.ts')
  const { hasWorker } = await import('./runs.ts')
  const config = await loadCluster(call.home, clusterOf(call))
  const skip = checksIn(call.text('skip') ?? '')
  const engine = await call.engine()
  // How the cluster is, is wanted now or not at all.
  if (!(await hasWorker(engine, config.taskQueue))) throw noWorker(config.taskQueue)
  const against = call.text('against')
  const workflowId = validationWorkflowId(config.cluster, randomUUID().slice(0, 8))
  const handle = await engine.client.workflow.start<Validate>('validate', {
    workflowId,
    taskQueue: config.taskQueue,
    args: [
      {
        cluster: config.cluster,
        ...(against === undefined ? {} : { against }),
        ...(skip.length === 0 ? {} : { skip }),
      },
    ],
    staticSummary: `Validation of ${config.cluster}`,
  })
  return followToEnd(call, engine, config.cluster, handle, (verdict) => ({
    exit: verdict.outcome === 'unhealthy' ? 'failed' : 'done',
    text: validationVerdictText(verdict),
  }))
}

/** @throws RequorumError `input-invalid` for a name that is no check's. */
function checksIn(typed: string): string[] {
  const names = typed
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean)
  for (const name of names) {
    const read = checkName.safeParse(name)
    if (read.success) continue
    throw new RequorumError('input-invalid', {
      what: `--skip can't be read: ${read.error.issues[0]?.message ?? name}.`,
      todo: 'See the names with `requorum validate --help`.',
    })
  }
  return names
}
