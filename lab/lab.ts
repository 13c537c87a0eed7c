import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { markCommand } from '../domain/drill-plan.ts'
import { DRILL_MARK } from '../domain/node-paths.ts'
import { bringUpHosts } from './hosts/bring-up.ts'
import { atConsole } from './hosts/console.ts'
import { destroyQuorum, type Destruction } from './hosts/destroy-quorum.ts'
import { FAULTS, findFault } from './hosts/faults.ts'
import {
  checkLabName,
  readLab,
  readRegisteredLab,
  type LabHosts,
  type LabProfile,
} from './hosts/lab-hosts.ts'
import { anySupervised } from './hosts/power.ts'
import { register, registeredDir, registryOf, unregister } from './hosts/registry.ts'
import { shellInto } from './hosts/secure-shell.ts'
import { hostStatus, takeDownHosts, type HostStatus } from './hosts/take-down.ts'
import { ensureBaseRoot } from './parts/base-root.ts'
import { exclusively } from './parts/exclusive.mjs'
import { ensureEtcd, wishedEtcd } from './parts/etcd.ts'
import { ensureSeedSnapshot } from './parts/seed-snapshot.ts'
import { kubernetesParts } from './parts/kubernetes.ts'
import { cacheDir, partPath, type EtcdLine } from './parts/parts.mjs'
import { findEngine, startEngine, stopEngine, type Engine } from './services/engine.ts'
import { endAllBelow } from './services/process.ts'
import { findStore, startStore, stopStore, type Store } from './services/store.ts'
import { findWorker, startWorker } from './services/worker.ts'
import { labRefusal } from './refusal.ts'
import type { Say } from './services/service.ts'

export { FAULTS } from './hosts/faults.ts'

const REPOSITORY = dirname(dirname(fileURLToPath(import.meta.url)))

/** A lab that is up: three hosts with etcd, an engine with a worker, a store with its KMS. */
export interface Lab {
  readonly name: string
  /** Everything of the lab lies below it; it is Requorum's home too. */
  readonly dir: string
  readonly hosts: LabHosts
  readonly store: Store
  readonly engine: Engine
}

export interface LabRequest {
  /** The lab's name and its cluster's; `lab` by default. */
  readonly name?: string
  /** `<repository>/.lab/<name>` by default. */
  readonly dir?: string
  /** What the hosts are; `etcd` by default. */
  readonly profile?: LabProfile
  /** Profile etcd: which etcd the hosts have; without it REQUORUM_LAB_ETCD says, else 3.5. */
  readonly etcd?: EtcdLine
  readonly say: Say
  /** Changes to the cluster file, field by field, for tests. */
  readonly cluster?: Readonly<Record<string, unknown>>
  /** More of the worker's environment, for tests. */
  readonly workerEnv?: Readonly<Record<string, string>>
  /** Sizes the hosts' disks, in bytes. */
  readonly diskBytes?: number
  /**
   * Profile etcd: members join one by one as with kubeadm, which takes longer, instead of all from the snapshot of
   * an empty etcd. The cluster's ID is then the one that the first host has when it begins anew: the impostor's trap.
   */
  readonly joinOneByOne?: boolean
}

export function labDir(name = 'lab'): string {
  return join(REPOSITORY, '.lab', name)
}

/**
 * Brings a lab up, or finds what of it runs and completes it. What a killed lab of the same name left goes first,
 * wherever it lived. A failed start takes away what it made.
 * @throws Error when a lab of this name is up from another directory.
 */
export async function labUp(request: LabRequest): Promise<Lab> {
  const name = request.name ?? 'lab'
  const dir = resolve(request.dir ?? labDir(name))
  checkLabName(name)
  checkRoot()
  return exclusively(registryOf(name), async () => {
    await reclaim(name, dir, request.say)
    const fresh = (await readLab(dir)) === undefined
    await register(name, dir)
    await mkdir(dir, { recursive: true, mode: 0o700 })
    try {
      return await bringUp(name, dir, request)
    } catch (error) {
      if (fresh) {
        // Why it did not come up is what people have to hear; what could not be cleaned up comes on top of it.
        await takeDown(name, dir, request.say).catch((failure: unknown) => {
          request.say(
            `Cleaning up failed too: ${failure instanceof Error ? failure.message : String(failure)}`,
          )
        })
      }
      throw error
    }
  })
}

async function bringUp(name: string, dir: string, request: LabRequest): Promise<Lab> {
  const { say } = request
  const profile = request.profile ?? 'etcd'
  const part = await ensureEtcd(profile === 'etcd' ? (request.etcd ?? wishedEtcd()) : '3.5', say)
  const baseRoot = await ensureBaseRoot({ cacheDir: cacheDir(), profile, say })
  const layers = [...(profile === 'kubeadm' ? [kubernetesParts().layer] : []), part.layer]
  const seed =
    profile === 'etcd' && request.joinOneByOne !== true ? { seed: await ensureSeedSnapshot(part) } : {}
  const network = Promise.withResolvers<string>()
  const [hosts, store, engine] = await allOrNothing([
    bringUpHosts({
      name,
      profile,
      dir,
      baseRoot,
      layers,
      ...seed,
      binDir: part.binDir,
      say,
      onNetwork: network.resolve,
      ...(request.diskBytes === undefined ? {} : { diskBytes: request.diskBytes }),
    }).catch((error: unknown) => {
      network.reject(error)
      throw error
    }),
    // On the lab's own network, where its hosts reach it as the nodes of a cluster do.
    network.promise.then((listenOn) => startStore({ dir: join(dir, 'store'), say, listenOn })),
    startEngineAndWorker(dir, request),
  ])
  const lab: Lab = { name, dir, hosts, store, engine }
  await writeClusterFile(lab, request.cluster ?? {})
  await markForDrills(lab)
  if (dir === labDir(name)) await writeFile(join(dirname(dir), 'home'), `${dir}\n`)
  return lab
}

function checkRoot(): void {
  if (process.getuid?.() === 0) return
  throw labRefusal('The lab makes network namespaces and mounts, which only root may.', 'Start it with sudo.')
}

/** Takes away what a lab of this name left in another directory when it was killed. One that lives is left alone. */
async function reclaim(name: string, dir: string, say: Say): Promise<void> {
  const other = await registeredDir(name)
  if (other === undefined || other === dir) return
  const hosts = await readRegisteredLab(name)
  if (hosts !== undefined && (await anySupervised(hosts))) {
    throw labRefusal(
      `A lab "${name}" is up already, from ${other}.`,
      'Take it down there (requorum lab down), or give this one another name (requorum lab up --name NAME).',
    )
  }
  say(`A lab "${name}" was killed and left things in ${other}; they go first`)
  await takeDown(name, other, say)
}

/** The worker reads the cluster's file when a run asks for it, so that it starts beside the hosts. */
async function startEngineAndWorker(dir: string, { say, workerEnv }: LabRequest): Promise<Engine> {
  const engine = await startEngine({ dir: join(dir, 'engine'), say })
  await startWorker(dir, say, workerEnv)
  return engine
}

/** As Promise.all, and nothing is still at work when it throws: what is cleaned up then stays clean. */
async function allOrNothing<Parts extends readonly unknown[]>(parts: {
  [Index in keyof Parts]: Promise<Parts[Index]>
}): Promise<Parts> {
  await Promise.allSettled(parts)
  return Promise.all(parts)
}

/** The lab of a directory as it runs, or undefined when any part of it doesn't. */
export async function findLab(name = 'lab', dir = labDir(name)): Promise<Lab | undefined> {
  const [hosts, store, engine] = await Promise.all([
    readLab(dir),
    findStore(join(dir, 'store')),
    findEngine(join(dir, 'engine')),
  ])
  return hosts === undefined || store === undefined || engine === undefined
    ? undefined
    : { name, dir, hosts, store, engine }
}

/**
 * Takes a lab down, whatever of it is left, and leaves nothing behind. One that is not there is down already.
 * @throws Error when there is none in this directory and one of its name elsewhere, which is left alone.
 */
export async function labDown(request: Pick<LabRequest, 'name' | 'dir' | 'say'>): Promise<void> {
  const name = request.name ?? 'lab'
  const dir = resolve(request.dir ?? labDir(name))
  checkRoot()
  await exclusively(registryOf(name), async () => {
    const other = await registeredDir(name)
    if (other !== undefined && other !== dir && !existsSync(dir)) {
      throw labRefusal(
        `There is no lab "${name}" in ${dir}. One of that name lives in ${other}.`,
        'Take it down from there.',
      )
    }
    await takeDown(name, dir, request.say)
  })
}

async function takeDown(name: string, dir: string, say: Say): Promise<void> {
  const known = (await registeredDir(name)) === dir ? await readRegisteredLab(name) : undefined
  const hosts = (await readLab(dir)) ?? known
  // Nothing of it is wanted again, so that nobody is given time to say farewell.
  await allOrNothing([
    endAllBelow(dir),
    hosts === undefined ? Promise.resolve() : takeDownHosts(hosts, { say }),
  ])
  // What services left outside of their directories.
  await allOrNothing([stopEngine(join(dir, 'engine')), stopStore(join(dir, 'store'))])
  const pointer = join(dirname(dir), 'home')
  if (existsSync(pointer) && (await readFile(pointer, 'utf8')).trim() === dir) await rm(pointer)
  await rm(dir, { recursive: true, force: true })
  if (hosts !== undefined) await unregister(hosts.name, dir)
  await unregister(name, dir)
}

export interface LabStatus {
  readonly name: string
  readonly dir: string
  readonly hosts: readonly HostStatus[]
  readonly engine: string | null
  readonly ui: string | null
  readonly store: string | null
  readonly worker: number | null
  /** Where the Temporal CLI of the lab's parts is. */
  readonly temporal: string
}

export async function labStatus(name = 'lab', dir = labDir(name)): Promise<LabStatus | undefined> {
  const hosts = await readLab(dir)
  if (hosts === undefined) return undefined
  const [engine, store] = await Promise.all([findEngine(join(dir, 'engine')), findStore(join(dir, 'store'))])
  return {
    name,
    dir,
    hosts: await hostStatus(hosts),
    engine: engine?.address ?? null,
    ui: engine?.uiUrl ?? null,
    store: store?.endpoint ?? null,
    worker: (await findWorker(dir)) ?? null,
    temporal: partPath('temporal'),
  }
}

/** An interactive root shell on a host. Resolves to its exit code. */
export async function labShell(host: string, name = 'lab'): Promise<number> {
  return shellInto(await hostsOf(name), host)
}

/** Breaks something on purpose. `destroy-quorum` needs no host. */
export async function labBreak(
  fault: string,
  host: string | undefined,
  name = 'lab',
): Promise<{ readonly host: string | null; readonly destroyed: Destruction | null }> {
  const hosts = await hostsOf(name)
  if (fault === 'destroy-quorum') return { host: null, destroyed: await destroyQuorum(hosts) }
  const found = findFault(fault)
  const target = host ?? hosts.hosts[0]?.name ?? ''
  const available = await found.available(hosts)
  if (!available.available)
    throw labRefusal(
      `The fault "${fault}" can't be injected here: ${available.why}.`,
      'Change that, or choose another one: requorum lab break',
    )
  await found.inject(hosts, target)
  return { host: target, destroyed: null }
}

export function faultNames(): string[] {
  return ['destroy-quorum', ...FAULTS.map((fault) => fault.name)]
}

async function hostsOf(name: string): Promise<LabHosts> {
  const hosts = await readLab(labDir(name))
  if (hosts !== undefined) return hosts
  throw labRefusal(`There is no lab "${name}" here.`, 'Bring it up: requorum lab up')
}

/** As a person marks nodes that nobody needs; its cluster file says the same. */
async function markForDrills({ name, hosts }: Lab): Promise<void> {
  const mark = `grep -qsxF ${name} ${DRILL_MARK} || { ${markCommand(name)}; }`
  await Promise.all(hosts.hosts.map((host) => atConsole(hosts, host.name, mark)))
}

/** The lab's cluster as an operator would describe it. Written anew at each start, since ports can change. */
async function writeClusterFile(lab: Lab, changes: Readonly<Record<string, unknown>>): Promise<void> {
  const { hosts, store } = lab
  const text = stringify({
    cluster: lab.name,
    nodes: hosts.hosts.map((host) => ({ name: host.name, address: host.address, user: host.sshUser })),
    ssh: { knownHosts: 'known_hosts', identityFile: 'ssh/id_ed25519' },
    etcd: { etcdctl: '/usr/local/bin/etcdctl', etcdutl: '/usr/local/bin/etcdutl' },
    store: {
      bucket: store.bucket,
      endpoint: store.endpoint,
      region: store.region,
      kmsKeyId: store.kmsKeyId,
      pathStyle: true,
      credentialsFile: relative(lab.dir, store.credentialsFile),
      profile: store.profile,
      role: store.role,
    },
    drill: { allowed: true },
    rehearsal: { tools: hosts.binDir },
    ...changes,
  })
  await mkdir(join(lab.dir, 'clusters'), { recursive: true })
  await writeFile(
    join(lab.dir, 'clusters', `${lab.name}.yaml`),
    `# Written by the lab at each start.\n${text}`,
  )
}
