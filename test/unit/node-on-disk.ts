/**
 * A node's disk in a temporary directory, and the real scripts of the actions run on it by the real shell.
 *
 * Any command of a script can be its last: `killAt` puts a shim before the tools that change something, which
 * kills the shell at the n-th of them, before, in the middle of or after its work.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { withFullMemberList } from '../../domain/etcd-manifest.ts'
import type { NodeAction } from '../../domain/node-actions.ts'
import { NODE_STATE, RECOVERIES, recoveryDir } from '../../domain/node-paths.ts'
import { planRestore, stepsBeforeOpen, undoSteps } from '../../domain/restore-plan.ts'
import { ACTION_SCRIPTS } from '../../systems/node/action-scripts.ts'
import { clusterConfig, kubeadmManifest, quorumLost, RECOVERY, snapshotOf } from './examples.ts'

/** Memory where there is some: the scripts sync, and a busy disk takes seconds for it. */
const scratch = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

/** A PID namespace hides the lab's own etcd, which a waiting action would wait for; null where there is none. */
const isolation: readonly string[] | null =
  [
    ['unshare', '--pid', '--fork', '--mount-proc'],
    ['unshare', '--user', '--map-root-user', '--pid', '--fork', '--mount-proc'],
  ].find(([command = '', ...args]) => spawnSync(command, [...args, 'true']).status === 0) ?? null

/** Why tests that wait for processes can't be run here, or false. */
export const NO_ISOLATION: string | false = isolation === null ? 'unshare makes no PID namespace here' : false

/** The tools with which the scripts change something; `etcdutl` is the fake below. */
const CHANGERS = ['cp', 'mv', 'rm', 'mkdir', 'chown', 'chmod', 'base64', 'etcdutl']

export interface Killing {
  /** Counted from 1 over the commands that change something. */
  readonly at: number
  readonly when: 'before' | 'middle' | 'after'
}

export interface Ended {
  /** null when it was killed. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export const SNAPSHOT_BYTES = 'the bytes of a snapshot\n'.repeat(50)

export class NodeOnDisk {
  readonly root: string
  readonly manifests: string
  readonly dataDir: string
  readonly recovery: string
  /** What a restore of this cluster does on this node, in order, and what its undo does. */
  readonly forward: readonly NodeAction[]
  readonly back: readonly NodeAction[]
  readonly #node: string

  constructor({ pods = ['etcd', 'kube-apiserver'], data = true, node = 'cp-01' } = {}) {
    this.root = mkdtempSync(join(scratch, 'requorum-node-'))
    this.manifests = join(this.root, 'manifests')
    this.dataDir = join(this.root, 'lib/etcd')
    this.recovery = this.#here(recoveryDir(RECOVERY))
    this.#node = node
    this.#layOut(pods, data)

    const snapshotSha = createHash('sha256').update(SNAPSHOT_BYTES).digest('hex')
    const base = clusterConfig({ backup: { directory: join(this.root, 'backups') } })
    const config = {
      ...base,
      etcd: { ...base.etcd, manifests: this.manifests, dataDir: this.dataDir, etcdutl: 'etcdutl' },
    }
    const survey = quorumLost({ staticPods: pods }).map((found) => ({
      ...found,
      etcdManifest: kubeadmManifest(found.node).replaceAll('/var/lib/etcd', this.dataDir),
      dataDir: {
        ...found.dataDir,
        path: this.dataDir,
        exists: data,
        owner: `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`,
      },
    }))
    const plan = planRestore(
      config,
      RECOVERY,
      survey,
      snapshotOf('2026-11-22T02:00:00.000Z', { sha256: snapshotSha }),
    )
    const mine = (steps: ReturnType<typeof stepsBeforeOpen>) =>
      steps.flatMap((step) => step.actions.flatMap((one) => (one.node === node ? [one.action] : [])))
    this.forward = mine(stepsBeforeOpen(plan))
    this.back = mine(undoSteps(plan))
    writeFileSync(join(this.root, `backups/staged-${snapshotSha.slice(0, 16)}.db`), SNAPSHOT_BYTES)
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true })
  }

  read(path: string): string {
    return readFileSync(join(this.root, path), 'utf8')
  }

  write(path: string, text: string): void {
    writeFileSync(join(this.root, path), text)
  }

  /** A command of the node, found before those of this machine. */
  addTool(name: string, script: string): void {
    this.write(`bin/${name}`, script)
    chmodSync(join(this.root, 'bin', name), 0o755)
  }

  exists(path: string): boolean {
    return existsSync(join(this.root, path))
  }

  /** Runs the script of an action, as it is sent to a node. `beside`: a command that runs on the node meanwhile. */
  perform(
    action: NodeAction,
    options: { kill?: Killing; limitSeconds?: number; beside?: string } = {},
  ): Ended {
    return this.run(
      ACTION_SCRIPTS[action.kind],
      this.#argumentsOf(action, options.limitSeconds ?? 1),
      options,
    )
  }

  run(
    script: string,
    args: readonly string[],
    { kill, beside }: { kill?: Killing; beside?: string } = {},
  ): Ended {
    const file = join(this.root, 'script.sh')
    writeFileSync(file, script)
    rmSync(join(this.root, 'count'), { force: true })
    const path = [
      ...(kill ? [join(this.root, 'shims')] : []),
      join(this.root, 'bin'),
      process.env['PATH'] ?? '',
    ]
    // The shell in between is the first process of its namespace, which a signal from within can't end.
    const argv = [
      ...(isolation ?? []),
      'sh',
      '-c',
      beside === undefined ? '"$@"; exit $?' : `${beside} & sleep 0.2; "$@"; exit $?`,
      'sh',
      'dash',
      file,
      ...args,
    ]
    const { status, stdout, stderr } = spawnSync(argv[0]!, argv.slice(1), {
      encoding: 'utf8',
      env: {
        ...process.env,
        PATH: path.join(':'),
        NODE_ROOT: this.root,
        KILL_AT: String(kill?.at ?? 0),
        KILL_WHEN: kill?.when ?? '',
      },
    })
    return { code: status === 137 ? null : status, stdout, stderr }
  }

  /**
   * Everything below some paths: type, mode, owner, content, and the time of files. A directory that
   * had an entry moved has another time, and nobody can give it back.
   */
  state(...paths: readonly string[]): Record<string, string> {
    const seen: Record<string, string> = {}
    const look = (path: string): void => {
      const full = join(this.root, path)
      if (!existsSync(full)) return
      const stat = lstatSync(full, { bigint: true })
      const entry = `${stat.mode.toString(8)} ${stat.uid}:${stat.gid}`
      if (stat.isDirectory()) {
        seen[path] = entry
        for (const name of readdirSync(full)) look(join(path, name))
      } else {
        seen[path] =
          `${entry} ${stat.mtimeNs} ${createHash('sha256').update(readFileSync(full)).digest('hex')}`
      }
    }
    for (const path of paths) look(path)
    return seen
  }

  /** What another run of the same restore has to end in, wherever its root is: no times and no log. */
  outcome(): Record<string, string> {
    return Object.fromEntries(
      Object.entries(this.state('manifests', 'lib', 'state'))
        .filter(([path]) => !path.endsWith('/done.log'))
        .map(([path, entry]) => {
          const [mode = '', owner = '', isFile] = entry.split(' ')
          const text = isFile === undefined ? '' : this.read(path).replaceAll(this.root, '')
          return [path, `${mode} ${owner} ${text}`]
        }),
    )
  }

  #here(path: string): string {
    return path.replace(NODE_STATE, join(this.root, 'state'))
  }

  #layOut(pods: readonly string[], data: boolean): void {
    for (const [directory, mode] of [
      ['manifests', 0o755],
      ['backups', 0o700],
      ['bin', 0o755],
      ['shims', 0o755],
      ['lib', 0o755],
      // The journal makes it before the first action.
      [this.recovery.slice(this.root.length + 1), 0o700],
    ] as const) {
      mkdirSync(join(this.root, directory), { recursive: true, mode })
    }
    this.addTool('etcdutl', FAKE_ETCDUTL)
    this.addTool('systemctl', FAKE_SYSTEMCTL)
    for (const tool of CHANGERS) {
      this.write(`shims/${tool}`, SHIM)
      chmodSync(join(this.root, 'shims', tool), 0o755)
    }

    for (const [index, pod] of pods.entries()) {
      const file = join(this.manifests, `${pod}.yaml`)
      const text =
        pod === 'etcd' ? kubeadmManifest(this.#node).replaceAll('/var/lib/etcd', this.dataDir) : `# ${pod}\n`
      writeFileSync(file, text, { mode: 0o600 })
      utimesSync(file, 1_700_000_000, 1_700_000_000.25 + index)
    }
    if (!data) return
    for (const directory of ['', 'member', 'member/snap', 'member/wal']) {
      mkdirSync(join(this.dataDir, directory), { mode: 0o700 })
    }
    for (const file of ['member/snap/db', 'member/wal/0.wal']) {
      writeFileSync(join(this.dataDir, file), `old ${file}`, { mode: 0o600 })
      utimesSync(join(this.dataDir, file), 1_600_000_000, 1_600_000_000.125)
    }
  }

  /** As systems/node/node.ts hands them over, with Requorum's own directory moved below the root. */
  #argumentsOf(action: NodeAction, limitSeconds: number): string[] {
    const limit = String(limitSeconds)
    const args = (): string[] => {
      switch (action.kind) {
        case 'stop-pods':
        case 'fence-pods':
          return [
            action.from,
            action.to,
            limit,
            'cp-01',
            action.dataDir,
            (action.kill ?? []).join(','),
            ...action.pods,
          ]
        case 'set-aside':
          return [action.from, action.to]
        case 'restore':
          return [
            ...[action.file, action.sha256, action.staging, action.dataDir, action.name, action.peerUrl],
            ...[action.initialCluster, action.token, action.bump, action.owner, action.mode, action.etcdutl],
          ]
        case 'start-etcd': {
          const text = Buffer.from(
            action.manifest ??
              withFullMemberList(readFileSync(this.#here(action.kept), 'utf8'), action.initialCluster),
          ).toString('base64')
          return [action.kept, action.to, action.manifestSha256, text]
        }
        case 'start-pods':
          return [action.from, action.to, ...action.pods]
        case 'withdraw-etcd':
          return [action.kept, action.from, action.to, limit, 'cp-01', action.dataDir]
        case 'put-back':
          return [action.aside, action.dataDir, action.undone]
        case 'remove-leases':
          return [String(action.prefixes.length), ...action.prefixes, ...action.etcdctl]
        case 'remove-member':
          return [action.id, action.peerUrl, ...action.etcdctl]
        case 'make-data-dir':
          return [action.path, action.aside, action.owner, action.mode]
        case 'add-learner':
          return [action.name, action.peerUrl, ...action.etcdctl]
        case 'promote-member':
          return [action.peerUrl, limit, ...action.etcdctl]
        case 'compact':
          return [action.revision, ...action.etcdctl]
        case 'defragment':
          return [...action.etcdctl]
        case 'remove-aside':
          return [
            ...[action.dataDir, action.backups, RECOVERIES],
            ...action.items.flatMap(({ path, seen }) => [path, seen]),
          ]
        case 'take-back':
          return [action.aside, action.dataDir, action.inode ?? '']
        case 'return-pods':
          return [
            ...[action.from, action.to, action.started],
            ...action.pods.flatMap(({ pod, sha256 }) => [pod, sha256]),
          ]
        case 'plant-broken-log':
          return [action.path, action.aside, action.owner, action.mode]
      }
    }
    return [this.recovery, ...args().map((arg) => this.#here(arg))]
  }
}

const SHIM = `#!/bin/sh
# Counts what changes something and kills the shell that runs the script at the n-th.
tool=\${0##*/}
count=$(($(cat "$NODE_ROOT/count" 2>/dev/null || echo 0) + 1))
echo "$count" >"$NODE_ROOT/count"
PATH=\${PATH#*:}
export PATH
[ "$count" = "$KILL_AT" ] || exec "$tool" "$@"
case $KILL_WHEN in
  middle)
    # A copy that is cut: everything before the last argument stays as it is.
    if [ "$tool" = cp ]; then
      "$tool" "$@"
      for last; do :; done
      [ ! -f "$last" ] || truncate -s 5 "$last"
    elif [ "$tool" = base64 ]; then
      "$tool" "$@" | head -c 20
    elif [ "$tool" = etcdutl ]; then
      HALF=yes "$tool" "$@"
    fi ;;
  after) "$tool" "$@" ;;
esac
kill -9 "$PPID"
`

const FAKE_ETCDUTL = `#!/bin/sh
# Makes the data directory of a restore, and nothing else of what etcdutl does.
set -e
[ "$1 $2" = "snapshot restore" ] || exit 2
file=$3
for word; do
  case $word in --data-dir=*) directory=\${word#--data-dir=} ;; esac
done
[ ! -e "$directory" ] || { echo "data-dir \\"$directory\\" not empty" >&2; exit 1; }
mkdir -p "$directory/member/snap"
[ -z "$HALF" ] || exit 0
cp "$file" "$directory/member/snap/db"
mkdir -p "$directory/member/wal"
echo "$*" >"$directory/member/wal/0.wal"
`

const FAKE_SYSTEMCTL = `#!/bin/sh
echo "$*" >>"$NODE_ROOT/systemctl.log"
case $1 in
  list-units) cat "$NODE_ROOT/units" 2>/dev/null ;;
  is-active) cat "$NODE_ROOT/kubelet" 2>/dev/null || echo active ;;
esac
true
`
