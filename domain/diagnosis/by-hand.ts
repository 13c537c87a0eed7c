import type { ClusterConfig } from '../cluster-config.ts'
import { etcdctlWords } from '../etcdctl-words.ts'
import { handCommands, listAllMembers, quote } from '../node-actions.ts'
import { NODE_STATE } from '../node-paths.ts'
import { typedId, type Revision } from '../values.ts'
import { leaderOf, memberIdOf, statusOf, withCondition, type NodePicture, type Picture } from './picture.ts'
import type { NextStep } from './trouble.ts'

/** Where manifests wait while their pods are stopped by hand: it survives a reboot, and no kubelet reads it. */
const KEPT = `${NODE_STATE}/by-hand/manifests`

/** `etcdctl` as it is typed on any node of the cluster. */
export function typedEtcdctl(config: ClusterConfig, ...args: readonly string[]): string {
  return [...etcdctlWords(config.etcd), ...args].map(quote).join(' ')
}

export function stopEtcd(config: ClusterConfig): string[] {
  return handCommands({
    kind: 'stop-pods',
    pods: ['etcd'],
    from: config.etcd.manifests,
    to: KEPT,
    dataDir: config.etcd.dataDir,
  })
}

export function startEtcdAgain(config: ClusterConfig): string[] {
  return [`mv ${KEPT}/etcd.yaml ${quote(`${config.etcd.manifests}/`)}`]
}

/**
 * Replaces one member while the others hold the quorum: its data is set aside before it is removed, since data
 * of a removed member can never rejoin, and it comes back as a learner, which can't cost the quorum.
 */
export function replaceByHand(picture: Picture, broken: NodePicture): NextStep[] {
  const { config } = picture
  const helper = withCondition(picture, 'well', 'flapping', 'without-quorum').find(
    ({ name }) => name !== broken.name,
  )
  const at = helper?.name ?? null
  const id = memberIdOf(picture, broken)
  const fullList = config.nodes.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(',')
  const { dataDir } = config.etcd
  const ofBroken = `awk -F', ' '$4 == "${broken.at.peerUrl}" {print $1}'`
  return [
    {
      on: broken.name,
      say: `Stop etcd on ${broken.name} and set its data aside; nothing is deleted.`,
      commands: [
        ...stopEtcd(config),
        `mv -T ${quote(dataDir)} ${quote(`${dataDir}.corrupt`)}.$(date -u +%Y%m%dT%H%M%SZ)`,
      ],
    },
    {
      on: at,
      say: `Remove the member and add it again as a learner. From here on there is only forward: its old data can never rejoin.`,
      commands: [
        ...(id === null ? [] : [typedEtcdctl(config, 'member', 'remove', typedId(id))]),
        // Refused until all voters have been connected for five seconds.
        `until ${typedEtcdctl(config, 'member', 'add', broken.name, '--learner', `--peer-urls=${broken.at.peerUrl}`)}; do sleep 2; done`,
      ],
    },
    {
      on: broken.name,
      say: 'Write the full member list and `existing` into its manifest, then start it: as kubeadm left it, the first node would become an empty cluster of its own.',
      commands: [listAllMembers(`${KEPT}/etcd.yaml`, fullList), ...startEtcdAgain(config)],
    },
    {
      on: at,
      say: 'Promote it. That is refused until it has caught up.',
      commands: [
        `until ${typedEtcdctl(config, 'member', 'promote')} "$(${typedEtcdctl(config, 'member', 'list')} | ${ofBroken})"; do sleep 5; done`,
        ...(broken.condition === 'corrupt' ? [typedEtcdctl(config, 'alarm', 'disarm')] : []),
        typedEtcdctl(config, 'member', 'list', '--write-out=table'),
      ],
    },
  ]
}

/** Compact once, defragment one member after the other and the leader last, then clear the alarm. */
export function relieveByHand(picture: Picture, revision: Revision): NextStep[] {
  const { config } = picture
  const leader = leaderOf(picture)
  const members = picture.nodes.filter((node) => statusOf(node) !== null)
  const followers = members.filter(({ name }) => name !== leader)
  const inOrder = [...followers, ...members.filter(({ name }) => name === leader)]
  const first = inOrder[0]?.name ?? null
  return [
    {
      on: first,
      say: 'Keep a copy of what is there (a backup by Requorum is refused while the alarm stands), then drop old revisions.',
      commands: [
        `mkdir -p -m 0700 ${quote(config.backup.directory)}`,
        typedEtcdctl(config, 'snapshot', 'save', `${config.backup.directory}/before-defrag.db`),
        typedEtcdctl(config, 'compact', '--physical', revision),
      ],
    },
    ...inOrder.map(({ name }): NextStep => ({
      on: name,
      say:
        name === leader
          ? 'The leader last: a defragmentation blocks its member, and the others choose another leader when it takes long.'
          : 'One member at a time; go on when it answers again.',
      commands: [
        typedEtcdctl(config, '--command-timeout=300s', 'defrag'),
        // `endpoint health` says unhealthy as long as the alarm stands.
        typedEtcdctl(config, 'endpoint', 'status', '--write-out=table'),
      ],
    })),
    {
      on: first,
      say: 'Clear the alarm. If it comes back at once, the content itself is too big: find what fills it, or raise --quota-backend-bytes in every etcd manifest (8 GiB at most).',
      commands: [typedEtcdctl(config, 'alarm', 'disarm'), typedEtcdctl(config, 'alarm', 'list')],
    },
  ]
}
