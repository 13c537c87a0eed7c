import type { Command } from 'commander'
import type { RollBackRequest } from '../../domain/messages.ts'
import { examples, type Act, type Call, type Outcome } from './command.ts'

export function registerRollBack(program: Command, act: Act): void {
  const rollBack = program
    .command('roll-back')
    .description(
      'give a restored cluster up for what was there before; waits for a person, with what is lost by it',
    )
    .argument('<cluster>')
    .option('--recovery <name>', 'the restore to take back; by default the one that was opened last')
    .option('--watch', 'follow the run to its end, through its checkpoint')
    .option('--detach', 'start it and return at once')
  act(
    examples(rollBack, [
      'requorum roll-back prod',
      'requorum roll-back prod --recovery 20261122T021400Z-3fa9c1d2',
    ]),
    takeRestoreBack,
  )
}

async function takeRestoreBack(call: Call): Promise<Outcome> {
  const { startAndFollow } = await import('./start-recovery.ts')
  const recovery = call.text('recovery')
  const wishes: Omit<RollBackRequest, 'cluster'> = recovery === undefined ? {} : { recovery }
  return startAndFollow(call, 'rollBack', wishes)
}
