import { FENCED_JOURNAL, FENCED_MANIFESTS } from './node-paths.ts'
import { fenceOf, type RestorePlan } from './restore-plan.ts'
import { quorumSize } from './survey.ts'
import type { Check } from './verdict.ts'

/** What a person reads about the nodes that a restore goes on without, before consenting to it. */
export function fencedMarkdown(plan: RestorePlan): string[] {
  const fence = fenceOf(plan)
  if (fence.length === 0) return []
  const names = fence.map(({ node, address }) => `${node} (${address})`).join(', ')
  return [
    `- ⚠ **Goes on without ${names}. Whoever approves states that ${fence.length === 1 ? 'it is' : 'they are'} switched off or cut off**, and will stay so until the cluster is open: an old member that runs could form the old quorum with others.`,
    `- When one of them comes back, its control plane is kept from starting: its manifests move to \`${FENCED_MANIFESTS}\` there, its data stays where it is. Then it is replaced: ${fence.map(({ node }) => `\`requorum replace ${plan.cluster} ${node}\``).join(', ')}.`,
    `- ${endurance(plan)}`,
  ]
}

/** What the journal of every node says of those that have none. */
export function fencedJournal(plan: RestorePlan): string[] {
  const fence = fenceOf(plan)
  if (fence.length === 0) return []
  return [
    '## Nodes that it goes on without',
    'They were stated to be off, and nothing is done there. Before one of them comes back into the network its old',
    'member has to be kept from starting; where the workflow runs that does it, this is not needed. On each of them, as root:',
    ...fence.map(({ node, address, peerUrl }) => `- ${node}, ${address}, ${peerUrl}`),
    '```sh',
    `mkdir -p ${FENCED_MANIFESTS}`,
    `for pod in etcd kube-apiserver kube-controller-manager kube-scheduler; do [ ! -e ${manifestsOf(plan)}/$pod.yaml ] || mv ${manifestsOf(plan)}/$pod.yaml ${FENCED_MANIFESTS}/; done`,
    '```',
    '',
  ]
}

/** The journal of a node whose old member is kept from starting. */
export function fenceJournal(
  { cluster, node, manifests }: { cluster: string; node: string; manifests: string },
  at: string,
): string {
  return [
    `# ${node} of ${cluster} is fenced`,
    '',
    `${cluster} was restored without this node. Its old member belongs to the cluster from before: it must not run, or`,
    'clients that reach it would read and write what nobody else knows.',
    `Since ${at} its control plane's manifests are kept in ${FENCED_MANIFESTS}, and its processes are ended.`,
    'When none is left there, this is over.',
    `Its data is where it was, untouched. What was done stands in done.log beside this file (${FENCED_JOURNAL}).`,
    '',
    '## Make it a member of the restored cluster',
    'Where Requorum runs:',
    '```sh',
    `requorum replace ${cluster} ${node}`,
    '```',
    '',
    '## Undo it by hand (as root), only where the restored cluster is given up for this one',
    `First end the workflow fence/${cluster}, if it still runs. Then:`,
    '```sh',
    `mv ${FENCED_MANIFESTS}/*.yaml ${manifests}/`,
    '```',
    '',
  ].join('\n')
}

/** A restored cluster is not whole without these nodes, and that is no failure of the restore. */
export function fencedCheck(plan: RestorePlan): Check[] {
  const fence = fenceOf(plan)
  if (fence.length === 0) return []
  const names = fence.map(({ node }) => node).join(', ')
  const evidence = `not looked at: ${names}, stated to be off, ${fence.length === 1 ? 'has' : 'have'} no member in the restored cluster. ${endurance(plan)}`
  return [{ name: 'every node has a member', verdict: 'warn', evidence }]
}

function endurance(plan: RestorePlan): string {
  const members = plan.initialCluster.split(',').length
  const spare = members - quorumSize(members)
  return `The restored cluster has ${members === 1 ? 'one member' : `${members} members`}, and ${spare === 0 ? 'none of them may fail' : `${spare} of them may fail`} until it is whole again.`
}

function manifestsOf(plan: RestorePlan): string {
  const [stop] = plan.stop.actions
  return stop?.action.kind === 'stop-pods' ? stop.action.from : '/etc/kubernetes/manifests'
}
