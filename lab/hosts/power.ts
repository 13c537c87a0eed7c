import { spawn } from 'node:child_process'
import { closeSync, existsSync, openSync } from 'node:fs'
import { readFile, readdir, rm, rmdir, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { errorCode } from './commands.ts'
import { identify, isRunning, processIdentity } from '../services/process.ts'
import { findHost, hostPaths, type LabHost, type LabHosts } from './lab-hosts.ts'
import { cutCable, namespaceName, plugIn, unplug } from './network.ts'

const SUPERVISE = fileURLToPath(new URL('supervise-host.sh', import.meta.url))

const CGROUPS = '/sys/fs/cgroup'

/**
 * Switches a host on with the disk that it has, and returns when its sshd answers. A host that is
 * on already is left alone. It gets a fresh network namespace, so a cable that was cut is whole.
 * @throws Error when it is not up within `limitMs`; the host is off then.
 */
export async function startHost(lab: LabHosts, hostName: string, limitMs = 60_000): Promise<void> {
  const host = findHost(lab, hostName)
  if ((await hostInit(lab, host)) === undefined) {
    await plugIn(lab, host)
    await boot(lab, host)
  }
  const deadline = Date.now() + limitMs
  while (!(await answers(host.address, host.sshPort))) {
    if (Date.now() >= deadline) {
      const log = await readFile(hostPaths(lab, hostName).consoleLog, 'utf8').catch(() => '')
      await killHost(lab, hostName)
      throw new Error(
        `Host ${hostName} of lab "${lab.name}" was started and its sshd did not answer within ${limitMs / 1000} s. ` +
          `The end of its console:\n${log.trimEnd().split('\n').slice(-15).join('\n')}`,
      )
    }
    await sleep(30)
  }
}

/**
 * Pulls the plug: every process of the host is gone at once, nothing is synced and its peers get
 * no farewell. The disk stays as it was.
 */
export async function killHost(
  lab: Pick<LabHosts, 'name' | 'dir' | 'hosts'>,
  hostName: string,
): Promise<void> {
  const host = findHost(lab, hostName)
  // The cable first: a killed process would still send a reset, which a dead machine doesn't.
  await cutCable(lab, host)
  await killGroup(lab, host)
  await unplug(lab, host)
  await removeGroup(lab, host)
  await rm(hostPaths(lab, hostName).supervisor, { force: true })
}

/** The pid, on the machine, of a host's own init; undefined when the host is off. */
export async function hostInit(
  lab: Pick<LabHosts, 'name'>,
  host: Pick<LabHost, 'name'>,
): Promise<number | undefined> {
  for (const pid of await groupMembers(lab, host)) {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
    // "NSpid: 4711 1": pid 1 of a namespace one below ours.
    if (/^NSpid:\t\d+\t1$/m.test(status)) return pid
  }
  return undefined
}

/**
 * Whether the supervisor of a host runs. A host that is on without one was cut off from whoever holds it (a SIGKILL of
 * its nspawn leaves its init alive): it can't reboot, and nobody waits for it.
 */
export async function isSupervised(
  lab: Pick<LabHosts, 'dir'>,
  host: Pick<LabHost, 'name'>,
): Promise<boolean> {
  const text = await readFile(hostPaths(lab, host.name).supervisor, 'utf8').catch(() => 'null')
  // eslint-disable-next-line no-restricted-properties -- written by boot, no numbers of 64 bits
  const supervisor = processIdentity.nullable().safeParse(JSON.parse(text))
  return supervisor.success && supervisor.data !== null && isRunning(supervisor.data)
}

/** Whether anybody still holds a host of this lab. */
export async function anySupervised(lab: Pick<LabHosts, 'dir' | 'hosts'>): Promise<boolean> {
  return (await Promise.all(lab.hosts.map((host) => isSupervised(lab, host)))).includes(true)
}

/** Whether a TCP port of the lab answers, within half a second. */
export async function answers(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port })
    const finish = (result: boolean): void => {
      socket.destroy()
      resolve(result)
    }
    socket.setTimeout(500, () => {
      finish(false)
    })
    socket.once('connect', () => {
      finish(true)
    })
    socket.once('error', () => {
      finish(false)
    })
  })
}

async function boot(lab: LabHosts, host: LabHost): Promise<void> {
  const paths = hostPaths(lab, host.name)
  const log = openSync(paths.consoleLog, 'a', 0o600)
  try {
    const child = spawn('/bin/sh', [SUPERVISE, groupName(lab, host), ...nspawnArguments(lab, host)], {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: '/',
      env: {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        // No lock files beside the root: this lab is the only one to use it.
        SYSTEMD_NSPAWN_LOCK: '0',
        // Routing and the like are the host's own: it has a network namespace.
        SYSTEMD_NSPAWN_API_VFS_WRITABLE: 'network',
      },
    })
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    child.on('error', () => undefined)
    child.unref()
    const identity = child.pid === undefined ? undefined : identify(child.pid)
    await writeFile(paths.supervisor, `${JSON.stringify(identity ?? null)}\n`, { mode: 0o600 })
  } finally {
    closeSync(log)
  }
}

function nspawnArguments(lab: LabHosts, host: LabHost): readonly string[] {
  const paths = hostPaths(lab, host.name)
  return [
    '--quiet',
    '--boot',
    '--settings=no',
    '--register=no',
    '--keep-unit',
    '--console=pipe',
    `--directory=${paths.root}`,
    `--machine=${machineName(lab, host)}`,
    `--hostname=${host.name}`,
    `--network-namespace-path=/run/netns/${namespaceName(lab, host)}`,
    '--resolv-conf=off',
    '--timezone=off',
    '--link-journal=no',
    '--capability=all',
    '--system-call-filter=add_key keyctl bpf',
    `--bind=${paths.varLib}:/var/lib`,
    // The kubelet reads the kernel's log for what the OOM killer says.
    ...(lab.profile === 'kubeadm' ? ['--bind=/dev/kmsg'] : []),
  ]
}

/** systemd-nspawn's name of the host, unique on the machine; nobody registers it. */
function machineName(lab: Pick<LabHosts, 'name'>, host: Pick<LabHost, 'name'>): string {
  return namespaceName(lab, host)
}

function groupName(lab: Pick<LabHosts, 'name'>, host: Pick<LabHost, 'name'>): string {
  return `requorum-lab/${namespaceName(lab, host)}`
}

/**
 * Kills what is in the host's cgroups. Membership there is what makes a process this host's, so a
 * pid that was used again for a stranger is never hit.
 */
async function killGroup(lab: Pick<LabHosts, 'name'>, host: LabHost): Promise<void> {
  const deadline = Date.now() + 15_000
  for (;;) {
    const members = await groupMembers(lab, host)
    if (members.length === 0) return
    if (Date.now() >= deadline) {
      throw new Error(
        `Processes ${members.join(', ')} of host ${host.name} are still there 15 s after SIGKILL, so they hang ` +
          'in the kernel. Look at /proc/PID/stack.',
      )
    }
    for (const pid of members) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // Ended since it was listed.
      }
    }
    await sleep(20)
  }
}

/** Where this machine's hierarchies begin: one of cgroup v2, or those of v1 with v2 beside them. */
async function cgroupRoots(): Promise<readonly string[]> {
  if (existsSync(join(CGROUPS, 'cgroup.procs'))) return [CGROUPS]
  const entries = await readdir(CGROUPS, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map((entry) => join(CGROUPS, entry.name))
}

async function groupMembers(
  lab: Pick<LabHosts, 'name'>,
  host: Pick<LabHost, 'name'>,
): Promise<readonly number[]> {
  const members = new Set<number>()
  for (const root of await cgroupRoots()) {
    for (const dir of await groupTree(join(root, groupName(lab, host)))) {
      const text = await readFile(join(dir, 'cgroup.procs'), 'utf8').catch(() => '')
      for (const line of text.split('\n')) {
        const pid = Number(line)
        if (pid > 0) members.add(pid)
      }
    }
  }
  return [...members]
}

async function removeGroup(lab: Pick<LabHosts, 'name'>, host: LabHost): Promise<void> {
  for (const root of await cgroupRoots()) {
    const tree = await groupTree(join(root, groupName(lab, host)))
    for (const dir of [...tree].reverse()) {
      // A group stays busy for a moment after its last process is gone.
      for (let attempt = 0; attempt < 50; attempt++) {
        const busy = await rmdir(dir).then(
          () => false,
          (error: unknown) => errorCode(error) === 'EBUSY',
        )
        if (!busy) break
        await sleep(20)
      }
    }
    // Shared by all labs: goes with the last one.
    await rmdir(join(root, 'requorum-lab')).catch(() => undefined)
  }
  for (const shelf of ['propagate', 'unix-export']) {
    const left = join('/run/systemd/nspawn', shelf, machineName(lab, host))
    await rm(left, { recursive: true, force: true })
  }
}

/** A group and all below it, parents before children; empty when it is not there. */
async function groupTree(dir: string): Promise<readonly string[]> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => undefined)
  if (entries === undefined) return []
  const below = await Promise.all(
    entries.filter((entry) => entry.isDirectory()).map((entry) => groupTree(join(dir, entry.name))),
  )
  return [dir, ...below.flat()]
}
