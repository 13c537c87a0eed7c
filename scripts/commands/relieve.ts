import type { Command } from 'commander'
import { examples, type Act, type Call, type Outcome } from './command.ts'

export function registerRelieve(program: Command, act: Act): void {
  const relieve = program
    .command('relieve')
    .description(
      "make room in etcd's databases and clear the alarm NOSPACE: a copy, your consent, compaction, then one member at a time, the leader last",
    )
    .argument('<cluster>')
    .option('--watch', 'follow the run to its end, through its checkpoint')
    .option('--detach', 'start it and return at once')
  act(examples(relieve, ['requorum relieve prod', 'requorum relieve prod --watch']), makeRoom)
}

async function makeRoom(call: Call): Promise<Outcome> {
  const { startAndFollow } = await import('./start-recovery.ts')
  return startAndFollow(call, 'relieve')
}
