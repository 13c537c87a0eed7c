import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { ClusterConfig } from '../../../domain/cluster-config.ts'
import { RequorumError } from '../../../domain/failures.ts'
import type { RehearsedFacts } from '../../../domain/rehearsal.ts'
import type { SnapshotManifest } from '../../../domain/snapshot.ts'
import { revision } from '../../../domain/values.ts'
import { parseEtcdJson } from '../etcd-json.ts'
import { etcdReason } from '../etcdctl.ts'
import { INVENTORY, MOST_KEYS, readInventory } from '../inventory.ts'
import { CHECK, readFacts } from '../snapshot-file.ts'
import type { OwnHost, ScriptResult } from './rehearsal-host.ts'

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8')
const REHEARSE = [
  CHECK,
  `MOST_KEYS=${MOST_KEYS}`,
  `take_inventory() (\n${INVENTORY}\n)\n`,
  read('./rehearse.sh'),
].join('\n')

const hashShape = z.tuple([
  z.object({
    HashKV: z.object({
      hash: z.bigint(),
      compact_revision: z.bigint().optional(),
    }),
  }),
])

/**
 * Restores the snapshot for real and serves it by a throwaway etcd that listens on sockets in a directory of its own:
 * loopback would be open to everybody who has a shell there, and the keyspace holds every Secret.
 *
 * @param attempt - its own directory on the host
 * @param path - of the snapshot, in it
 * @returns the reason instead of facts where it can't be restored or served: that is a word about the snapshot
 * @throws RequorumError `versions-unfit`, `step-failed`, `rehearsal-running`: words about the host
 */
export async function rehearse(
  host: OwnHost,
  { rehearsal, limits }: Pick<ClusterConfig, 'rehearsal' | 'limits'>,
  manifest: SnapshotManifest,
  {
    attempt,
    path,
    etcdVersion,
  }: { readonly attempt: string; readonly path: string; readonly etcdVersion: string },
  signal: AbortSignal,
): Promise<RehearsedFacts | { readonly failed: string }> {
  const [etcd, etcdctl, etcdutl] = toolsOf(rehearsal)
  refuseOtherMinor(manifest, etcdVersion)
  const seconds = (ms: number): string => String(Math.floor(ms / 1_000))
  const result = await host.script(
    REHEARSE,
    [
      ...[host.directory, attempt, path, manifest.revision],
      // It looks five times a second.
      ...[seconds(limits.transfer), seconds(5 * limits.start)],
      ...[etcd, etcdctl, etcdutl],
    ],
    signal,
  )
  if (result.code === 75) throw rehearsalRunning(host)
  if (result.code === 65) return { failed: `it can't be restored: ${etcdReason(result.stderr)}` }
  if (result.code === 66)
    return { failed: `it was restored and can't be served: ${etcdReason(result.stderr)}` }
  if (result.code !== 0) throw hostFailed(host, result)
  return { ...factsOf(result.stdout), etcdVersion }
}

function factsOf(stdout: string): Omit<RehearsedFacts, 'etcdVersion'> {
  const value = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(stdout)?.[1] ?? ''
  const took = (key: string): number => {
    const [from = 0, to = 0] = value(key).split(' ').map(Number)
    return Math.round((to - from) * 10) / 10
  }
  const { sha256, sizeBytes, totalKeys, hash, revision: fileRevision } = readFacts(stdout)
  const [{ HashKV }] = parseEtcdJson(hashShape, value('hashkv'), 'etcdctl endpoint hashkv')
  // -1 where nothing was ever compacted.
  const compacted = HashKV.compact_revision ?? 0n
  return {
    ...{ sha256, sizeBytes, totalKeys, hash },
    // The file's: a lease that runs out while it is served deletes its keys, and raises the etcd's own.
    revision: fileRevision,
    compactRevision: revision.parse((compacted > 0n ? compacted : 0n).toString()),
    keyspaceHash: HashKV.hash.toString(16),
    inventory: readInventory(stdout),
    seconds: { restored: took('restored'), served: took('served') },
  }
}

/**
 * What a rehearsal needs before anything is fetched for it.
 *
 * @returns the version of the host's etcd
 * @throws RequorumError `tools-missing`, `rehearsal-running`
 */
export async function prepareHost(
  host: OwnHost,
  { rehearsal }: Pick<ClusterConfig, 'rehearsal'>,
  signal: AbortSignal,
): Promise<string> {
  const { code, stdout, stderr } = await host.script(
    PREPARE,
    [join(host.directory, 'lock'), ...toolsOf(rehearsal)],
    signal,
  )
  if (code === 75) throw rehearsalRunning(host)
  const version = /^etcd Version: (\S+)/m.exec(stdout)?.[1]
  if (code === 0 && version !== undefined) return version
  throw new RequorumError('tools-missing', {
    what: `The worker's host has no ${stderr.trim() || 'etcd that tells its version'}: nothing can be rehearsed there.`,
    todo: "Put etcd, etcdctl and etcdutl of the cluster's version there, and name their directory: rehearsal.tools in the cluster's file.",
  })
}

const PREPARE = `
  lock=$1
  shift
  [ ! -e "$lock" ] || flock -n "$lock" true || exit 75
  for tool in "$@"; do command -v "$tool" >/dev/null || { echo "$tool" >&2; exit 69; }; done
  "$1" --version`

function toolsOf({ tools }: ClusterConfig['rehearsal']): [etcd: string, etcdctl: string, etcdutl: string] {
  const at = (name: string): string => (tools === undefined ? name : join(tools, name))
  return [at('etcd'), at('etcdctl'), at('etcdutl')]
}

/** What another minor makes of a snapshot is no word about it, whichever it is. */
function refuseOtherMinor({ etcd, key }: SnapshotManifest, version: string): void {
  const minor = (of: string): string => of.split('.').slice(0, 2).join('.')
  if (minor(etcd.version) === minor(version)) return
  throw new RequorumError('versions-unfit', {
    what: `${key} is of etcd ${etcd.version}, and the worker's host has etcd ${version}. Nothing was restored.`,
    todo: `Put etcd, etcdctl and etcdutl ${minor(etcd.version)} there: rehearsal.tools in the cluster's file.`,
  })
}

function rehearsalRunning(host: OwnHost): RequorumError {
  return new RequorumError('rehearsal-running', {
    what: `Another rehearsal is at work in ${host.directory} on the worker's host.`,
    todo: 'Wait for it: one at a time, because each takes as much memory as the database is large.',
  })
}

function hostFailed(host: OwnHost, { code, stderr }: ScriptResult): RequorumError {
  return new RequorumError('step-failed', {
    what: `The rehearsal in ${host.directory} on the worker's host ended with code ${code}.`,
    why:
      etcdReason(stderr) || (code >= 128 ? `signal ${code - 128}: out of memory, mostly` : 'it said nothing'),
    todo: 'A restore takes as much memory as the database is large, and twice its size on disk. Nothing is said about the snapshot.',
  })
}
