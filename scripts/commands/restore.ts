import type { Command } from 'commander'
import { refuseUnknownOff } from '../../domain/fence.ts'
import type { RestoreRequest } from '../../domain/messages.ts'
import { namedSnapshot } from '../../domain/snapshot.ts'
import { examples, repeated, type Act, type Call, type Outcome } from './command.ts'

export function registerRestore(program: Command, act: Act): void {
  const restore = program
    .command('restore')
    .description('restore etcd after quorum was lost; waits for a person before anything is destroyed')
    .argument('<cluster>')
    .option('--snapshot <key>', 'take this snapshot instead of the newest proved one')
    .option('--off <node>', 'state that this node is switched off or cut off; once for each', repeated)
    .option('--watch', 'follow the run to its end, through its checkpoints')
    .option('--detach', 'start it and return at once')
  act(
    examples(restore, [
      'requorum restore prod',
      'requorum restore prod --watch',
      'requorum restore prod --off cp-03',
      'requorum restore prod --snapshot daily/snapshot-20261122T020000Z.db',
    ]),
    restoreQuorum,
  )
}

async function restoreQuorum(call: Call): Promise<Outcome> {
  const { startAndFollow } = await import('./start-recovery.ts')
  return startAndFollow(call, 'restoreQuorum', restoreWishes(call), (config) =>
    refuseUnknownOff(config, call.texts('off')),
  )
}

/** What a restore, or the plan of one, is told besides the cluster. */
export function restoreWishes(call: Call): Omit<RestoreRequest, 'cluster'> {
  const snapshot = namedSnapshot(call.text('snapshot'))
  const off = call.texts('off')
  return { ...(snapshot === undefined ? {} : { snapshot }), ...(off.length === 0 ? {} : { off }) }
}
