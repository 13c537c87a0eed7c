import { run, type CommandOptions, type CommandOutcome } from './commands.ts'
import { findHost, type LabHosts } from './lab-hosts.ts'
import { hostInit } from './power.ts'

/**
 * Runs a shell script as root inside a host, as at its console: it works with the network cut and
 * sshd broken. The lab uses it to prepare and to break things; runbooks never do.
 * @param args - become $1, $2, … of the script
 * @throws Error when the host is off or the script fails.
 */
export async function atConsole(
  lab: Pick<LabHosts, 'name' | 'hosts'>,
  hostName: string,
  script: string,
  args: readonly string[] = [],
  options: CommandOptions = {},
): Promise<CommandOutcome> {
  const init = await hostInit(lab, findHost(lab, hostName))
  if (init === undefined) {
    throw new Error(`Host ${hostName} of lab "${lab.name}" is switched off. Start it first.`)
  }
  return run(
    'nsenter',
    [
      ...['--target', String(init), '--mount', '--uts', '--ipc', '--net', '--pid', '--root', '--wd'],
      ...['--', '/bin/sh', '-euc', script, hostName, ...args],
    ],
    {
      ...options,
      env: {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        HOME: '/root',
        LANG: 'C.UTF-8',
        ...options.env,
      },
    },
  )
}
