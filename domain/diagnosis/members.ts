import { replaceByHand, startEtcdAgain, typedEtcdctl } from './by-hand.ts'
import { LOST, REPLACEABLE, type Condition } from './condition.ts'
import {
  corruptMembers,
  everyNode,
  names,
  statusOf,
  withCondition,
  type NodePicture,
  type Picture,
} from './picture.ts'
import { lookAgain, type NextStep, type Trouble } from './trouble.ts'

/** Data is there and nobody runs it: the one trouble that costs nothing, so it comes before all that does. */
export function stoppedMembers(picture: Picture): Trouble | null {
  const stopped = withCondition(picture, 'stopped', 'hung')
  const alive = withCondition(
    picture,
    'well',
    'flapping',
    'without-quorum',
    'waiting',
    'starting',
    'crashing',
  )
  if (stopped.length === 0) return null
  if (!picture.quorumSeen && stopped.length + alive.length < picture.quorumSize) return null
  const { config } = picture
  return {
    kind: 'restart',
    nodes: stopped.map(({ name }) => name),
    summary: picture.quorumSeen
      ? `${config.cluster} has its quorum; etcd on ${names(stopped)} merely stands still. Start it again: its data is there.`
      : `Quorum is lost only because etcd on ${names(stopped)} is not running. The data is there: start it again, nothing is lost.`,
    evidence: everyNode(picture),
    next: [
      ...stopped.map((node): NextStep => ({ on: node.name, ...howToStart(picture, node) })),
      lookAgain(config.cluster, 'Then look again; a real kubelet may take half a minute.'),
    ],
  }
}

/** One member is lost and the others can do without it: never a restore, which would throw away what they hold. */
export function brokenMember(picture: Picture): Trouble | null {
  const lost = withCondition(picture, ...REPLACEABLE)
  const [broken, ...more] = lost
  const others = picture.nodes.filter((node) => !lost.includes(node))
  if (broken === undefined || others.length < picture.quorumSize) return null
  if (!picture.quorumSeen && !quorumComesBack(others)) return null
  const { config } = picture
  // By hand its manifests would have to be found first, and those of a node without any be written.
  const byHand = broken.seen?.etcdManifest === null ? [] : replaceByHand(picture, broken)
  const unsteady = others.filter(({ condition }) => condition !== 'well')
  const steadyFirst: NextStep[] =
    unsteady.length === 0 || broken.condition === 'corrupt'
      ? []
      : [
          {
            on: null,
            say: `Removing a member needs the quorum of ${names(others)}, and ${names(unsteady)} ${unsteady.length === 1 ? 'comes and goes' : 'come and go'}. Take load away (stop the defragmentation, pause controllers), stop etcd on ${broken.name} first, and go on when both are steady.`,
            commands: [`requorum diagnose ${config.cluster}`],
          },
        ]
  return {
    kind: 'replace-member',
    nodes: [broken.name],
    summary: `etcd on ${broken.name} is broken and can't come back on its own data; ${names(others)} ${picture.quorumNow ? 'hold' : 'can hold'} the quorum. Replace this one member; restore nothing.`,
    evidence: everyNode(picture),
    next: [
      ...steadyFirst,
      {
        on: null,
        say: `Have it replaced: it takes a backup, shows its plan and waits for you before it touches anything.${byHand.length === 0 ? '' : ' What follows is the same by hand.'}`,
        commands: [`requorum replace ${config.cluster} ${broken.name}`],
      },
      ...(broken.condition === 'corrupt' || byHand.length === 0
        ? [] // every member tells of this alarm, and a backup takes none that tells of one
        : [
            {
              on: null,
              say: 'Take a backup from the healthy members first.',
              commands: [`requorum backup now ${config.cluster} --wait`],
            },
          ]),
      ...byHand,
      lookAgain(
        config.cluster,
        more.length === 0
          ? 'Then look again.'
          : `Then look again, and go on with ${names(more)}, one at a time.`,
      ),
    ],
  }
}

/** Without a quorum at any look: does it come and go, so that it will be there for the replacement? */
function quorumComesBack(others: readonly NodePicture[]): boolean {
  const able: readonly Condition[] = ['well', 'flapping', 'without-quorum', 'waiting', 'starting', 'crashing']
  if (!others.every(({ condition }) => able.includes(condition))) return false
  // Members that run steadily and find no leader are cut off from each other: the network, not the member.
  return (
    others.some(({ answered }) => answered) && others.some(({ condition }) => condition !== 'without-quorum')
  )
}

/** etcd found that members differ and can't say which of them is right. */
export function corruptSomewhere(picture: Picture): Trouble | null {
  const accused = corruptMembers(picture.looks.at(-1) ?? [])
  if (accused.length === 0 || brokenMember(picture) !== null) return null
  const { config } = picture
  return {
    kind: 'hands-off',
    nodes: [],
    summary: `etcd's alarm CORRUPT stands and names no one member of ${config.cluster} that could be replaced. A person has to say which member is right.`,
    evidence: [{ node: null, fact: `the alarm names ${accused.join(', ')}` }, ...everyNode(picture)],
    next: [
      {
        on: picture.nodes.find((node) => statusOf(node) !== null)?.name ?? null,
        say: 'Compare the members at one revision; the one that differs from the others is the one to replace.',
        commands: [typedEtcdctl(config, 'endpoint', 'hashkv', '--cluster', '--write-out=table')],
      },
    ],
  }
}

/** A majority's data is gone, on nodes that were all looked at, each by evidence; nobody has seen a quorum. */
export function quorumLost(picture: Picture): Trouble | null {
  const lost = withCondition(picture, ...LOST)
  const others = picture.nodes.filter((node) => !lost.includes(node))
  if (picture.quorumSeen || others.length >= picture.quorumSize) return null
  if (withCondition(picture, 'unreached', 'unaskable').length > 0) return null
  const { cluster } = picture.config
  const kept = others.filter(({ seen }) => (seen?.dataDir.bytes ?? 0) > 0)
  return {
    kind: 'restore-quorum',
    nodes: lost.map(({ name }) => name),
    summary: `${cluster} has lost its quorum for good: the data of ${names(lost)} can't be used, and ${others.length === 0 ? 'no member is' : `${names(others)} ${others.length === 1 ? 'is' : 'are'} not`} enough without it. Restore from a snapshot.`,
    evidence: everyNode(picture),
    next: [
      {
        on: null,
        say: `See what a restore would do and lose; it touches nothing.${kept.length === 0 ? '' : ` The data directory of ${names(kept)} survives and may be newer than any snapshot: it is set aside, keep it.`}`,
        commands: [`requorum plan restore ${cluster}`],
      },
      {
        on: null,
        say: 'Start it. It waits for your consent before anything is stopped or moved.',
        commands: [`requorum restore ${cluster}`],
      },
    ],
  }
}

function howToStart(picture: Picture, { seen, condition, name }: NodePicture): Omit<NextStep, 'on'> {
  if (condition === 'hung') {
    const pids = (seen?.etcdPids ?? []).join(' ')
    return {
      say: 'State T was stopped: wake it. State D waits for the disk: look there first. If neither helps, end it; the kubelet starts it again.',
      commands: [
        `grep State /proc/${seen?.etcdPids[0] ?? 'PID'}/status`,
        `kill -CONT ${pids}`,
        `kill -KILL ${pids}`,
      ],
    }
  }
  if (seen?.etcdManifest === null) {
    return {
      say: `Put its manifest back. If it is not where Requorum's runbooks keep it, look who moved it; another node's manifest is not ${name}'s.`,
      commands: [
        `ls -l /var/lib/requorum/*/*/manifests /var/lib/requorum/by-hand/manifests`,
        ...startEtcdAgain(picture.config),
      ],
    }
  }
  return { say: 'Start the kubelet; it starts etcd.', commands: ['systemctl start kubelet'] }
}
