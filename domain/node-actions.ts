import type { Revision } from './values.ts'

/**
 * What a runbook may change on a node, as data. Every kind has the same shape, in four places:
 *
 * - admit, execute and verify: three functions in the shell script of its name in systems/node/actions. The first refuses
 *   (exit 65) or puts off (75) what may not be done now and notices what is done already, the second does it, the third
 *   looks again before the receipt is written
 * - undo: its line in {@link WAYS_BACK} (way-back.ts), with the reason where there is none
 * - by hand: {@link handCommands}, the same in the words that a person would type
 * - failpoints before, in the middle of and after it: workers/failpoints.ts, for every kind alike
 */
export type NodeAction =
  | StopPods
  | FencePods
  | SetAside
  | Restore
  | StartEtcd
  | StartPods
  | WithdrawEtcd
  | PutBack
  | RemoveLeases
  | RemoveMember
  | MakeDataDir
  | AddLearner
  | PromoteMember
  | Compact
  | Defragment
  | RemoveAside
  | TakeBack
  | ReturnPods
  | PlantBrokenLog

/**
 * Move manifests out of the kubelet's directory, then end their processes and containers, in the order given, with the
 * kubelet stopped. Unless it stood still before it is started again, also when the action is cut off, and comes back
 * without its memory: of crashes, for which it would put off the next start by up to five minutes, and of the API at
 * revisions from before.
 */
export interface StopPods {
  readonly kind: 'stop-pods'
  readonly pods: readonly string[]
  readonly from: string
  readonly to: string
  /** By which this etcd is told from others on the node. */
  readonly dataDir: string
  /** Those that keep nothing, and are killed: an API server whose etcd is gone takes its whole grace period otherwise. */
  readonly kill?: readonly string[]
}

/**
 * Keep static pods from starting for good, on a node that a restore went on without. As StopPods, but any of them may
 * not be there, and what was kept by an earlier fencing and differs is kept beside it.
 */
export interface FencePods extends Omit<StopPods, 'kind'> {
  readonly kind: 'fence-pods'
}

/** Rename a directory, contents untouched. A directory that isn't there is noted as absent. */
export interface SetAside {
  readonly kind: 'set-aside'
  readonly from: string
  readonly to: string
}

/** Restore into a staging directory, then rename it into place: etcd starts on half a restore otherwise. */
export interface Restore {
  readonly kind: 'restore'
  readonly file: string
  readonly sha256: string
  readonly staging: string
  readonly dataDir: string
  readonly name: string
  readonly peerUrl: string
  readonly initialCluster: string
  readonly token: string
  readonly bump: string
  readonly owner: string
  readonly mode: string
  readonly etcdutl: string
}

/** Give the kept manifest the full member list and put it where the kubelet looks. */
export interface StartEtcd {
  readonly kind: 'start-etcd'
  readonly kept: string
  readonly to: string
  /** Of the manifest as it will be written. */
  readonly manifestSha256: string
  readonly initialCluster: string
  /** The whole manifest, where it isn't the kept one with the list: of a node made anew, or under another name. */
  readonly manifest?: string
}

/** Put kept manifests back as they were. */
export interface StartPods {
  readonly kind: 'start-pods'
  readonly pods: readonly string[]
  readonly from: string
  readonly to: string
}

/** Take the restored etcd's manifest away again, if it was put there, and wait for its end. */
export interface WithdrawEtcd {
  readonly kind: 'withdraw-etcd'
  readonly kept: string
  readonly from: string
  readonly to: string
  readonly dataDir: string
}

/** Swap: the restored directory, if there is one, moves to `undone`, the old one back to its place. */
export interface PutBack {
  readonly kind: 'put-back'
  readonly aside: string
  readonly dataDir: string
  readonly undone: string
  /** The mark that there was nothing to set aside: what is there now is restored, and moves to `undone`. */
  readonly absent: string
}

/** Take leases of API servers that the snapshot brought along out of etcd, while no API server runs. */
export interface RemoveLeases {
  readonly kind: 'remove-leases'
  readonly prefixes: readonly string[]
  /** The command and how it reaches the node's own member, word by word. */
  readonly etcdctl: readonly string[]
}

/** Take a member out of the cluster: its data can never rejoin. Asked of a member that stands in the quorum. */
export interface RemoveMember {
  readonly kind: 'remove-member'
  /** As etcdctl types it. */
  readonly id: string
  readonly peerUrl: string
  readonly etcdctl: readonly string[]
}

/** An empty data directory with the owner and mode of the one before: the kubelet would make it for root. */
export interface MakeDataDir {
  readonly kind: 'make-data-dir'
  readonly path: string
  /** Where the old one is, for its label. */
  readonly aside: string
  readonly owner: string
  readonly mode: string
}

/** Add the member again as a learner, which has no vote: it can't cost the quorum while it copies. */
export interface AddLearner {
  readonly kind: 'add-learner'
  readonly name: string
  readonly peerUrl: string
  readonly etcdctl: readonly string[]
}

/** Give the learner its vote. etcd refuses as long as it has not caught up, and that is what is waited for. */
export interface PromoteMember {
  readonly kind: 'promote-member'
  readonly peerUrl: string
  readonly etcdctl: readonly string[]
}

/** Drop what the keyspace held before a revision: on all members, through the node's own. There is no way back. */
export interface Compact {
  readonly kind: 'compact'
  readonly revision: Revision
  /** As of RemoveLeases. */
  readonly etcdctl: readonly string[]
}

/** Rewrite the database of the node's own member without what is free in it. The member is blocked meanwhile. */
export interface Defragment {
  readonly kind: 'defragment'
  /** As of RemoveLeases. */
  readonly etcdctl: readonly string[]
}

/** Remove what earlier runs set aside, item by item and only where each is still what was seen. There is no way back. */
export interface RemoveAside {
  readonly kind: 'remove-aside'
  /** Where etcd lives, and where copies are kept: what may be removed is known by its name beside or in these. */
  readonly dataDir: string
  readonly backups: string
  readonly items: readonly {
    readonly path: string
    /** Inode and time of change, as they were seen: another directory of that name is left alone. */
    readonly seen: string
  }[]
}

/** Give the data that an earlier recovery set aside its place again. */
export interface TakeBack {
  readonly kind: 'take-back'
  readonly aside: string
  readonly dataDir: string
  /** Of the directory that was set aside; null where that recovery found none, and none is put back. */
  readonly inode: string | null
}

/** Put manifests that an earlier recovery kept back as they were, byte for byte, with owner and mode. */
export interface ReturnPods {
  readonly kind: 'return-pods'
  readonly pods: readonly { readonly pod: string; readonly sha256: string }[]
  readonly from: string
  readonly to: string
  /** The mark that the old etcd was started: the way back ends it. */
  readonly started: string
}
/**
 * A data directory with nothing but a log whose first record fails its checksum, for a drill: etcd ends over it at
 * every start ("crc mismatch"), whether its peers are there or not.
 */
export interface PlantBrokenLog {
  readonly kind: 'plant-broken-log'
  readonly path: string
  /** As of MakeDataDir. */
  readonly aside: string
  readonly owner: string
  readonly mode: string
  /** Beside it the mark is made that etcd was started: the way back ends that etcd. */
  readonly kept: string
}

/** The log that a drill plants: a frame of eight bytes, a record of type 1 with a checksum that isn't its data's. */
export const BROKEN_LOG = {
  file: 'member/wal/0000000000000000-0000000000000000.wal',
  bytes: '\\010\\000\\000\\000\\000\\000\\000\\000\\010\\001\\020\\052\\032\\002xx',
} as const

export function quote(word: string): string {
  return /^[A-Za-z0-9_./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/** A word as it stands for itself in an extended regular expression, which is what pgrep reads. */
function literally(word: string): string {
  return word.replaceAll(/[.[\]{}()*+?^$|\\]/g, '\\$&')
}

/** What pgrep and pkill take for processes of these programs; this etcd is the one that works on this directory. */
function processesOf(programs: readonly string[], dataDir: string): string {
  const named = programs.map((name) =>
    name === 'etcd' ? `etcd .*--data-dir=${literally(dataDir)}` : literally(name),
  )
  return `--ns 1 --nslist net -f ${quote(`^(/([^ ]*/)?)?(${named.join('|')})( |$)`)}`
}

/** Moves a file and keeps what is in its place: the first that was kept is the original. */
function moveAndKeep(from: string, kept: string): string {
  const [file, target] = [quote(from), quote(kept)]
  return `if [ -e ${target} ]; then mv --backup=numbered ${file} ${quote(`${kept}.again`)}; else mv ${file} ${target}; fi`
}

/**
 * Ends static pods whose manifests are gone. The kubelet would start a crashed one again, or give it all its grace.
 * What is left after 30 s is killed, as a kubelet would; two minutes later a person has to look.
 */
function endByHand(pods: readonly string[], dataDir: string, kill: readonly string[] = []): string[] {
  const told = pods.filter((pod) => !kill.includes(pod))
  const all = processesOf(pods, dataDir)
  return [
    'systemctl stop kubelet',
    ...(kill.length === 0 ? [] : [`pkill -KILL ${processesOf(kill, dataDir)} || true`]),
    ...(told.length === 0 ? [] : [`pkill -TERM ${processesOf(told, dataDir)} || true`]),
    `for i in $(seq 150); do pgrep ${all} >/dev/null || break; [ "$i" -ne 30 ] || pkill -KILL ${all} || true; sleep 1; done`,
    `if command -v crictl >/dev/null; then crictl pods --quiet --state Ready --name ${quote(`^(${pods.map(literally).join('|')})-`)}"$(hostname)" | xargs --no-run-if-empty crictl stopp; fi`,
    'systemctl start kubelet',
  ]
}

function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}

/** Beside the kept manifests: the restored etcd's manifest was put where the kubelet looks. */
function startedMark(kept: string): string {
  return `${kept.split('/').slice(0, -2).join('/')}/etcd-started`
}

/** The recovery that keeps a manifest, as the names of its units have it. */
function recoveryOf(kept: string): string {
  return (kept.split('/').at(-3) ?? '').toLowerCase()
}

/** The command that writes the full member list and `existing` into an etcd manifest. */
export function listAllMembers(manifest: string, initialCluster: string): string {
  const list = initialCluster.replaceAll(/[#&\\]/g, '\\$&')
  const edit = `s#^\\( *- \\)["']*--initial-cluster=.*#\\1--initial-cluster=${list}\\n\\1--initial-cluster-state=existing#`
  return `sed -i -e '/--initial-cluster-state=/d' -e ${quote(edit)} ${quote(manifest)}`
}

function typed(words: readonly string[]): string {
  return words.map(quote).join(' ')
}

function memberIdAt(etcdctl: readonly string[], peerUrl: string): string {
  return `${typed(etcdctl)} member list | awk -F', ' '$4 == "${peerUrl}" {print $1}'`
}

/** The commands with which a person does this action by hand, as root on the node. */
export function handCommands(action: NodeAction): string[] {
  switch (action.kind) {
    case 'stop-pods':
      return [
        `mkdir -p ${quote(action.to)}`,
        ...action.pods.map((pod) => moveAndKeep(`${action.from}/${pod}.yaml`, `${action.to}/${pod}.yaml`)),
        ...endByHand(action.pods, action.dataDir, action.kill),
      ]
    case 'fence-pods':
      return [
        `mkdir -p ${quote(action.to)}`,
        ...action.pods.map((pod) => {
          const file = `${action.from}/${pod}.yaml`
          return `[ ! -e ${quote(file)} ] || { ${moveAndKeep(file, `${action.to}/${pod}.yaml`)}; }`
        }),
        ...endByHand(action.pods, action.dataDir, action.kill),
      ]
    case 'set-aside':
      // Where there was no directory, an empty one is set aside: so that the way back sees that it was.
      return [
        `[ -e ${quote(action.to)} ] || mkdir -p ${quote(action.from)}`,
        `[ -e ${quote(action.to)} ] || mv -T ${quote(action.from)} ${quote(action.to)}`,
      ]
    case 'restore':
      return [
        `sha256sum ${quote(action.file)}   # has to be ${action.sha256}`,
        [
          ...[action.etcdutl, 'snapshot', 'restore', action.file],
          `--name=${action.name}`,
          `--initial-cluster=${action.initialCluster}`,
          `--initial-cluster-token=${action.token}`,
          `--initial-advertise-peer-urls=${action.peerUrl}`,
          `--data-dir=${action.staging}`,
          `--bump-revision=${action.bump}`,
          '--mark-compacted',
        ]
          .map(quote)
          .join(' '),
        `chown -R ${action.owner} ${quote(action.staging)} && chmod ${action.mode} ${quote(action.staging)}`,
        `mv -T ${quote(action.staging)} ${quote(action.dataDir)}`,
      ]
    case 'start-etcd': {
      const fresh = quote(`${action.kept}.new`)
      const write =
        action.manifest === undefined
          ? [
              `cp -p ${quote(action.kept)} ${fresh}`,
              listAllMembers(`${action.kept}.new`, action.initialCluster),
            ]
          : [
              `mkdir -p ${quote(directoryOf(action.kept))} ${quote(action.to)}`,
              `(umask 077; cat >${fresh} <<'END-OF-MANIFEST'\n${action.manifest.trimEnd()}\nEND-OF-MANIFEST\n)`,
            ]
      return [
        ...write,
        `touch ${quote(startedMark(action.kept))}`,
        `mv ${fresh} ${quote(`${action.to}/etcd.yaml`)}`,
      ]
    }
    case 'start-pods':
      // Where a pod was never stopped, its manifest was never kept and is in its place.
      return action.pods.map((pod) => {
        const kept = quote(`${action.from}/${pod}.yaml`)
        return `[ ! -e ${kept} ] || mv ${kept} ${quote(`${action.to}/`)}`
      })
    case 'withdraw-etcd': {
      const [started, manifest] = [quote(startedMark(action.kept)), quote(`${action.from}/etcd.yaml`)]
      return [
        // A step that was at work when the run was stopped goes on by itself, in a unit of its own.
        `systemctl stop ${quote(`requorum-${recoveryOf(action.kept)}.*`)}`,
        `mkdir -p ${quote(action.to)}`,
        // The manifest that is there may be etcd's own, and then the restored one was never started.
        `if [ -e ${started} ] && [ -e ${manifest} ]; then ${moveAndKeep(`${action.from}/etcd.yaml`, `${action.to}/etcd.yaml`)}; fi`,
        `if [ -e ${started} ]; then`,
        ...endByHand(['etcd'], action.dataDir).map((line) => `  ${line}`),
        'fi',
      ]
    }
    case 'put-back': {
      const [dataDir, aside, undone] = [quote(action.dataDir), quote(action.aside), quote(action.undone)]
      return [
        // Old data that was never set aside is in its place and stays there.
        `if [ -e ${aside} ] || [ -e ${quote(action.absent)} ]; then [ ! -e ${dataDir} ] || mv -T ${dataDir} ${undone}; fi`,
        `[ ! -e ${aside} ] || mv -T ${aside} ${dataDir}`,
      ]
    }
    case 'remove-leases':
      return [
        // Goes through only with a quorum, and a snapshot may bring an alarm along that refuses every write.
        `until ${typed([...action.etcdctl, 'alarm', 'disarm'])}; do sleep 2; done`,
        ...action.prefixes.map((prefix) => typed([...action.etcdctl, 'del', '--prefix', prefix])),
      ]
    case 'remove-member':
      return [typed([...action.etcdctl, 'member', 'remove', action.id])]
    case 'make-data-dir': {
      const path = quote(action.path)
      return [`mkdir -p ${path}`, `chown ${action.owner} ${path} && chmod ${action.mode} ${path}`]
    }
    case 'add-learner': {
      const add = ['member', 'add', action.name, '--learner', `--peer-urls=${action.peerUrl}`]
      // Refused until all voters have been connected for five seconds.
      return [`until ${typed([...action.etcdctl, ...add])}; do sleep 2; done`]
    }
    case 'promote-member': {
      const id = `"$(${memberIdAt(action.etcdctl, action.peerUrl)})"`
      return [`until ${typed(action.etcdctl)} member promote ${id}; do sleep 5; done`]
    }
    case 'plant-broken-log': {
      const [path, log] = [quote(action.path), quote(`${action.path}/${BROKEN_LOG.file}`)]
      return [
        `mkdir -p "$(dirname ${log})" && printf '${BROKEN_LOG.bytes}' >${log}`,
        `chown -R ${action.owner} ${path} && chmod ${action.mode} ${path}`,
        `touch ${quote(startedMark(action.kept))}`,
      ]
    }
    case 'compact':
      // Compacted before, it says "required revision has been compacted": that is as good.
      return [typed([...action.etcdctl, 'compact', '--physical', action.revision])]
    case 'defragment':
      return [typed([...action.etcdctl, 'defrag'])]
    case 'remove-aside':
      return action.items.map(({ path }) => `rm -rf --one-file-system ${quote(path)}`)
    case 'take-back': {
      const aside = quote(action.aside)
      return action.inode === null ? [] : [`[ ! -e ${aside} ] || mv -T ${aside} ${quote(action.dataDir)}`]
    }
    case 'return-pods':
      return action.pods.flatMap(({ pod }) => [
        // Says which etcd is running from here on, for the way back.
        ...(pod === 'etcd' ? [`touch ${quote(action.started)}`] : []),
        `cp -a ${quote(`${action.from}/${pod}.yaml`)} ${quote(`${action.to}/`)}`,
      ])
  }
}
