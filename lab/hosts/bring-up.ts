import { access, constants } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { run } from './commands.ts'
import { mountDisks } from './disks.ts'
import { joinOneByOne, seedMembers, startSeeded, waitForAll } from './form-cluster.ts'
import { furnishHost, makeSshKeys } from './host-files.ts'
import { formControlPlane } from './kubeadm/control-plane.ts'
import { raiseInotifyLimit } from './kubeadm/inotify.ts'
import { startLoadBalancer } from './kubeadm/load-balancer.ts'
import {
  HOST_NAMES,
  LAB_USER,
  checkLabName,
  readLab,
  writeLab,
  type LabHosts,
  type LabProfile,
} from './lab-hosts.ts'
import { bridgeName, claimSubnet, layBridge } from './network.ts'
import { labRefusal } from '../refusal.ts'
import { makePki } from './pki.ts'
import { hostInit, isSupervised, killHost, startHost } from './power.ts'
import { takeDownHosts } from './take-down.ts'

const GIB = 1024 ** 3

/** Room at /var/lib of each host unless asked otherwise, sparse: containerd's images are most of the second. */
const DEFAULT_DISK_BYTES: Readonly<Record<LabProfile, number>> = { etcd: 2 * GIB, kubeadm: 6 * GIB }

/** How long hosts that were started again wait for their etcd before they are handed over as they are. */
const RESUME_LIMIT_MS: Readonly<Record<LabProfile, number>> = { etcd: 30_000, kubeadm: 180_000 }

export interface BringUpOptions {
  /** Up to 20 lower-case letters, digits and hyphens. */
  readonly name: string
  /** Where the lab lives; made when missing. Colons and commas can't be in the path (overlayfs). */
  readonly dir: string
  /** `etcd` by default. */
  readonly profile?: LabProfile
  /** From ensureBaseRoot, for the same profile. */
  readonly baseRoot: string
  /** What lies over the base root, the uppermost first: from ensureEtcd and, profile kubeadm, ensureKubernetes. */
  readonly layers: readonly string[]
  /** Directory with etcd, etcdctl and etcdutl, from ensureEtcd. */
  readonly binDir: string
  /** Size of each host's /var/lib in bytes; 2 GiB by default, 6 GiB for kubeadm. */
  readonly diskBytes?: number
  /**
   * Profile etcd: a snapshot of an empty etcd, from ensureSeedSnapshot, from which all members start at once.
   * Without it they join one by one, which takes longer and gives the member IDs that kubeadm's way gives.
   */
  readonly seed?: string
  /** Told as soon as the machine has its address on the lab's network. */
  readonly onNetwork?: (machineAddress: string) => void
  readonly say: (line: string) => void
}

/**
 * Brings up three hosts with an etcd cluster as kubeadm would have formed it. A lab that is up in
 * this directory is completed (hosts that are off are started) and returned. When anything fails,
 * everything that this call made is taken away again.
 */
export async function bringUpHosts(options: BringUpOptions): Promise<LabHosts> {
  const { say } = options
  const dir = resolve(options.dir)
  checkOptions(options, dir)
  const known = await readLab(dir)
  if (known?.ready === true) return resume(known, options)
  if (known !== undefined) {
    say('An earlier bring-up did not finish; its remains go first')
    await takeDownHosts(known, { say })
  }
  const version = await etcdVersion(options.binDir)
  await access(join(options.baseRoot, 'usr')).catch(() => {
    throw new Error(`There is no base root at ${options.baseRoot}. Run the lab's set-up so that it is built.`)
  })

  const profile = options.profile ?? 'etcd'
  const claim = { name: options.name, dir }
  const prefix = await claimSubnet(claim)
  let lab: LabHosts = {
    format: 1,
    name: options.name,
    profile,
    dir,
    subnet: `${prefix}.0/24`,
    machineAddress: `${prefix}.1`,
    bridge: bridgeName(claim),
    hosts: HOST_NAMES.map((name, index) => ({
      name,
      address: `${prefix}.${11 + index}`,
      sshPort: 22,
      sshUser: index === 0 ? 'root' : LAB_USER,
    })),
    baseRoot: options.baseRoot,
    layers: [...options.layers],
    binDir: options.binDir,
    etcdVersion: version,
    diskBytes: options.diskBytes ?? DEFAULT_DISK_BYTES[profile],
    diskKind: 'ext4',
    createdAt: new Date().toISOString(),
    ready: false,
  }
  try {
    // Recorded before anything is made: a run that is killed can be taken down from this.
    await writeLab(lab)
    if (profile === 'kubeadm') await raiseInotifyLimit(lab)
    say(`Three hosts for lab "${lab.name}" on ${lab.subnet}`)
    const mounting = lab.hosts.map((host) => mountDisks(lab, host.name))
    const pki = profile === 'etcd' ? [makePki(lab)] : []
    const laid = layBridge(lab).then(() => options.onNetwork?.(lab.machineAddress))
    await allDone([...mounting, laid, makeSshKeys(lab), ...pki])
    const kinds = await Promise.all(mounting)
    if (kinds.includes('tmpfs')) {
      lab = { ...lab, diskKind: 'tmpfs' }
      say('No loop devices here: /var/lib of the hosts is in memory')
    }
    const ready = { ...lab, ready: true }
    await allDone([
      ...ready.hosts.map(async (host) => {
        await furnishHost(ready, host)
        await startHost(ready, host.name)
        say(`${host.name} is up at ${host.address}`)
      }),
      ...(options.seed === undefined ? [] : [seedMembers(ready, options.seed)]),
    ])
    await form(ready, options.seed, say)
    await writeLab(ready)
    return ready
  } catch (error) {
    await takeDownHosts(lab, { say }).catch((failure: unknown) => {
      say(
        `Cleaning up after that failed too: ${failure instanceof Error ? failure.message : String(failure)}`,
      )
    })
    throw error
  }
}

async function form(lab: LabHosts, seed: string | undefined, say: (line: string) => void): Promise<void> {
  if (lab.profile === 'kubeadm') await formControlPlane(lab, await startLoadBalancer(lab, say), say)
  else if (seed === undefined) await joinOneByOne(lab, say)
  else await startSeeded(lab, say)
}

/**
 * Starts what is off, after the machine restarted or a fault left a host dead. What etcd makes of
 * its data then is etcd's affair: a lab that was broken on purpose stays broken.
 */
async function resume(lab: LabHosts, options: BringUpOptions): Promise<LabHosts> {
  if (lab.name !== options.name) {
    throw labRefusal(
      `${lab.dir} holds lab "${lab.name}", not "${options.name}".`,
      'Use another directory, or take that lab down.',
    )
  }
  if (lab.profile !== (options.profile ?? 'etcd')) {
    throw otherLab(lab, `with profile ${lab.profile}`)
  }
  const version = await etcdVersion(options.binDir)
  if (lab.etcdVersion !== version) {
    throw otherLab(lab, `with etcd ${lab.etcdVersion}, and etcd ${version} was asked for`)
  }
  const inits = await Promise.all(
    lab.hosts.map(async (host) => {
      const init = await hostInit(lab, host)
      if (init === undefined || (await isSupervised(lab, host))) return init
      // Its nspawn was killed and the host lives on: it could not even reboot.
      await killHost(lab, host.name)
      return undefined
    }),
  )
  if (inits.every((init) => init !== undefined)) {
    options.onNetwork?.(lab.machineAddress)
    if (lab.profile === 'kubeadm') await startLoadBalancer(lab, options.say)
    options.say(`Lab "${lab.name}" is up already on ${lab.subnet}`)
    return lab
  }
  options.say(`Starting the hosts of lab "${lab.name}" that are off`)
  await layBridge(lab)
  options.onNetwork?.(lab.machineAddress)
  if (lab.profile === 'kubeadm') await startLoadBalancer(lab, options.say)
  await allDone(
    lab.hosts.map(async (host) => {
      await mountDisks(lab, host.name)
      await startHost(lab, host.name)
    }),
  )
  await waitForAll(lab, RESUME_LIMIT_MS[lab.profile]).catch((error: unknown) => {
    options.say(`The hosts are up; ${error instanceof Error ? error.message : String(error)}`)
  })
  return lab
}

function otherLab({ name }: LabHosts, how: string): Error {
  return labRefusal(
    `Lab "${name}" is up ${how}.`,
    'Take it down first, or give the other one a name of its own.',
  )
}

function checkOptions(options: BringUpOptions, dir: string): void {
  checkLabName(options.name)
  if (/[:,\\]/.test(dir + options.baseRoot)) {
    throw labRefusal(
      `The lab can't live in ${dir}: overlayfs takes no colon, comma or backslash in a path.`,
      'Move the repository, or its cache (REQUORUM_CACHE), to a path without them.',
    )
  }
}

/**
 * Waits for the end of all, whatever becomes of one: what still ran after a failure would put up
 * again what the clean-up takes down.
 */
async function allDone(work: readonly Promise<unknown>[]): Promise<void> {
  await Promise.allSettled(work)
  await Promise.all(work)
}

async function etcdVersion(binDir: string): Promise<string> {
  for (const name of ['etcd', 'etcdctl', 'etcdutl']) {
    await access(join(binDir, name), constants.X_OK).catch(() => {
      throw new Error(
        `${binDir} has no executable ${name}. Run the lab's set-up so that etcd is fetched again.`,
      )
    })
  }
  const { stdout } = await run(join(binDir, 'etcd'), ['--version'])
  const version = /^etcd Version: (\S+)$/m.exec(stdout)?.[1]
  if (version === undefined) throw new Error(`${binDir}/etcd did not say which version it is.`)
  return version
}
