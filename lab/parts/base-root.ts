import { createHash } from 'node:crypto'
import { mkdir, readFile, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../hosts/commands.ts'
import type { LabProfile } from '../hosts/lab-hosts.ts'
import { identify } from '../services/process.ts'
import {
  aptProxyOptions,
  debianArchitecture,
  distributionCodename,
  distributionSources,
  ensureCommands,
  sourceLine,
} from './debian-archive.ts'

/** What every lab host has besides Debian's essential packages. */
const COMMON_PACKAGES = [
  'systemd',
  'systemd-sysv',
  'dbus',
  'openssh-server',
  'iproute2',
  'procps',
  'util-linux',
  'ca-certificates',
  'sudo',
  'gawk',
  'gzip',
  'zstd',
  'curl',
  'openssl',
  'less',
]

const PROFILE_PACKAGES: Readonly<Record<LabProfile, readonly string[]>> = {
  // For the kubelet stand-in alone; nothing of Requorum leans on Python.
  etcd: ['python3', 'python3-yaml'],
  kubeadm: [
    ...['containerd', 'runc', 'containernetworking-plugins'],
    // What kubeadm's preflight and kube-proxy look for.
    ...['conntrack', 'ethtool', 'iptables', 'kmod', 'mount', 'socat'],
    // The load balancer in front of the API servers runs from this root, outside of the hosts.
    'haproxy',
  ],
}

/** Left out: they wait for the network, poke at the machine's disks or kernel, want a terminal, or only take time. */
const MASKED_UNITS = [
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'dpkg-db-backup.timer',
  'e2scrub_all.timer',
  'e2scrub_reap.service',
  'fstrim.timer',
  'systemd-tmpfiles-clean.timer',
  'modprobe@.service',
  'systemd-modules-load.service',
  'systemd-journal-flush.service',
  'systemd-update-utmp.service',
  'systemd-update-utmp-runlevel.service',
  'dev-hugepages.mount',
  'dev-mqueue.mount',
  'console-getty.service',
  'getty.target',
  'systemd-networkd.service',
  'systemd-resolved.service',
  'systemd-timesyncd.service',
  'sys-kernel-debug.mount',
  'sys-kernel-tracing.mount',
  'haproxy.service',
]

const UNWANTED_PATHS = ['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/locale/*', '/usr/share/info/*']

/** Raise it when the steps below change what comes out, so that cached roots are made anew. */
const RECIPE_REVISION = 4

export interface BaseRootOptions {
  /** Where parts are kept between runs; made when missing. */
  readonly cacheDir: string
  /** What the hosts will be: each profile has a root of its own. */
  readonly profile: LabProfile
  readonly say: (line: string) => void
}

/**
 * Makes sure that the tools for lab hosts are installed and that the root filesystem below all of
 * them exists, and returns its directory. The first time takes about a minute; afterwards it is
 * instant, until the recipe or the distribution changes. The directory is a read-only lower layer:
 * nobody may write to it.
 *
 * It is built beside its place and renamed when whole, so an interrupted build leaves no half root.
 */
export async function ensureBaseRoot(options: BaseRootOptions): Promise<string> {
  const { say } = options
  await ensureCommands(
    {
      'systemd-nspawn': 'systemd-container',
      mmdebstrap: 'mmdebstrap',
      ip: 'iproute2',
      ssh: 'openssh-client',
      openssl: 'openssl',
      'mkfs.ext4': 'e2fsprogs',
      nsenter: 'util-linux',
    },
    say,
  )
  const codename = await distributionCodename()
  const architecture = await debianArchitecture()
  const packages = [...COMMON_PACKAGES, ...PROFILE_PACKAGES[options.profile]]
  const recipe = JSON.stringify({ codename, architecture, packages, MASKED_UNITS, RECIPE_REVISION })
  const key = createHash('sha256').update(recipe).digest('hex').slice(0, 12)
  const shelf = join(options.cacheDir, 'base-root')
  const finished = join(shelf, `${codename}-${architecture}-${key}`)
  if (await hasStamp(finished, recipe)) return join(finished, 'root')

  await mkdir(shelf, { recursive: true })
  await dropAbandoned(shelf)
  const partial = join(shelf, `.partial-${process.pid}-${Date.now()}`)
  try {
    await mkdir(partial)
    await build(join(partial, 'root'), codename, packages, say)
    await writeFile(join(partial, 'recipe.json'), recipe)
    await publish(partial, finished, recipe)
  } finally {
    await rm(partial, { recursive: true, force: true })
  }
  return join(finished, 'root')
}

async function build(
  root: string,
  codename: string,
  packages: readonly string[],
  say: (line: string) => void,
): Promise<void> {
  const sources = await Promise.all((await distributionSources()).map((source) => sourceLine(source)))
  const proxies = await aptProxyOptions()
  say(`Building the base root of the lab's hosts (${codename}, about a minute)`)
  await run(
    'mmdebstrap',
    [
      '--mode=root',
      '--variant=minbase',
      `--include=${packages.join(',')}`,
      '--aptopt=Acquire::Languages "none"',
      ...proxies.map((option) => `--aptopt=${option.replace(/;$/, '')}`),
      ...UNWANTED_PATHS.map((path) => `--dpkgopt=path-exclude=${path}`),
      codename,
      root,
      '-',
    ],
    {
      input: `${sources.join('\n')}\n`,
      timeoutMs: 1_800_000,
      onLine: (line) => {
        if (line.startsWith('I: ')) say(`  ${line.slice(3)}`)
      },
    },
  )
  await Promise.all([
    // Each host gets its own; two hosts with one key would hide a changed-host-key fault.
    run('sh', ['-c', 'rm -f "$1"/etc/ssh/ssh_host_*', 'sh', root]),
    rm(join(root, 'etc/machine-id'), { force: true }),
    rm(join(root, 'etc/hostname'), { force: true }),
    rm(join(root, 'etc/resolv.conf'), { force: true }),
    rm(join(root, 'var/lib/dbus/machine-id'), { force: true }),
    ...MASKED_UNITS.map(async (unit) => {
      const link = join(root, 'etc/systemd/system', unit)
      await rm(link, { force: true })
      await symlink('/dev/null', link)
    }),
  ])
  // The login of hosts where a person has no root login; no password fits '*', a key does.
  await run('chroot', [
    root,
    'useradd',
    '--create-home',
    '--shell',
    '/bin/bash',
    '--password',
    '*',
    'requorum',
  ])
}

/** Puts a whole build into place; a build that somebody else finished first is as good. */
async function publish(partial: string, finished: string, recipe: string): Promise<void> {
  try {
    await rename(partial, finished)
  } catch (error) {
    if (await hasStamp(finished, recipe)) return
    throw error
  }
}

async function hasStamp(finished: string, recipe: string): Promise<boolean> {
  const stamp = await readFile(join(finished, 'recipe.json'), 'utf8').catch(() => undefined)
  return stamp === recipe
}

/** Removes what builds that were killed left behind; a build that runs elsewhere keeps its directory. */
async function dropAbandoned(shelf: string): Promise<void> {
  for (const entry of await readdir(shelf)) {
    const owner = /^\.partial-(\d+)-/.exec(entry)?.[1]
    if (owner === undefined || identify(Number(owner)) !== undefined) continue
    await rm(join(shelf, entry), { recursive: true, force: true })
  }
}
