import { readFileSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { z } from 'zod'
import { RequorumError } from '../../domain/failures.ts'
import type { SavedSnapshot } from '../../domain/snapshot.ts'
import { revision, sha256 } from '../../domain/values.ts'
import { lastLine, type ControlPlaneNode, type Watching } from '../node/control-plane-node.ts'
import { SHA256 } from '../node/sha256.ts'
import { runRemoteStep } from '../remote-steps/remote-steps.ts'
import { countField, parseEtcdJson } from './etcd-json.ts'
import { etcdctl, etcdReason } from './etcdctl.ts'

const script = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8')
export const CHECK = SHA256 + script('./snapshot-check.sh')
const SAVE = CHECK + script('./save-snapshot.sh')
const CHECK_FILE = `${CHECK}set -eu\ncheck_snapshot "$1" "$2"\n`

const statusShape = z.object({
  hash: countField,
  revision: z.bigint(),
  totalKey: countField,
  totalSize: countField,
})

export type SnapshotFacts = Pick<SavedSnapshot, 'sha256' | 'sizeBytes' | 'revision' | 'totalKeys' | 'hash'>

/** A source that nobody reaches for this long is given up: others can serve. */
const SOURCE_PATIENCE_MS = 30_000

/**
 * Saves the member's keyspace into a file on its own node and checks the file.
 *
 * @param step names the attempt-proof unit on the node: the same name attaches to the same save.
 * @throws RequorumError `etcd-unavailable` (another source may do), `snapshot-damaged`; and what the connection
 *   throws when the node is out of reach for half a minute.
 */
export async function saveSnapshot(
  at: ControlPlaneNode,
  step: string,
  path: string,
  watching: Watching,
): Promise<SnapshotFacts> {
  const seconds = Math.floor(at.config.limits.transfer / 1_000)
  const receipt = await runRemoteStep(
    at.shell,
    at.node,
    {
      id: step,
      script: SAVE,
      args: [path, at.config.etcd.etcdutl, ...etcdctl(at, seconds)],
      timeoutMs: at.config.limits.transfer,
    },
    { signal: watching.signal, onBeat: () => watching.onBeat(), patienceMs: SOURCE_PATIENCE_MS },
  )
  if (receipt.code === 0) return readFacts(receipt.stdout)
  const unwell = receipt.code === 75
  throw new RequorumError(unwell ? 'etcd-unavailable' : 'snapshot-damaged', {
    what: `${at.node.name}: no snapshot could be saved to ${path} (code ${receipt.code}).`,
    why: etcdReason(receipt.stderr),
    todo: unwell
      ? `Look at etcd on ${at.node.name}; another member may serve as the source.`
      : `Keep ${path} for study and look at the disk of ${at.node.name}.`,
  })
}

/** Checks a snapshot file where it lies. @throws RequorumError `snapshot-damaged` */
export async function checkSnapshotFile(
  at: ControlPlaneNode,
  path: string,
  signal: AbortSignal,
): Promise<SnapshotFacts> {
  const result = await at.shell.script(at.node, CHECK_FILE, [path, at.config.etcd.etcdutl], {
    timeoutMs: at.config.limits.transfer,
    signal,
  })
  if (result.code === 0) return readFacts(result.stdout)
  // Only 65 speaks of the file. A tool that was killed or is missing speaks of the node.
  const damaged = result.code === 65
  throw new RequorumError(damaged ? 'snapshot-damaged' : 'step-failed', {
    what: damaged
      ? `${at.node.name}: ${path} isn't a whole snapshot.`
      : `${at.node.name}: ${path} could not be checked (code ${result.code}).`,
    why: etcdReason(result.stderr),
    todo: damaged
      ? 'Take another snapshot; keep this one for study.'
      : `Look at ${at.node.name}: memory, disk, etcdutl.`,
  })
}

/** What check_snapshot printed. */
export function readFacts(stdout: string): SnapshotFacts {
  const line = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(stdout)?.[1] ?? ''
  const status = parseEtcdJson(statusShape, line('status'), 'etcdutl snapshot status')
  return {
    sizeBytes: Number(line('size')),
    sha256: sha256.parse(line('sha256')),
    revision: revision.parse(status.revision.toString()),
    totalKeys: status.totalKey,
    hash: status.hash.toString(16).padStart(8, '0'),
  }
}

/** Streams a file, or a piece of it, off the node. */
export async function readSnapshotFile(
  at: ControlPlaneNode,
  path: string,
  signal: AbortSignal,
  piece?: { readonly offset: number; readonly sizeBytes: number },
): Promise<Readable> {
  const argv =
    piece === undefined
      ? ['cat', '--', path]
      : [
          ...['dd', `if=${path}`, 'bs=1M', 'iflag=skip_bytes,count_bytes', 'status=none'],
          ...[`skip=${piece.offset}`, `count=${piece.sizeBytes}`],
        ]
  const { stdout, done } = await at.shell.read(at.node, argv, {
    timeoutMs: at.config.limits.transfer,
    signal,
  })
  done.then(
    ({ code, stderr }) => {
      if (code !== 0) stdout.destroy(new Error(`${at.node.name}: ${path}: ${lastLine(stderr)}`))
    },
    (error: unknown) => stdout.destroy(error instanceof Error ? error : new Error(String(error))),
  )
  return stdout
}

/**
 * Streams a snapshot onto the node under a partial name and gives it its own name when it is whole there.
 * @throws RequorumError `no-space`, `snapshot-damaged`
 */
export async function writeSnapshotFile(
  at: ControlPlaneNode,
  path: string,
  expected: { sha256: string; sizeBytes: number },
  source: Readable,
  signal: AbortSignal,
): Promise<void> {
  // The partial's name is this transfer's own: one that a lost connection left behind may still be written to.
  const partial = `${path}.${process.pid}-${Date.now()}.partial`
  const written = await at.shell.write(
    at.node,
    [
      'sh',
      '-c',
      'set -eu; umask 077; d=$(dirname "$1"); mkdir -p "$d"; chmod 700 "$d"; rm -f "$2".*.partial; cat >"$1"',
      'sh',
      partial,
      path,
    ],
    source,
    { timeoutMs: at.config.limits.transfer, signal },
  )
  if (written.code !== 0) {
    await at.shell.run(at.node, ['rm', '-f', partial])
    const full = /no space left/i.test(written.stderr)
    throw new RequorumError(full ? 'no-space' : 'step-failed', {
      what: `${at.node.name}: the snapshot could not be written to ${path}.`,
      why: lastLine(written.stderr) || `code ${written.code}`,
      todo: full ? `Make room on ${at.node.name}; nothing else was touched.` : 'It is tried again.',
    })
  }
  const placed = await at.shell.run(
    at.node,
    [
      'sh',
      '-c',
      'set -eu; echo "$3  $1" | sha256sum --check --status - || exit 65; sync -f "$1" 2>/dev/null || sync; mv -T "$1" "$2"',
      'sh',
      ...[partial, path, expected.sha256],
    ],
    { timeoutMs: at.config.limits.transfer, signal },
  )
  if (placed.code === 0) return
  await at.shell.run(at.node, ['rm', '-f', partial])
  throw new RequorumError(placed.code === 65 ? 'snapshot-damaged' : 'step-failed', {
    what: `${at.node.name}: what arrived at ${path} isn't the snapshot (SHA-256 differs).`,
    why: lastLine(placed.stderr) || 'the object in the store was damaged, or the transfer was',
    todo: 'The next older snapshot is taken.',
  })
}
