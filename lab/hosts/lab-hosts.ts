import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { labRefusal } from '../refusal.ts'
import { errorCode } from './commands.ts'
import { registeredHosts, registerHosts, registryOf } from './registry.ts'

/** The three control-plane hosts of every lab, in the order in which they form their cluster. */
export const HOST_NAMES = ['cp-01', 'cp-02', 'cp-03'] as const

/**
 * What the hosts of a lab are. `etcd`: a real etcd with a stand-in for the kubelet, up in seconds. `kubeadm`: a
 * whole control plane by kubeadm itself, with kubelet, containerd and three API servers.
 */
export const LAB_PROFILES = ['etcd', 'kubeadm'] as const
export type LabProfile = (typeof LAB_PROFILES)[number]

/** The unprivileged user of a lab host; it may use sudo without a password. */
export const LAB_USER = 'requorum'

const labHost = z.strictObject({
  /** Node name and host name. */
  name: z.string(),
  /** IPv4 address on the lab's bridge. */
  address: z.string(),
  sshPort: z.literal(22),
  /** Who logs in by key: root on the first host, elsewhere a user who needs sudo. */
  sshUser: z.string(),
})

const labHosts = z.strictObject({
  format: z.literal(1),
  name: z.string(),
  profile: z.enum(LAB_PROFILES).default('etcd'),
  /** Everything that the hosts keep lies below this directory. */
  dir: z.string(),
  /** IPv4 network of the lab, a /24, such as `10.71.3.0/24`. */
  subnet: z.string(),
  /** The machine's own address on the bridge: where hosts reach what runs beside them. */
  machineAddress: z.string(),
  bridge: z.string(),
  hosts: z.array(labHost),
  baseRoot: z.string(),
  /** Read-only layers over the base root, the uppermost first: etcd, and the profile's programs. */
  layers: z.array(z.string()).default([]),
  /** Directory of etcd, etcdctl and etcdutl on the machine. */
  binDir: z.string(),
  etcdVersion: z.string(),
  /** Size of the filesystem at each host's /var/lib, in bytes. */
  diskBytes: z.number(),
  /** `ext4`: an image on the machine's disk; `tmpfs`: memory, where loop devices can't be had. */
  diskKind: z.enum(['ext4', 'tmpfs']),
  createdAt: z.string(),
  /** False from the first thing made until the last: a bring-up that was killed is begun anew. */
  ready: z.boolean().default(true),
})

/** One host of a lab. */
export type LabHost = z.infer<typeof labHost>

/** A lab's hosts, as recorded in `<dir>/hosts.json`. */
export type LabHosts = z.infer<typeof labHosts>

/** Where things of one host lie on the machine. */
export interface HostPaths {
  readonly home: string
  /** The host's root as it sees it itself: the base root with its own layer on top. */
  readonly root: string
  readonly upper: string
  readonly work: string
  readonly diskImage: string
  /** The filesystem that the host has at /var/lib. */
  readonly varLib: string
  readonly consoleLog: string
  readonly supervisor: string
}

export function hostPaths(lab: Pick<LabHosts, 'dir'>, hostName: string): HostPaths {
  const home = join(lab.dir, 'hosts', hostName)
  return {
    home,
    root: join(home, 'root'),
    upper: join(home, 'upper'),
    work: join(home, 'work'),
    diskImage: join(home, 'var-lib.ext4'),
    varLib: join(home, 'var-lib'),
    consoleLog: join(home, 'console.log'),
    supervisor: join(home, 'supervisor.json'),
  }
}

/** Where the lab keeps what its clients need: private key, known hosts, etcd client certificate. */
export function labPaths(lab: Pick<LabHosts, 'dir'>): {
  readonly state: string
  readonly knownHosts: string
  readonly sshDir: string
  readonly sshKey: string
  readonly pki: string
} {
  return {
    state: join(lab.dir, 'hosts.json'),
    knownHosts: join(lab.dir, 'known_hosts'),
    sshDir: join(lab.dir, 'ssh'),
    sshKey: join(lab.dir, 'ssh', 'id_ed25519'),
    pki: join(lab.dir, 'pki'),
  }
}

/** The host of this name. @throws Error when the lab has none. */
export function findHost(lab: Pick<LabHosts, 'name' | 'hosts'>, hostName: string): LabHost {
  const host = lab.hosts.find((candidate) => candidate.name === hostName)
  if (host === undefined) {
    throw labRefusal(
      `Lab "${lab.name}" has no host "${hostName}".`,
      `Choose one of its hosts: ${lab.hosts.map((each) => each.name).join(', ')}.`,
    )
  }
  return host
}

/** Refuses names that would not fit where the lab uses them: files, links, host names. */
export function checkLabName(name: string): void {
  if (/^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$/.test(name)) return
  throw labRefusal(
    `"${name}" can't be a lab's name.`,
    'Take up to 20 lower-case letters, digits and hyphens, beginning with a letter.',
  )
}

/**
 * Six hex digits for names that the kernel limits to 15 characters (IFNAMSIZ). By the name alone: what a killed lab
 * left is found from any directory.
 */
export function labTag(lab: Pick<LabHosts, 'name'>): string {
  return createHash('sha256').update(lab.name).digest('hex').slice(0, 6)
}

/** Reads a lab's description; undefined when there is none in this directory. */
export async function readLab(dir: string): Promise<LabHosts | undefined> {
  const text = await readFile(labPaths({ dir }).state, 'utf8').catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  })
  return text === undefined ? undefined : parseLab(text, labPaths({ dir }).state)
}

/** The description of the lab of this name, as it is known on this machine; undefined when there is none. */
export async function readRegisteredLab(name: string): Promise<LabHosts | undefined> {
  const text = await registeredHosts(name)
  return text === undefined ? undefined : parseLab(text, registryOf(name))
}

function parseLab(text: string, where: string): LabHosts {
  const parsed = labHosts.safeParse(JSON.parse(text))
  if (parsed.success) return parsed.data
  throw new Error(
    `${where} is not a lab description of this version: ${parsed.error.message}. ` +
      'Take the lab down with the version that made it, or delete its directory after you looked at it.',
  )
}

export async function writeLab(lab: LabHosts): Promise<void> {
  await mkdir(lab.dir, { recursive: true, mode: 0o700 })
  const { state } = labPaths(lab)
  const text = `${JSON.stringify(lab, null, 2)}\n`
  await registerHosts(lab.name, lab.dir, text)
  await writeFile(`${state}.new`, text, { mode: 0o600 })
  await rename(`${state}.new`, state)
}

export async function forgetLab(lab: Pick<LabHosts, 'dir'>): Promise<void> {
  await rm(labPaths(lab).state, { force: true })
}
