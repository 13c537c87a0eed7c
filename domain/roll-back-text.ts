import { backupBeforeMarkdown } from './backup-before.ts'
import { shortDigest } from './consent.ts'
import { letGoByHand } from './journal.ts'
import { handCommands } from './node-actions.ts'
import { journalPath } from './node-paths.ts'
import type { PlanStep } from './plan-step.ts'
import { humanSeconds, secondsBetween } from './progress.ts'
import { expectedRevision } from './restore-plan.ts'
import type { RestoreRecord } from './recovery-record.ts'
import { backToRestored, rollBackDigest, rollBackSteps, type RollBackPlan } from './roll-back-plan.ts'
import { bestKnownRevision, type NodeSurvey } from './survey.ts'
import type { RestoreVerdict } from './verdict.ts'

/** How a roll-back ended. */
export type RollBackOutcome =
  /** Data and manifests are what they were before the restore; `now` says what the cluster is like. */
  | 'rolled-back'
  /** The old etcd is back, and something of the rest is not as it was: see the checks. */
  | 'unfinished'
  /** Nothing was touched: consent was refused, */
  | 'refused'
  /** or it did not come in time. */
  | 'timed-out'

export interface RollBackVerdict {
  readonly runbook: 'rollBack'
  readonly outcome: RollBackOutcome
  readonly cluster: string
  readonly recovery: string
  /** The restore that was taken back. */
  readonly of: string
  /** What was written since the restored cluster was open: in the set-aside data, and nowhere else but in the backup before. */
  readonly loss: { readonly seconds: number; readonly revisions: string | null }
  /** The key of the backup before, or why there was none. */
  readonly backup: string
  /** What the cluster looks like now, in one sentence; null where nothing was done. */
  readonly now: string | null
  readonly steps: RestoreVerdict['steps']
  readonly checks: RestoreVerdict['checks']
  readonly approvals: RestoreVerdict['approvals']
  readonly setAside: RestoreVerdict['setAside']
  readonly warnings: readonly string[]
}

/** What was written since the restored cluster was opened: by the clock, and in revisions as far as a member tells. */
export function lossSinceOpened(
  { plan }: Pick<RestoreRecord, 'plan'>,
  opened: string,
  survey: readonly NodeSurvey[],
  now: string,
): RollBackVerdict['loss'] {
  const live = bestKnownRevision(survey)
  const behind = live === null ? null : BigInt(live) - BigInt(expectedRevision(plan))
  return {
    seconds: Math.max(0, Math.round(secondsBetween(opened, now))),
    revisions: behind === null ? null : (behind > 0n ? behind : 0n).toString(),
  }
}

/** What a person reads before a restored cluster is given up: what is lost, what comes back, the way back. */
export function rollBackMarkdown(plan: RollBackPlan, loss: RollBackVerdict['loss']): string {
  return [
    `**Rolls ${plan.cluster} back to what it was before the restore ${plan.of.recovery}** (plan ${shortDigest(rollBackDigest(plan))})`,
    '',
    `- **Lost: everything written since it was opened at ${plan.of.opened}, ${humanSeconds(loss.seconds)}** (${loss.revisions === null ? 'no member tells how many revisions' : `${loss.revisions} revisions so far`}), and what is written until it is stopped.`,
    '- The restored data is set aside and stays there; nothing is deleted.',
    backupBeforeMarkdown(plan.backup),
    '- The old cluster comes back as it was, ill if it was: done means that data and manifests are what they were.',
    '',
    '| node | is stopped | its data moves to | comes back |',
    '|---|---|---|---|',
    ...plan.targets.map(({ node }) => `| ${node} | ${row(plan, node).join(' | ')} |`),
    '',
    `Way back: until the old etcd is started on all nodes, a failure or a refusal brings the restored cluster back by itself. By hand: \`${journalPath(plan.recovery)}\` on each node.`,
  ].join('\n')
}

function row(plan: RollBackPlan, node: string): string[] {
  const of = (step: PlanStep) => step.actions.find((one) => one.node === node)?.action
  const [stop, setAside, takeBack] = [of(plan.stop), of(plan.setAside), of(plan.takeBack)]
  return [
    stop?.kind === 'stop-pods' ? stop.pods.join(', ') : '',
    setAside?.kind === 'set-aside' ? `\`${setAside.to}\`` : '',
    takeBack?.kind !== 'take-back'
      ? ''
      : takeBack.inode === null
        ? 'no data: there was none'
        : `\`${takeBack.aside}\``,
  ]
}

/** The journal of one node: how a person goes on or goes back by hand, without Requorum. */
export function rollBackJournal(plan: RollBackPlan, node: string, started: string): string {
  const block = (steps: readonly PlanStep[]): string[] =>
    steps.flatMap((step, index) => {
      const mine = step.actions.filter((one) => one.node === node)
      return mine.length === 0
        ? []
        : [`# ${index + 1}. ${step.title}`, ...mine.flatMap(({ action }) => handCommands(action)), '']
    })
  return [
    `# Recovery ${plan.recovery} of ${plan.cluster}, node ${node}`,
    '',
    `Started ${started}, plan ${rollBackDigest(plan)}: the restore ${plan.of.recovery} is rolled back.`,
    '',
    'What has been done on this node stands in `done.log` beside this file.',
    'Each numbered step is done on **all** nodes before the next begins. First make sure that nothing else works',
    `on them: stop the workflow recovery/${plan.cluster} if it still runs.`,
    '',
    '## Go on by hand (as root)',
    '```sh',
    ...block(rollBackSteps(plan)),
    '```',
    '',
    '## Go back to the restored cluster by hand (as root), only while no client has written to the old one',
    '```sh',
    ...block(backToRestored(plan)),
    '```',
    '',
    'Backups take the old cluster for a stranger until the cluster file accepts its ID: `plausibility.acceptClusterId`.',
    '',
    ...letGoByHand(plan),
  ].join('\n')
}
