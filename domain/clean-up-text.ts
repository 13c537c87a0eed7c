import { cleanUpDigest, type CleanUpPlan, type JudgedAside } from './clean-up-plan.ts'
import { shortDigest } from './consent.ts'
import { letGoByHand } from './journal.ts'
import { recoveryWorkflowId } from './messages.ts'
import { handCommands } from './node-actions.ts'
import { humanBytes, humanSeconds, secondsBetween } from './progress.ts'
import type { Check, RestoreVerdict } from './verdict.ts'

/** How a clean-up ended. */
export type CleanUpOutcome =
  /** What was approved is gone. */
  | 'cleaned'
  /** Nothing may be removed: `kept` says why of each thing. */
  | 'nothing'
  /** Nothing was removed: consent was refused, */
  | 'refused'
  /** or it did not come in time. */
  | 'timed-out'

export interface AsideLine {
  readonly node: string
  readonly path: string
  readonly bytes: number
  readonly recovery: string | null
}

export interface CleanUpVerdict {
  readonly runbook: 'cleanUp'
  readonly outcome: CleanUpOutcome
  readonly cluster: string
  readonly recovery: string
  readonly removed: readonly AsideLine[]
  readonly freedBytes: number
  readonly kept: readonly (AsideLine & { readonly why: string })[]
  readonly steps: RestoreVerdict['steps']
  readonly checks: readonly Check[]
  readonly approvals: RestoreVerdict['approvals']
  readonly warnings: readonly string[]
}

export function asideLine({ node, path, bytes, recovery }: JudgedAside): AsideLine {
  return { node, path, bytes, recovery }
}

/** What a person reads before anything that was set aside is removed: each thing, where it is from, and what stays. */
export function cleanUpMarkdown(plan: CleanUpPlan, judged: readonly JudgedAside[], now: string): string {
  const goes = judged.filter(({ keep }) => keep === null)
  const stays = judged.filter(({ keep }) => keep !== null)
  const row = ({ node, path, bytes, since, recovery }: JudgedAside): string =>
    `| ${node} | \`${path}\` | ${humanBytes(bytes)} | ${humanSeconds(secondsBetween(since, now))} | ${recovery ?? 'unknown'} |`
  return [
    `**Removes what earlier recoveries of ${plan.cluster} set aside** (plan ${shortDigest(cleanUpDigest(plan))})`,
    '',
    `- **Gone for good: ${humanBytes(sum(goes))} on ${plan.targets.length} nodes.** Without it those recoveries can't be rolled back, and nothing can be salvaged from it.`,
    '- All members are well, and a proved snapshot is newer than each of these. Everything is looked at again after your approval, and what changed since is left alone.',
    '',
    '| node | removed | size | age | of recovery |',
    '|---|---|---|---|---|',
    ...goes.map(row),
    ...(stays.length === 0 ? [] : ['', `Kept: ${stays.length}.`]),
    ...stays.map(
      ({ node, path, bytes, keep }) => `- ${node} \`${path}\`, ${humanBytes(bytes)}: ${keep ?? ''}.`,
    ),
  ].join('\n')
}

/** The journal, the same on every node. */
export function cleanUpJournal(plan: CleanUpPlan, started: string): string {
  return [
    `# Removing what was set aside in ${plan.cluster}, recovery ${plan.recovery}`,
    '',
    `Started ${started}, plan ${cleanUpDigest(plan)}.`,
    'What has been done on this node stands in `done.log` beside this file.',
    `First make sure that nothing else works on it: stop the workflow ${recoveryWorkflowId(plan.cluster)} if it still runs.`,
    '',
    '## Go on by hand (as root)',
    '```sh',
    ...[...plan.remove.actions, ...plan.forget.actions].flatMap(({ node, action }) => [
      `# on ${node}`,
      ...handCommands(action),
    ]),
    '```',
    '',
    '## There is nothing to go back to',
    'What was removed is gone. What is left may stay as it is.',
    '',
    ...letGoByHand(plan),
  ].join('\n')
}

export function sum(items: readonly { readonly bytes: number }[]): number {
  return items.reduce((total, { bytes }) => total + bytes, 0)
}
