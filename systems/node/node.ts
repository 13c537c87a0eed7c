import { readFileSync } from 'node:fs'
import { withFullMemberList } from '../../domain/etcd-manifest.ts'
import { RequorumError } from '../../domain/failures.ts'
import type { NodeAction } from '../../domain/node-actions.ts'
import { FENCED_DIR, NODE_STATE, RECOVERIES, recoveryDir } from '../../domain/node-paths.ts'
import { humanBytes } from '../../domain/progress.ts'
import { runRemoteStep } from '../remote-steps/remote-steps.ts'
import { ACTION_SCRIPTS } from './action-scripts.ts'
import { lastLine, type ControlPlaneNode, type Watching } from './control-plane-node.ts'

export const LOCK_FILE = `${NODE_STATE}/lock`
/** Goes with the lock (node-lock.sh). */
const ROOM_FILE = `${NODE_STATE}/room`
/** Far more than the files of all steps back take. */
const ROOM_BYTES = 2 * 1_048_576

const LOCK_SCRIPT = readFileSync(new URL('./node-lock.sh', import.meta.url), 'utf8')

/**
 * Does one action of a plan, or finds that it has been done. Any number of calls, from any number of
 * workers, over lost connections and reboots, have the effect of one.
 *
 * @returns what the node said about it, one line.
 * @throws RequorumError `step-refused` when the node isn't as the plan says; `step-failed` when trying again
 *   can help; and what the connection throws.
 */
export async function performAction(
  at: ControlPlaneNode,
  recovery: string,
  step: string,
  action: NodeAction,
  watching: Watching,
): Promise<string> {
  // The way back begins here, and needs room for its receipts on a disk that may be full by now.
  if (action.kind === 'withdraw-etcd') await at.shell.run(at.node, ['rm', '-f', '--', ROOM_FILE])
  const wayBack =
    action.kind === 'withdraw-etcd' || action.kind === 'put-back' || action.kind === 'start-pods'
  const limitMs = limitOf(at.config.limits, action)
  const receipt = await runRemoteStep(
    at.shell,
    at.node,
    {
      // A limit that somebody raised before another try makes it another step; it would be refused as changed otherwise.
      id: `${recovery}.${step}${action.kind === 'promote-member' ? `-${limitMs / 1_000}s` : ''}`.toLowerCase(),
      script: ACTION_SCRIPTS[action.kind],
      args: await argumentsOf(at, recovery, action, Math.ceil(limitMs / 1_000)),
      timeoutMs: limitMs + 60_000,
    },
    { signal: watching.signal, onBeat: () => watching.onBeat() },
  )
  if (receipt.code === 0) return lastLine(receipt.stdout)
  // What ended by itself with a code of its own is definite; a unit that was killed, timed out or never began
  // says nothing about the node. The way back takes only a clear no (65) for one.
  const transient = wayBack ? receipt.code !== 65 : receipt.cause !== 'exited' || receipt.code === 75
  const code = receipt.code === 76 ? 'learner-behind' : transient ? 'step-failed' : 'step-refused'
  throw new RequorumError(code, {
    what: `${at.node.name}: "${step}" ended with code ${receipt.code}.`,
    why: lastLine(receipt.stderr) || lastLine(receipt.stdout) || 'it said nothing',
    todo: `Look at ${NODE_STATE}/steps on ${at.node.name}; the journal is ${recoveryDir(recovery)}/journal.md.`,
  })
}

/** How long an action may take, in milliseconds. */
function limitOf(limits: ControlPlaneNode['config']['limits'], { kind }: NodeAction): number {
  if (['restore', 'compact', 'defragment', 'remove-aside'].includes(kind)) return limits.transfer
  // A learner copies the whole database before it can be promoted.
  return kind === 'promote-member' ? limits.start : limits.stop
}

async function argumentsOf(
  at: ControlPlaneNode,
  recovery: string,
  action: NodeAction,
  limitSeconds: number,
): Promise<string[]> {
  const directory = recoveryDir(recovery)
  const limit = String(limitSeconds)
  switch (action.kind) {
    case 'stop-pods':
      return [
        ...[directory, action.from, action.to, limit, at.node.name, action.dataDir],
        ...[(action.kill ?? []).join(','), ...action.pods],
      ]
    case 'fence-pods':
      return [
        ...[FENCED_DIR, action.from, action.to, limit, at.node.name, action.dataDir],
        ...[(action.kill ?? []).join(','), ...action.pods],
      ]
    case 'set-aside':
      return [directory, action.from, action.to]
    case 'restore':
      return [
        ...[
          directory,
          action.file,
          action.sha256,
          action.staging,
          action.dataDir,
          action.name,
          action.peerUrl,
        ],
        ...[action.initialCluster, action.token, action.bump, action.owner, action.mode, action.etcdutl],
      ]
    case 'start-etcd': {
      // Made from the bytes that were kept on the node, and held against the digest in the plan over there.
      const text =
        action.manifest ?? withFullMemberList(await readNodeFile(at, action.kept), action.initialCluster)
      const encoded = Buffer.from(text).toString('base64')
      return [directory, action.kept, action.to, action.manifestSha256, encoded]
    }
    case 'start-pods':
      return [directory, action.from, action.to, ...action.pods]
    case 'withdraw-etcd':
      return [directory, action.kept, action.from, action.to, limit, at.node.name, action.dataDir]
    case 'put-back':
      return [directory, action.aside, action.dataDir, action.undone]
    case 'remove-leases':
      return [directory, String(action.prefixes.length), ...action.prefixes, ...action.etcdctl]
    case 'remove-member':
      return [directory, action.id, action.peerUrl, ...action.etcdctl]
    case 'make-data-dir':
      return [directory, action.path, action.aside, action.owner, action.mode]
    case 'add-learner':
      return [directory, action.name, action.peerUrl, ...action.etcdctl]
    case 'promote-member':
      return [directory, action.peerUrl, limit, ...action.etcdctl]
    case 'compact':
      return [directory, action.revision, ...action.etcdctl]
    case 'defragment':
      return [directory, ...action.etcdctl]
    case 'remove-aside':
      return [
        ...[directory, action.dataDir, action.backups, RECOVERIES],
        ...action.items.flatMap(({ path, seen }) => [path, seen]),
      ]
    case 'take-back':
      return [directory, action.aside, action.dataDir, action.inode ?? '']
    case 'return-pods':
      return [
        ...[directory, action.from, action.to, action.started],
        ...action.pods.flatMap(({ pod, sha256 }) => [pod, sha256]),
      ]
    case 'plant-broken-log':
      return [directory, action.path, action.aside, action.owner, action.mode]
  }
}

async function readNodeFile(at: ControlPlaneNode, path: string): Promise<string> {
  const result = await at.shell.run(at.node, ['cat', '--', path])
  if (result.code === 0) return result.stdout
  throw new RequorumError('step-refused', {
    what: `${at.node.name}: ${path} can't be read.`,
    why: lastLine(result.stderr),
    todo: 'Look at the node; somebody or something else has changed it.',
  })
}

/**
 * Whole or not at all, the name included. A worker that dies while it sends ends the input like one that has sent
 * everything, so the size is held against what it was to be; and what two attempts write never meets.
 */
export const WRITE_FILE = [
  'set -eu',
  'umask 077',
  'mkdir -p "$(dirname "$1")"',
  'partial=$1.$$.partial',
  `trap 'rm -f "$partial"' EXIT`,
  'cat >"$partial"',
  '[ "$(wc -c <"$partial")" -eq "$2" ] || { echo "not all of it arrived" >&2; exit 75; }',
  'sync -f "$partial" 2>/dev/null || sync',
  'mv -T "$partial" "$1"',
].join('\n')

/** Writes a small file, whole or not at all; whoever is killed meanwhile leaves what was there. */
export async function writeNodeFile(at: ControlPlaneNode, path: string, text: string): Promise<void> {
  const size = String(Buffer.byteLength(text))
  const result = await at.shell.run(at.node, ['sh', '-c', WRITE_FILE, 'sh', path, size], { stdin: text })
  if (result.code === 0) return
  throw new RequorumError(result.code === 75 ? 'step-failed' : 'step-refused', {
    what: `${at.node.name}: ${path} can't be written.`,
    why: lastLine(result.stderr),
    todo: result.code === 75 ? 'It is tried again.' : 'Look for a full or read-only filesystem on the node.',
  })
}

/** Holds some room until the node is let go of, so that a way back is there even when the disk has run full. */
export async function reserveRoom(at: ControlPlaneNode): Promise<void> {
  const result = await at.shell.run(at.node, [
    'sh',
    '-c',
    'set -eu; umask 077; [ -s "$1" ] || fallocate -l "$2" "$1" 2>/dev/null || head -c "$2" /dev/zero >"$1"',
    'sh',
    ROOM_FILE,
    String(ROOM_BYTES),
  ])
  if (result.code === 0) return
  throw new RequorumError('no-space', {
    what: `${at.node.name}: ${humanBytes(ROOM_BYTES)} for the way back can't be reserved in ${NODE_STATE}.`,
    why: lastLine(result.stderr),
    todo: 'Make room on the node and start again.',
  })
}

/** @throws RequorumError `lock-held` naming the recovery that holds the node. */
export async function acquireLock(at: ControlPlaneNode, owner: string): Promise<void> {
  const result = await at.shell.script(at.node, LOCK_SCRIPT, ['acquire', LOCK_FILE, owner])
  if (result.code === 0) return
  const [holder = 'somebody', since = 'an unknown time'] = result.stdout.trim().split('\n')
  throw new RequorumError('lock-held', {
    what: `${at.node.name} is held by ${holder} since ${since}.`,
    ...(result.code === 65 ? {} : { why: lastLine(result.stderr) }),
    todo: `See what that run is doing: requorum status ${at.config.cluster}. If it is gone for good: requorum adopt ${at.config.cluster}`,
  })
}

/** Takes a lock from its holder, who is gone; or takes it, where nobody has it. @throws RequorumError `lock-held` */
export async function takeOverLock(at: ControlPlaneNode, from: string, owner: string): Promise<void> {
  await at.shell.script(at.node, LOCK_SCRIPT, ['release', LOCK_FILE, from])
  await acquireLock(at, owner)
}

/** Lets go of a lock that is ours; somebody else's is left alone. */
export async function releaseLock(at: ControlPlaneNode, owner: string): Promise<void> {
  await at.shell.script(at.node, LOCK_SCRIPT, ['release', LOCK_FILE, owner])
}
