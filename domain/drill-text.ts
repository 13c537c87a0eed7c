import { shortDigest } from './consent.ts'
import { DRILL_FAULTS } from './drill-faults.ts'
import { breakSteps, drillDigest, putBackSteps, type DrillPlan } from './drill-plan.ts'
import { letGoByHand } from './journal.ts'
import { recoveryWorkflowId } from './messages.ts'
import { BROKEN_LOG, handCommands } from './node-actions.ts'
import { journalPath } from './node-paths.ts'
import type { PlanStep } from './plan-step.ts'

/** What a person reads before anything is broken: what breaks, what is lost for good, who has to consent again. */
export function drillMarkdown(plan: DrillPlan): string {
  const { cluster, runbook, fault, nodes } = plan
  return [
    `**Breaks ${cluster} on purpose and has it recovered by ${runbook}** (plan ${shortDigest(drillDigest(plan))})`,
    '',
    `- Fault \`${fault}\`: ${DRILL_FAULTS[fault].about}. Here: **${nodes.join(', ')}**.`,
    '- First a fresh backup is taken and keys are written after it: by those that are gone in the end the loss is measured.',
    runbook === 'restoreQuorum'
      ? '- **The cluster is down until the restore is through, and what is written after the backup is lost.**'
      : '- The cluster goes on with one member less. No acknowledged write is lost.',
    `- The recovery runs as \`${recoveryWorkflowId(cluster)}\` and asks for its own consent as always; this one doesn't count there.`,
    '',
    '| node | is stopped | its data moves to |',
    '|---|---|---|',
    ...plan.setAside.actions.map(
      ({ node, action }) => `| ${node} | etcd | \`${action.kind === 'set-aside' ? action.to : ''}\` |`,
    ),
    '',
    `Nothing is deleted. When the recovery is refused, not answered or undone, the drill puts back what it broke. By hand: \`${journalPath(plan.recovery)}\` on each node.`,
  ].join('\n')
}

/** The journal, the same on every node. */
export function drillJournal(plan: DrillPlan, started: string): string {
  return [
    `# Drill ${plan.recovery} of ${plan.cluster}: ${plan.fault}, for ${plan.runbook}`,
    '',
    `Started ${started}, plan ${drillDigest(plan)}. Broken on purpose: ${plan.nodes.join(', ')}.`,
    '',
    'What has been done on this node stands in `done.log` beside this file. First make sure that nothing else works here:',
    `stop the drill, and the workflow ${recoveryWorkflowId(plan.cluster)} if it still runs.`,
    '',
    '## Put back by hand (as root), only while the broken log is still in place',
    'Once a recovery has put something else there, its own journal is the one to follow. 16 bytes mean that it has not,',
    'and so does no such file as long as the data directory is missing too:',
    '```sh',
    ...plan.setAside.actions.flatMap(({ node, action }) =>
      action.kind === 'set-aside'
        ? [`stat -c '%s bytes' ${action.from}/${BROKEN_LOG.file}   # on ${node}`]
        : [],
    ),
    '```',
    '',
    ...inOrder(putBackSteps(plan)),
    '## What the drill does to break it (as root)',
    '',
    ...inOrder(breakSteps(plan)),
    ...letGoByHand(plan),
  ].join('\n')
}

/** Each step with its commands; all nodes of a step are done before the next begins. */
function inOrder(steps: readonly PlanStep[]): string[] {
  return steps.flatMap((step, index) => [
    `${index + 1}. ${step.title}:`,
    '```sh',
    ...step.actions.flatMap(({ node, action }) => [`# on ${node}`, ...handCommands(action)]),
    '```',
    '',
  ])
}
