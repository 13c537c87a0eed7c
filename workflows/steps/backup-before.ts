import { executeChild, isCancellation } from '@temporalio/workflow'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { backupWorkflowId } from '../../domain/messages.ts'
import type { BackupBefore } from '../../domain/backup-before.ts'
import type { backup } from '../backup.ts'
import { whyOf } from './failure.ts'
import type { Run } from './run.ts'

/**
 * The backup that is compulsory before something is given up, unless the consent to the plan waives it: the plan says
 * why there is none.
 *
 * @param what - names the backup in the engine
 */
export async function backupBefore(
  run: Run,
  config: ClusterConfig,
  recovery: string,
  owner: string,
  what: string,
): Promise<BackupBefore> {
  try {
    return await run.step(
      'Take a backup first',
      async () => {
        const { key, outcome, warnings } = await executeChild<typeof backup>('backup', {
          workflowId: `${backupWorkflowId(config.cluster)}/before-${recovery}`,
          args: [{ cluster: config.cluster, onBehalfOf: owner }],
          staticSummary: what,
        })
        return outcome === 'proved'
          ? { key }
          : { waived: `${key} was taken and is not plausible: ${warnings.join('; ')}` }
      },
      (before) => ('key' in before ? before.key : before.waived),
    )
  } catch (error) {
    if (isCancellation(error)) throw error
    return { waived: `it failed: ${whyOf(error)}` }
  }
}
