import { typedEtcdctl } from './by-hand.ts'
import { REPLACEABLE } from './condition.ts'
import { everyNode, knowsLeader, names, withCondition, type NodePicture, type Picture } from './picture.ts'
import { lookAgain, type Evidence, type NextStep, type Trouble } from './trouble.ts'

const NEWEST_ETCD_LOG = 'ls -t /var/log/pods/kube-system_etcd-*/etcd/*.log | head -n 1'

/** Members run and don't find each other, and it stays so: the network between them, or their certificates. */
export function cutOff(picture: Picture): Trouble | null {
  const alone = withCondition(picture, 'without-quorum', 'waiting').filter((node) => !knowsLeader(node))
  if (alone.length === 0) return null
  const { config } = picture
  return {
    kind: 'hands-off',
    nodes: alone.map(({ name }) => name),
    summary: picture.quorumSeen
      ? `etcd on ${names(alone)} runs and is cut off from its peers; the others hold the quorum. Leave its data alone: mend the network between the nodes.`
      : `etcd runs on ${names(alone)} and the members don't find each other. Leave the data alone: mend the network between the nodes.`,
    evidence: everyNode(picture),
    next: [
      ...alone.map((node): NextStep => ({
        on: node.name,
        say: `See which peers ${node.name} reaches; it catches up by itself once it does. If it reaches them and stays silent, end its process: the kubelet starts it again.`,
        commands: config.nodes
          .filter(({ name }) => name !== node.name)
          .map(({ peerUrl }) => {
            const { hostname, port } = hostOf(peerUrl)
            return `timeout 3 bash -c '</dev/tcp/${hostname}/${port}' && echo '${hostname} is reached' || echo '${hostname} is not reached'`
          }),
      })),
      lookAgain(config.cluster, 'Then look again.'),
    ],
  }
}

/** Something ends, starts or hesitates, and nothing says that data is at fault. */
export function unsettled(picture: Picture): Trouble | null {
  const nodes = withCondition(
    picture,
    'flapping',
    'starting',
    'crashing',
    'misconfigured',
    'without-quorum',
    ...REPLACEABLE,
  )
  if (nodes.length === 0) return null
  const { cluster } = picture.config
  const blamed = nodes.some(({ condition }) => condition === 'misconfigured')
  return {
    kind: 'hands-off',
    nodes: nodes.map(({ name }) => name),
    summary: blamed
      ? `etcd on ${names(nodes)} can't start, for a reason that is not its data. Read its last words and mend that.`
      : `etcd on ${names(nodes)} is not steady, and nothing proves that its data is lost. Change nothing yet.`,
    evidence: everyNode(picture),
    next: [
      ...nodes.map(({ name }): NextStep => ({
        on: name,
        say: 'Read why it ended last, and what loads its disk.',
        commands: [`tail -n 50 "$(${NEWEST_ETCD_LOG})"`, 'cat /proc/pressure/io'],
      })),
      lookAgain(cluster, 'Wait a minute and look again.'),
    ],
  }
}

/** The member list is not what the cluster file says, or a replacement was left half done. */
export function oddMembers(picture: Picture): Trouble | null {
  if (picture.members.length === 0) return null
  const { config } = picture
  const listed = (node: NodePicture): boolean =>
    picture.members.some(({ name, peerUrls }) => name === node.name || peerUrls.includes(node.at.peerUrl))
  const strangers = picture.members.filter(
    ({ name, peerUrls }) => !config.nodes.some((at) => at.name === name || peerUrls.includes(at.peerUrl)),
  )
  const missing = picture.nodes.filter((node) => !listed(node))
  const unfinished = picture.members.filter(({ name, isLearner }) => isLearner || name === '')
  const evidence: Evidence[] = [
    ...strangers.map(({ id, name, peerUrls }) => ({
      node: null,
      fact: `member ${id} (${name === '' ? 'never started' : name}, ${peerUrls.join(' ')}) is in no line of the cluster file`,
    })),
    ...missing.map(({ name }) => ({ node: name, fact: 'is in the cluster file and not in the member list' })),
    ...unfinished.map(({ id, name, isLearner }) => ({
      node: name === '' ? null : name,
      fact: `member ${id} ${isLearner ? 'is a learner that was not promoted' : 'was added and never started'}`,
    })),
  ]
  if (evidence.length === 0) return null
  return {
    kind: 'hands-off',
    nodes: missing.map(({ name }) => name),
    summary: `${config.cluster} has its quorum, and its member list is not what the cluster file says. Somebody changed one of them, or has not finished.`,
    evidence: [...evidence, ...everyNode(picture)],
    next: [
      {
        on: picture.nodes.find(({ condition }) => condition === 'well')?.name ?? null,
        say: 'Ask who is at work on it. If nobody is: promote the learner, or take out what does not belong, or mend the cluster file.',
        commands: [typedEtcdctl(config, 'member', 'list', '--write-out=table')],
      },
    ],
  }
}

/** Of a URL that the config's schema has checked. */
function hostOf(peerUrl: string): { hostname: string; port: string } {
  const { hostname, port } =
    /^https?:\/\/\[?(?<hostname>[^\]]+?)\]?:(?<port>\d+)$/.exec(peerUrl)?.groups ?? {}
  return { hostname: hostname ?? '', port: port ?? '' }
}
