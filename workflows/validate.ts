import { workflowInfo } from '@temporalio/workflow'
import type { ValidationRequest } from '../domain/messages.ts'
import { outcomeOf, type ValidationVerdict } from '../domain/validation/verdict.ts'
import { Checklist } from './steps/checklist.ts'
import { chooseComparison } from './steps/comparison.ts'
import { look } from './steps/hands.ts'
import { clusterOf, validationOf } from './steps/request.ts'
import { Run } from './steps/run.ts'

/**
 * Looks whether a cluster is well, from etcd up to a workload that comes up and answers. Changes nothing but a key
 * of its own and a canary, and takes both away.
 *
 * A check that can't be made is a failed check, and one that is left out says why: the run itself fails only
 * for its input, or when it is cancelled.
 */
export async function validate(request: ValidationRequest): Promise<ValidationVerdict> {
  const run = new Run('validate', clusterOf(request))
  return run.through(async () => {
    const wishes = validationOf(request)
    const listed = await run.step(
      'List the checks',
      () => look.listChecks(run.cluster, wishes.skip, wishes.without),
      (checks) => `${checks.filter(({ skipped }) => skipped === null).length} of ${checks.length} to make`,
    )
    const against = await chooseComparison(run, wishes.against)
    const checks = new Checklist(run, listed, {
      run: workflowInfo().originalExecutionRunId.slice(-8),
      patient: wishes.onBehalfOf !== undefined,
      against,
      without: wishes.without,
    })

    // The canary comes last, on a cluster that nothing else is being asked of: its times are the cluster's.
    await checks.makeAllBut('canary')
    await checks.sendCanary()

    const made = checks.made()
    return {
      outcome: outcomeOf(made),
      cluster: run.cluster,
      against: 'none' in against ? null : against.key,
      checks: made,
    }
  })
}
