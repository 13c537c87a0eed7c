import type { Command } from 'commander'
import type { AdoptRequest } from '../../domain/messages.ts'
import { examples, type Act, type Call, type Outcome } from './command.ts'

export function registerAdopt(program: Command, act: Act): void {
  const adopt = program
    .command('adopt')
    .description(
      'bring a recovery to its end whose run is gone: terminated, or lost with its engine; the nodes remember it. Waits for a person before it touches anything',
    )
    .argument('<cluster>')
    .option('--undo', 'take it back instead of going on with it, as long as that is possible')
    .option('--watch', 'follow the run to its end, through its checkpoints')
    .option('--detach', 'start it and return at once')
  act(examples(adopt, ['requorum adopt prod', 'requorum adopt prod --undo --watch']), adoptRecovery)
}

async function adoptRecovery(call: Call): Promise<Outcome> {
  const { startAndFollow } = await import('./start-recovery.ts')
  const wishes: Omit<AdoptRequest, 'cluster'> = call.flag('undo') ? { undo: true } : {}
  return startAndFollow(call, 'adopt', wishes)
}
