import type { Command } from 'commander'
import { olderThanOf } from '../../domain/clean-up-plan.ts'
import type { CleanUpRequest } from '../../domain/messages.ts'
import { examples, type Act, type Call, type Outcome } from './command.ts'

export function registerCleanUp(program: Command, act: Act): void {
  const cleanUp = program
    .command('cleanup')
    .description('list what earlier recoveries set aside, and remove it after your consent')
    .argument('<cluster>')
    .option(
      '--older-than <age>',
      "only what is older, like 3d; by default the cluster file's cleanUp.olderThan",
    )
    .option('--watch', 'follow the run to its end, through its checkpoint')
    .option('--detach', 'start it and return at once')
  act(examples(cleanUp, ['requorum cleanup prod', 'requorum cleanup prod --older-than 30d']), removeAside)
}

async function removeAside(call: Call): Promise<Outcome> {
  const { startAndFollow } = await import('./start-recovery.ts')
  const olderThan = call.text('olderThan')
  const wishes: Omit<CleanUpRequest, 'cluster'> = olderThan === undefined ? {} : { olderThan }
  return startAndFollow(call, 'cleanUp', wishes, () => void olderThanOf(wishes))
}
