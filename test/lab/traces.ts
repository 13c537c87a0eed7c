/** What a lab leaves on its machine, for tests that say: nothing. */
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../../lab/hosts/commands.ts'
import { bridgeName } from '../../lab/hosts/network.ts'
import { identify } from '../../lab/services/process.ts'

/** What of one lab can be seen on the machine. Other labs come and go beside it and are not looked at. */
export interface Traces {
  readonly processes: readonly string[]
  readonly namespaces: readonly string[]
  readonly links: readonly string[]
  readonly routes: readonly string[]
  readonly mounts: readonly string[]
  readonly loops: readonly string[]
  readonly cgroups: readonly string[]
  readonly nspawn: readonly string[]
  readonly sysctls: string
}

/** @param dir - where the lab of this name lives, or lived */
export async function tracesOf(name: string, dir: string): Promise<Traces> {
  const tag = bridgeName({ name })
  const lines = (text: string, part: string): string[] =>
    text.split('\n').filter((line) => line.includes(part))
  const claim = existsSync(join(dir, 'hosts.json'))
    ? (/"subnet": "([^"]+)"/.exec(await readFile(join(dir, 'hosts.json'), 'utf8'))?.[1] ?? tag)
    : (lastSubnet.get(dir) ?? tag)
  lastSubnet.set(dir, claim)
  return {
    processes: await processesWith([dir, `${tag}-`]),
    namespaces: lines((await run('ip', ['netns', 'list'])).stdout, tag),
    links: lines((await run('ip', ['-o', 'link'])).stdout, tag),
    routes: lines((await run('ip', ['route', 'show', 'table', 'all'])).stdout, claim),
    mounts: lines(await readFile('/proc/self/mounts', 'utf8'), dir),
    loops: lines(
      (await run('losetup', ['--list', '--noheadings', '--output', 'NAME,BACK-FILE'])).stdout,
      dir,
    ),
    cgroups: (await cgroups()).filter((group) => group.includes(tag)),
    nspawn: await nspawnLeft(tag),
    sysctls: await sysctls(),
  }
}

const lastSubnet = new Map<string, string>()

async function processesWith(parts: readonly string[]): Promise<string[]> {
  const found: string[] = []
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue
    // One that ended and waits for the machine's init to reap it is none any more.
    if (identify(Number(entry)) === undefined) continue
    const command = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '')
    const environment = await readFile(`/proc/${entry}/environ`, 'utf8').catch(() => '')
    // A host's own processes know nothing of the lab; their cgroup does.
    const group = await readFile(`/proc/${entry}/cgroup`, 'utf8').catch(() => '')
    if (parts.some((part) => [command, environment, group].some((text) => text.includes(part))))
      found.push(command.split('\0')[0] ?? '')
  }
  return found.sort()
}

async function cgroups(): Promise<string[]> {
  const roots = [
    '/sys/fs/cgroup/requorum-lab',
    '/sys/fs/cgroup/unified/requorum-lab',
    '/sys/fs/cgroup/systemd/requorum-lab',
  ]
  const found = await Promise.all(roots.map((root) => readdir(root).catch(() => [])))
  return found.flat()
}

async function nspawnLeft(tag: string): Promise<string[]> {
  const shelves = ['propagate', 'unix-export', 'locks'].map((shelf) => `/run/systemd/nspawn/${shelf}`)
  const found = await Promise.all(shelves.map((shelf) => readdir(shelf).catch(() => [])))
  return found.flat().filter((entry) => entry.includes(tag))
}

/** Those that kubelets, bridges and namespaces are known to change. */
async function sysctls(): Promise<string> {
  const names = [
    ...['vm/overcommit_memory', 'kernel/panic', 'kernel/panic_on_oops', 'kernel/keys/root_maxkeys'],
    ...[
      'net/ipv4/ip_forward',
      'net/ipv4/conf/all/forwarding',
      'net/ipv4/conf/all/rp_filter',
      'kernel/hostname',
    ],
    ...[
      'net/bridge/bridge-nf-call-iptables',
      'fs/inotify/max_user_instances',
      'kernel/core_pattern',
      'vm/swappiness',
    ],
  ]
  const values = await Promise.all(
    names.map((each) => readFile(`/proc/sys/${each}`, 'utf8').catch(() => 'none')),
  )
  return names.map((each, index) => `${each}=${values[index]?.trim() ?? ''}`).join('\n')
}
