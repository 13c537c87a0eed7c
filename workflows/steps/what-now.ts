import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { failedRestoreMarkdown, wishDigest, type Wish } from '../../domain/failed-restore.ts'
import type { RestorePlan } from '../../domain/restore-plan.ts'
import { checkpointAfterwards } from './checkpoint.ts'
import type { Run } from './run.ts'

/**
 * Asks a person what becomes of a restore in which a step failed for good, before it is open.
 *
 * @param another - whether there is an older snapshot to take instead
 * @returns `back` when it was refused, nobody answered, or the run was cancelled
 */
export async function whatNow(
  run: Run,
  config: ClusterConfig,
  plan: RestorePlan,
  { tries, why, another }: { readonly tries: number; readonly why: string; readonly another: boolean },
): Promise<Wish | 'back'> {
  const again = wishDigest(plan, 'again', tries, why)
  const other = wishDigest(plan, 'another', tries, why)
  const consent = await checkpointAfterwards(
    run,
    config,
    'retry',
    again,
    failedRestoreMarkdown(plan, why, another),
    another ? [{ digest: other, does: 'to put everything back and take the next older snapshot' }] : [],
  )
  if (consent.outcome !== 'approved') return 'back'
  return consent.digest === other ? 'another' : 'again'
}
