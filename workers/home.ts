import { existsSync, readFileSync } from 'node:fs'
import { access, readdir, readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { closestName } from '../domain/closest-name.ts'
import { clusterName, mostPeople, type ClusterConfig } from '../domain/cluster-config.ts'
import { parseClusterFile, placeOfField, readClusterFile, type Finding } from '../domain/cluster-file.ts'
import { reasonOf, RequorumError } from '../domain/failures.ts'
import type { ManifestTrust } from '../domain/snapshot.ts'
import type { Identity } from '../systems/identity/identity.ts'
import { takenOnTrust } from '../systems/identity/none.ts'
import { createManifestTrust } from '../systems/identity/manifest-trust.ts'
import { createSshIdentity } from '../systems/identity/ssh.ts'

/**
 * Requorum's home directory on this machine:
 *
 *     clusters/<cluster>.yaml   one file per cluster
 *     known_hosts               host keys that are trusted, unless a cluster's file names another
 *     engine/                   the embedded engine's state, database and logs
 *
 * Relative paths in a cluster's file are relative to it; those of allowed signers to the cluster's file itself.
 */
const REPOSITORY = dirname(dirname(fileURLToPath(import.meta.url)))
const LAB_POINTER = join(REPOSITORY, '.lab', 'home')

/**
 * $REQUORUM_HOME; else the home of the lab that is up in this repository; else ~/.requorum. Always absolute;
 * it may not exist yet.
 *
 * @throws RequorumError `input-invalid` when REQUORUM_HOME isn't an absolute path.
 */
export function requorumHome(environment: NodeJS.ProcessEnv = process.env, labPointer = LAB_POINTER): string {
  const own = environment['REQUORUM_HOME']
  if (own !== undefined && own !== '') {
    if (isAbsolute(own)) return resolve(own)
    throw new RequorumError('input-invalid', {
      what: `REQUORUM_HOME is "${own}", which isn't an absolute path.`,
      todo: 'Set it to the absolute path of the directory that holds clusters/, or unset it.',
    })
  }
  return labHome(labPointer) ?? ownHome()
}

/** A pointer to a home that is gone is what a lab leaves that was cut off, and points to nothing. */
function labHome(pointer: string): string | undefined {
  try {
    const home = readFileSync(pointer, 'utf8').trim()
    return isAbsolute(home) && existsSync(home) ? home : undefined
  } catch {
    return undefined
  }
}

function ownHome(): string {
  return join(homedir(), '.requorum')
}

export function engineDir(home: string): string {
  return join(home, 'engine')
}

export function clusterFile(home: string, cluster: string): string {
  return join(home, 'clusters', `${cluster}.yaml`)
}

/** A path out of a cluster's file, made absolute. */
export function fromHome(home: string, path: string): string {
  return resolve(home, path)
}

/** What proves who may decide about a cluster, as its file says. */
export function identityFor(home: string, config: ClusterConfig): Identity {
  const signers = allowedSignersFile(home, config)
  return signers === null ? takenOnTrust : createSshIdentity(signers)
}

/** What proves that a snapshot's manifest was written by one of ours, as the cluster's file says. */
export function trustFor(home: string, { signing: { key, signers } }: ClusterConfig): ManifestTrust {
  const at = (path: string | undefined): string | null => (path === undefined ? null : fromHome(home, path))
  return createManifestTrust({ key: at(key), signers: at(signers) })
}

/** Absolute; null where no signature is asked for. */
export function allowedSignersFile(home: string, { cluster, approval }: ClusterConfig): string | null {
  switch (approval.proof) {
    case 'none':
      return null
    case 'ssh':
      return resolve(dirname(clusterFile(home, cluster)), approval.allowedSigners)
  }
}

/** The names of all clusters that have a file, sorted. Their files are not read. */
export async function listClusters(home: string): Promise<string[]> {
  const files = await readdir(join(home, 'clusters')).catch((error: unknown) => {
    if (isMissing(error)) return []
    throw unreadable(join(home, 'clusters'), error)
  })
  return files
    .filter((file) => file.endsWith('.yaml') && !file.startsWith('.'))
    .map((file) => file.slice(0, -'.yaml'.length))
    .sort()
}

/** @throws RequorumError `cluster-unknown` without a file, `config-invalid` for a bad one. */
export async function loadCluster(home: string, name: string): Promise<ClusterConfig> {
  return parseClusterFile(await readCluster(home, name), clusterFile(home, name))
}

/**
 * Everything that is wrong with a cluster's file, the files that it names included; empty when it is good.
 *
 * @throws RequorumError `cluster-unknown`
 */
export async function checkCluster(home: string, name: string): Promise<readonly Finding[]> {
  const text = await readCluster(home, name)
  const { config, findings } = readClusterFile(text, clusterFile(home, name))
  if (config === null) return findings
  return [...(await missingFiles(home, text, config)), ...(await unprovable(home, text, config))]
}

async function unprovable(home: string, text: string, config: ClusterConfig): Promise<Finding[]> {
  const faults = await identityFor(home, config).faults(mostPeople(config))
  return faults.map(({ field, what }) => ({
    ...placeOfField(text, ['approval', field]),
    field: `approval.${field}`,
    what,
  }))
}

async function readCluster(home: string, name: string): Promise<string> {
  // A name that isn't one can't have a file, and must not become a path.
  if (!clusterName.safeParse(name).success) throw await unknownCluster(home, name)
  try {
    return await readFile(clusterFile(home, name), 'utf8')
  } catch (error) {
    throw isMissing(error) ? await unknownCluster(home, name) : unreadable(clusterFile(home, name), error)
  }
}

async function missingFiles(home: string, text: string, config: ClusterConfig): Promise<Finding[]> {
  const named: { path: [string, string]; file: string | undefined }[] = [
    { path: ['ssh', 'knownHosts'], file: config.ssh.knownHosts },
    { path: ['ssh', 'identityFile'], file: config.ssh.identityFile },
    { path: ['store', 'credentialsFile'], file: config.store.credentialsFile },
    { path: ['signing', 'key'], file: config.signing.key },
    { path: ['signing', 'signers'], file: config.signing.signers },
  ]
  const findings: Finding[] = []
  for (const { path, file } of named) {
    if (file === undefined) continue
    const reason = await access(fromHome(home, file)).then(
      () => null,
      (error: unknown) => (isMissing(error) ? "doesn't exist" : reasonOf(error)),
    )
    if (reason === null) continue
    findings.push({
      ...placeOfField(text, path),
      field: path.join('.'),
      what: `${fromHome(home, file)} ${reason}`,
    })
  }
  return findings
}

async function unknownCluster(home: string, name: string): Promise<RequorumError> {
  const known = await listClusters(home)
  // A lab that is up comes first, and hides it.
  const elsewhere =
    home !== ownHome() && clusterName.safeParse(name).success && existsSync(clusterFile(ownHome(), name))
  const near = closestName(name, known)
  const otherEnding = clusterFile(home, name).replace(/\.yaml$/, '.yml')
  return new RequorumError('cluster-unknown', {
    what: `There is no cluster called "${name.slice(0, 60)}".`,
    why:
      known.length === 0
        ? `${join(home, 'clusters')} has no cluster files.`
        : `${join(home, 'clusters')} has ${known.map((one) => `${one}.yaml`).join(', ')}.`,
    todo: elsewhere
      ? `${clusterFile(ownHome(), name)} is not looked at${process.env['REQUORUM_HOME'] ? '' : ' while a lab is up'}: set REQUORUM_HOME=${ownHome()}.`
      : near !== null
        ? `Did you mean ${near}?`
        : existsSync(otherEnding)
          ? `Rename ${otherEnding} so that it ends with .yaml.`
          : known.length === 0
            ? 'Write a file for the cluster there, set REQUORUM_HOME to the right directory, or try `requorum lab up`.'
            : `Use one of these names, or write clusters/<name>.yaml.`,
  })
}

function unreadable(path: string, error: unknown): RequorumError {
  return new RequorumError(
    'config-invalid',
    {
      what: `${path} can't be read.`,
      why: reasonOf(error),
      todo: 'Give yourself the right to read it, or run the command as the user who has it.',
    },
    { cause: error },
  )
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')
}
