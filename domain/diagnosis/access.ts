import { everyNode, names, withCondition, type Picture } from './picture.ts'
import { reachedNodes } from '../survey.ts'
import { lookAgain, type NextStep, type Trouble } from './trouble.ts'

/** In the middle of a recovery nodes look like anything; it knows what it does. */
export function recoveryUnderWay(picture: Picture): Trouble | null {
  const held = reachedNodes(picture.looks.at(-1) ?? []).flatMap(({ node, lock }) =>
    lock === null ? [] : [{ node, lock }],
  )
  if (held.length === 0) return null
  const { cluster } = picture.config
  return {
    kind: 'hands-off',
    nodes: held.map(({ node }) => node),
    summary: `A recovery of ${cluster} holds its nodes. Leave them to it.`,
    evidence: held.map(({ node, lock }) => ({ node, fact: `held by ${lock.owner} since ${lock.since}` })),
    next: [
      {
        on: null,
        say: 'See where it stands and whom it waits for. If no such run is there any more, each node’s journal in /var/lib/requorum/recoveries says how to go on or back by hand.',
        commands: [`requorum status ${cluster}`],
      },
    ],
  }
}

/** A silence that is the asking's says nothing of the cluster. */
export function unaskableMembers(picture: Picture): Trouble | null {
  const unaskable = withCondition(picture, 'unaskable')
  if (unaskable.length === 0) return null
  const { cluster, etcd } = picture.config
  return {
    kind: 'hands-off',
    nodes: unaskable.map(({ name }) => name),
    summary: `etcd runs on ${names(unaskable)} and can't be asked, so nobody knows how ${cluster} is. Mend the asking first.`,
    evidence: everyNode(picture),
    next: [
      ...unaskable.map(({ name }): NextStep => ({
        on: name,
        say: 'Check that the files of the cluster file’s etcd section are there and belong together (etcd.caCert, etcd.cert, etcd.key, etcd.etcdctl).',
        commands: [
          `ls -l ${etcd.caCert} ${etcd.cert} ${etcd.key}; command -v ${etcd.etcdctl}`,
          'kubeadm certs check-expiration',
        ],
      })),
      lookAgain(cluster, 'Then look again.'),
    ],
  }
}

/** What was not seen may hold anything, a quorum included. */
export function unreachedNodes(picture: Picture): Trouble | null {
  const unreached = withCondition(picture, 'unreached')
  if (unreached.length === 0) return null
  const { cluster } = picture.config
  return {
    kind: 'hands-off',
    nodes: unreached.map(({ name }) => name),
    summary: picture.quorumSeen
      ? `${cluster} has its quorum; ${names(unreached)} can't be reached over SSH, so nobody knows how etcd is there.`
      : `No quorum was found, and ${names(unreached)} can't be reached: what is there may hold it, or the newest data. Restore nothing before it was looked at.`,
    evidence: everyNode(picture),
    next: [
      {
        on: null,
        say: `Look at ${names(unreached)} by its console: power, network, sshd, the pinned host key. If it is gone for good while the others hold the quorum, replace that member.`,
        commands: unreached.map(
          ({ at }) => `ssh -o ConnectTimeout=10 -p ${at.port} ${at.user}@${at.address} true`,
        ),
      },
      lookAgain(cluster, 'Then look again.'),
    ],
  }
}
