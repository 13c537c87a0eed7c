import type { Command } from 'commander'
import { refuseUnknownNode } from '../../domain/leaving-member.ts'
import type { ReplaceRequest } from '../../domain/messages.ts'
import { examples, type Act, type Call, type Outcome } from './command.ts'

export function registerReplace(program: Command, act: Act): void {
  const replace = program
    .command('replace')
    .description(
      'replace one broken etcd member while the others hold the quorum; waits for a person before it begins',
    )
    .argument('<cluster>')
    .argument('[node]', 'whose member; without it the one that a diagnosis finds broken')
    .option(
      '--instead-of <member>',
      'the member that goes, by name or peer URL, where NODE is another one or has another address',
    )
    .option('--watch', 'follow the run to its end, through its checkpoints')
    .option('--detach', 'start it and return at once')
  act(
    examples(replace, [
      'requorum replace prod',
      'requorum replace prod cp-03 --watch',
      'requorum replace prod cp-04 --instead-of cp-02',
    ]),
    replaceMember,
  )
}

async function replaceMember(call: Call): Promise<Outcome> {
  const { startAndFollow } = await import('./start-recovery.ts')
  const node = call.args[1]
  const insteadOf = call.text('insteadOf')
  const wishes: Omit<ReplaceRequest, 'cluster'> = {
    ...(node === undefined ? {} : { node }),
    ...(insteadOf === undefined ? {} : { insteadOf }),
  }
  return startAndFollow(call, 'replaceMember', wishes, (config) => {
    if (node !== undefined) refuseUnknownNode(config, node)
  })
}
