import { backupBeforeMarkdown } from './backup-before.ts'
import { letGoByHand } from './journal.ts'
import { shortDigest } from './consent.ts'
import { handCommands } from './node-actions.ts'
import { FENCED_MANIFESTS, journalPath } from './node-paths.ts'
import type { OthersNow } from './others.ts'
import type { PlanStep } from './plan-step.ts'
import { replaceDigest, replaceSteps, type ReplacePlan } from './replace-plan.ts'
import { undoSteps } from './restore-plan.ts'

/** What a person reads before consenting to a replacement: who goes and why, what is lost, the way back. */
export function replacePlanMarkdown(
  plan: ReplacePlan,
  seen: { readonly why: string; readonly agreement: string },
): string {
  const { leaves, comes } = plan
  const same = comes.name === leaves.name && comes.peerUrl === leaves.peerUrl
  const who = leaves.id === null ? 'its peers have removed it before' : `member ${leaves.id}`
  return [
    `**Replaces the etcd member ${same ? `of ${plan.node}` : `${leaves.name} by ${plan.node}`} in ${plan.cluster}** (plan ${shortDigest(replaceDigest(plan))})`,
    '',
    `- Why: ${seen.why}`,
    ...plan.fence.map(
      ({ name, peerUrl }) =>
        `- ⚠ **Whoever approves says that ${name} (${peerUrl}) is switched off or cut off**: nobody here can look at it or stop it.`,
    ),
    `- Goes: ${leaves.name} (${who}, ${leaves.peerUrl}).${stoppedElsewhere(plan)} What is in \`${dataOf(plan)}\` on ${plan.node} moves to \`${asideOf(plan)}\`; nothing is deleted.`,
    same
      ? `- Comes: a new member under the same name and address, as a learner without a vote until it has caught up.`
      : `- Comes: ${comes.name} (${comes.peerUrl}), as a learner without a vote until it has caught up.`,
    ...manifestLine(plan),
    ...(plan.without === undefined
      ? []
      : [
          `- ${plan.without.join(', ')} ${plan.without.length === 1 ? 'is' : 'are'} fenced and will have no member yet: then ${plan.without.map((node) => `\`requorum replace ${plan.cluster} ${node}\``).join(', ')}.`,
        ]),
    `- The others hold the quorum and agree: ${seen.agreement}.`,
    '- **No acknowledged write is lost**: the others hold them all. Until the end one member less may fail.',
    backupBeforeMarkdown(plan.backup),
    '',
    `Way back: until the member is removed, a failure or a refusal puts everything back by itself. From then on there is only forward. By hand: \`${journalPath(plan.recovery)}\` on each node.`,
  ].join('\n')
}

function manifestLine({ manifest, node, comes }: ReplacePlan): string[] {
  if (manifest === 'in place') return []
  return manifest === 'fenced'
    ? [`- Its manifest was kept from starting in \`${FENCED_MANIFESTS}\`; it is taken from there.`]
    : [
        `- ${node} has no etcd manifest: it gets that of ${manifest.madeFrom}, with the name ${comes.name}, its own URLs and the member list.`,
      ]
}

function stoppedElsewhere({ stop, node }: ReplacePlan): string {
  return stop.actions
    .flatMap(({ node: at, action }) =>
      at !== node && action.kind === 'stop-pods'
        ? [
            ` On ${at} ${action.pods.join(' and ')} end, their manifests are kept, and its data stays where it is.`,
          ]
        : [],
    )
    .join('')
}

/** What a person reads after a step failed for good, when the member is removed and only forward is left. */
export function retryMarkdown(plan: ReplacePlan, why: string, others: OthersNow): string {
  return [
    `**The replacement of ${plan.node}'s member in ${plan.cluster} can't go on**: ${why}`,
    '',
    others.quorum
      ? `The others hold the quorum without it (${others.evidence}).`
      : `⚠ **The others do not hold the quorum now** (${others.evidence}): etcd takes no write. Bring a member that is down back first, with its data; remove and restore nothing.`,
    'The old member is removed and can never rejoin, so there is only forward.',
    '',
    'Mend the cause, then approve to try again from the step that failed. Refused or not answered in time, it is left as it is.',
  ].join('\n')
}

/** The journal of one node: it is enough to finish by hand. */
export function replaceJournal(plan: ReplacePlan, node: string, started: string): string {
  return [
    `# Recovery ${plan.recovery} of ${plan.cluster}, node ${node}`,
    '',
    `Started ${started}, plan ${replaceDigest(plan)}: the etcd member of ${plan.node} is replaced.`,
    '',
    'What has been done on this node stands in `done.log` beside this file. First make sure that nothing else works',
    `here: stop the workflow recovery/${plan.cluster} if it still runs.`,
    '',
    '## Go on by hand (as root)',
    '',
    ...inOrder(replaceSteps(plan)),
    '## Go back by hand (as root), only while the old member is still in `etcdctl member list`',
    '',
    ...inOrder(undoSteps(plan)),
    ...letGoByHand(plan),
  ].join('\n')
}

/** Each step with the nodes that do it: what several can do is done once. */
function inOrder(steps: readonly PlanStep[]): string[] {
  return steps.flatMap((step, index) => {
    const [first] = step.actions
    const nodes = step.actions.map(({ node }) => node).join(' or ')
    return first === undefined
      ? []
      : [`${index + 1}. ${step.title}, on ${nodes}:`, '```sh', ...handCommands(first.action), '```', '']
  })
}

function dataOf(plan: ReplacePlan): string {
  const [first] = plan.setAside.actions
  return first?.action.kind === 'set-aside' ? first.action.from : ''
}

function asideOf(plan: ReplacePlan): string {
  const [first] = plan.setAside.actions
  return first?.action.kind === 'set-aside' ? first.action.to : ''
}
