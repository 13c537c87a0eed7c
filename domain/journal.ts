import { backupScheduleId } from './messages.ts'
import { NODE_STATE, recoveryDir } from './node-paths.ts'

/** How the journal of any recovery ends: what the run held, and how a person lets go of it in the run's place. */
export function letGoByHand({ cluster, recovery }: { cluster: string; recovery: string }): string[] {
  return [
    '## Afterwards, whichever way it went',
    'On each node, when nothing is left to be done by hand:',
    '```sh',
    `date -u '+%FT%TZ by hand' >${recoveryDir(recovery)}/ended`,
    `rm ${NODE_STATE}/lock`,
    '```',
    'Once, where `temporal` reaches the engine, unless the schedule was paused before:',
    '```sh',
    `temporal schedule toggle --schedule-id ${backupScheduleId(cluster)} --unpause --reason 'recovery ${recovery} was ended by hand'`,
    '```',
    '',
  ]
}
