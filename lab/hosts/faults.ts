import { atConsole } from './console.ts'
import { hasCommand, run } from './commands.ts'
import { mountDisks } from './disks.ts'
import { hostKey } from './host-files.ts'
import { ETCD_DAMAGE } from './faults/etcd-damage.ts'
import { ETCD_PROCESS } from './faults/etcd-process.ts'
import { always, type Fault } from './faults/fault.ts'
import { LOOK_ALIKES } from './faults/look-alikes.ts'
import { findHost, type LabHosts } from './lab-hosts.ts'
import { cableName, cutCable, healCable } from './network.ts'
import { hostInit, killHost, startHost } from './power.ts'
import { readFile } from 'node:fs/promises'

/** Where fill-disk puts its file: on the filesystem of etcd's data and of the backups. */
const FILLER = '/var/lib/lab-filler'

/** Slow enough that a snapshot takes its time, fast enough for heartbeats. */
const SLOW_RATE = '2mbit'

export const FAULTS: readonly Fault[] = [
  ...ETCD_DAMAGE,
  ...ETCD_PROCESS,
  ...LOOK_ALIKES,
  {
    name: 'kill-host',
    describe: 'The host loses power and stays off; its disk is as it was',
    available: always,
    inject: (lab, host) => killHost(lab, host),
    mend: (lab, host) => powerOn(lab, host),
  },
  {
    name: 'reboot-host',
    describe: 'The host loses power and comes back at once; /tmp and /run are empty then',
    available: always,
    inject: async (lab, host) => {
      await killHost(lab, host)
      await powerOn(lab, host)
    },
  },
  {
    name: 'cut-network',
    describe: "The host's cable is pulled: it runs on, and nobody reaches it",
    available: always,
    inject: (lab, host) => cutCable(lab, findHost(lab, host)),
    mend: (lab, host) => healCable(lab, findHost(lab, host)),
  },
  {
    name: 'slow-network',
    describe: `What the host receives and sends is throttled to ${SLOW_RATE}`,
    available: async () =>
      (await hasCommand('tc'))
        ? { available: true }
        : { available: false, why: '`tc` is not installed (package iproute2).' },
    inject: async (lab, host) => {
      const shape = ['root', 'tbf', 'rate', SLOW_RATE, 'burst', '32kbit', 'latency', '400ms']
      await run('tc', ['qdisc', 'replace', 'dev', cableName(lab, findHost(lab, host)), ...shape])
      await run('nsenter', [
        ...(await intoNetwork(lab, host)),
        'tc',
        'qdisc',
        'replace',
        'dev',
        'eth0',
        ...shape,
      ])
    },
    mend: async (lab, host) => {
      const cable = cableName(lab, findHost(lab, host))
      await run('tc', ['qdisc', 'del', 'dev', cable, 'root'], { accept: [0, 1, 2] })
      const inside = [...(await intoNetwork(lab, host)), 'tc', 'qdisc', 'del', 'dev', 'eth0', 'root']
      await run('nsenter', inside, { accept: [0, 1, 2] })
    },
  },
  {
    name: 'fill-disk',
    describe: "A file fills the filesystem of etcd's data and of the backups to the last byte",
    available: always,
    inject: async (lab, host) => {
      const script = `
        free=$(( $(stat -f -c '%a * %S' /var/lib) ))
        fallocate -l "$free" ${FILLER} 2>/dev/null || true
        cat /dev/zero >>${FILLER} 2>/dev/null || true`
      await atConsole(lab, host, script)
    },
    mend: async (lab, host) => {
      await atConsole(lab, host, `rm -f ${FILLER}`)
    },
  },
  {
    name: 'changed-host-key',
    describe: 'The host answers with another SSH host key than the one that is pinned',
    available: always,
    inject: async (lab, host) => {
      const script = `
        rm -f /etc/ssh/ssh_host_ed25519_key
        ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
        systemctl restart ssh`
      await atConsole(lab, host, script)
    },
    mend: async (lab, host) => {
      const kept = hostKey(lab, { name: host })
      const script = `
        umask 077
        cat >/etc/ssh/ssh_host_ed25519_key
        ssh-keygen -y -f /etc/ssh/ssh_host_ed25519_key >/etc/ssh/ssh_host_ed25519_key.pub
        systemctl restart ssh`
      await atConsole(lab, host, script, [], { input: await readFile(kept) })
    },
  },
]

/** The fault of this name. @throws Error that lists the names when there is none. */
export function findFault(name: string): Fault {
  const fault = FAULTS.find((candidate) => candidate.name === name)
  if (fault !== undefined) return fault
  throw new Error(`There is no fault "${name}". Faults: ${FAULTS.map((each) => each.name).join(', ')}.`)
}

async function powerOn(lab: LabHosts, hostName: string): Promise<void> {
  await mountDisks(lab, hostName)
  await startHost(lab, hostName)
}

async function intoNetwork(lab: LabHosts, hostName: string): Promise<readonly string[]> {
  const init = await hostInit(lab, findHost(lab, hostName))
  if (init === undefined) throw new Error(`Host ${hostName} is switched off, so its network can't be slowed.`)
  return ['--target', String(init), '--net', '--']
}
