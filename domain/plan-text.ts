import { fencedJournal, fencedMarkdown } from './fence-text.ts'
import { letGoByHand } from './journal.ts'
import type { PlanStep } from './plan-step.ts'
import { shortDigest } from './consent.ts'
import { handCommands } from './node-actions.ts'
import { journalPath } from './node-paths.ts'
import { humanBytes, humanSeconds, secondsBetween } from './progress.ts'
import {
  digestOf,
  expectedRevision,
  fenceOf,
  planSteps,
  undoSteps,
  type RestorePlan,
} from './restore-plan.ts'
import { keysText, type ProvedSnapshot } from './snapshot.ts'
import { failedChecks, type Check } from './verdict.ts'
import { bestKnownRevision, standsAlone, type NodeSurvey } from './survey.ts'
import { judgeVersions } from './versions.ts'

/** What a restore to this snapshot loses: the time since it was taken, and revisions as far as any member knows. */
export function lossOf(
  snapshot: Pick<ProvedSnapshot, 'takenAt' | 'revision'>,
  survey: readonly NodeSurvey[],
  now: string,
): { seconds: number; revisions: string | null } {
  const live = bestKnownRevision(survey)
  const behind = live === null ? null : BigInt(live) - BigInt(snapshot.revision)
  return {
    seconds: Math.max(0, Math.round(secondsBetween(snapshot.takenAt, now))),
    revisions: behind === null ? null : (behind > 0n ? behind : 0n).toString(),
  }
}

export interface Shown {
  readonly snapshot: ProvedSnapshot
  readonly survey: readonly NodeSurvey[]
  readonly skipped: readonly { readonly key: string; readonly reason: string }[]
  readonly now: string
  /** Whether the snapshot lies on every node, or that is still to come. */
  readonly staged: boolean
}

/** What a person reads before consenting to a restore: what is taken, what is lost, what happens where, the way back. */
export function restorePlanMarkdown(plan: RestorePlan, shown: Shown): string {
  const loss = lossOf(shown.snapshot, shown.survey, shown.now)
  const revisions =
    loss.revisions === null
      ? 'no member answers, so how many revisions is unknown'
      : `at least ${loss.revisions} revisions`
  return [
    `**Restores ${plan.cluster} from \`${plan.snapshot.key}\`** (plan ${shortDigest(digestOf(plan))})`,
    '',
    `- Taken ${shown.snapshot.takenAt}, ${humanSeconds(loss.seconds)} ago: ${keysText(shown.snapshot)}, revision ${plan.snapshot.revision}, ${humanBytes(plan.snapshot.sizeBytes)}; ${shown.staged ? 'on every node and checked there' : 'a restore first puts it on every node and checks it there'}.`,
    `- **Lost: everything written since, ${humanSeconds(loss.seconds)}** (${revisions}).`,
    `- Revisions go on from ${expectedRevision(plan)}; watches from before are told to start anew.`,
    ...shown.skipped.map(({ key, reason }) => `- Not taken: \`${key}\`: ${reason}.`),
    ...judgeVersions(shown.snapshot, shown.survey).warnings.map((warning) => `- ⚠ ${warning}.`),
    ...fencedMarkdown(plan),
    '',
    '| node | now | is stopped | its data moves to |',
    '|---|---|---|---|',
    ...plan.targets.map(
      ({ node }) =>
        `| ${node} | ${nodeNow(node, shown.survey)} | ${stopped(plan, node)} | ${setAside(plan, node)} |`,
    ),
    ...fenceOf(plan).map(({ node }) => `| ${node} | stated to be off | nothing is done there | stays |`),
    '',
    `Way back: until etcd takes writes again, a failure or a refusal puts everything back by itself. Nothing is deleted. By hand: \`${journalPath(plan.recovery)}\` on each node.`,
    ...restartHint(shown.survey),
    ...kubeletHint(shown.survey),
  ].join('\n')
}

/** What a person reads before accepting a restored cluster. */
export function acceptMarkdown(plan: RestorePlan, checks: readonly Check[]): string {
  const failed = failedChecks(checks)
  return [
    `**${plan.cluster} is restored from \`${plan.snapshot.key}\` and open to clients.**`,
    failed.length === 0
      ? `All ${checks.length} checks are without a failure.`
      : `⚠ ${failed.length} of ${checks.length} checks failed: ${failed.map((one) => `${one.name} (${one.evidence})`).join('; ')}.`,
    '',
    ...fenceOf(plan).map(
      ({ node }) =>
        `⚠ ${node} has no member. When it comes back: \`requorum replace ${plan.cluster} ${node}\`.`,
    ),
    'Approve to accept it. Refused or not answered in time, it stays as it is, with the verdict "unaccepted".',
    `To give it up for what was there before the restore, afterwards: \`requorum roll-back ${plan.cluster}\`.`,
  ].join('\n')
}

function nodeNow(node: string, survey: readonly NodeSurvey[]): string {
  const found = survey.find((one) => one.node === node)
  if (!found?.reached) return 'not reached'
  const data =
    found.dataDir.bytes > 0
      ? `data directory of ${humanBytes(found.dataDir.bytes)}`
      : found.dataDir.exists
        ? 'data directory without a log'
        : 'no data directory'
  const etcd = !found.member.answers
    ? 'etcd is silent'
    : standsAlone(found, survey.length)
      ? `**etcd runs as a cluster of its own** (revision ${found.member.revision})`
      : found.member.healthy
        ? 'etcd answers, quorum holds'
        : 'etcd answers, no quorum'
  return `${etcd}; ${data}`
}

function stopped(plan: RestorePlan, node: string): string {
  const found = plan.stop.actions.find((one) => one.node === node)
  return found?.action.kind === 'stop-pods' ? found.action.pods.join(', ') : ''
}

function setAside(plan: RestorePlan, node: string): string {
  const found = plan.setAside.actions.find((one) => one.node === node)
  return found?.action.kind === 'set-aside' ? `\`${found.action.to}\`` : ''
}

/** Data directories that survive may hold what the snapshot lacks; a person should know before saying yes. */
function restartHint(survey: readonly NodeSurvey[]): string[] {
  const alive = survey
    .filter((one) => one.reached && one.dataDir.exists && one.dataDir.bytes > 0)
    .map((one) => one.node)
  if (alive.length * 2 <= survey.length) return []
  return [
    '',
    `⚠ Data directories of ${alive.join(', ')} are still there. If etcd was merely stopped, starting it again loses nothing; a restore loses what is named above.`,
  ]
}

/** etcd comes back through the kubelet; one that somebody stopped is left stopped. */
function kubeletHint(survey: readonly NodeSurvey[]): string[] {
  const still = survey
    .filter((one) => one.reached && one.symptoms?.kubelet === 'inactive')
    .map((one) => one.node)
  if (still.length === 0) return []
  return [
    '',
    `⚠ The kubelet of ${still.join(', ')} stands still and stays so: start it before you approve (\`systemctl start kubelet\`), or etcd does not come up there and everything is put back.`,
  ]
}

function commandBlock(steps: readonly PlanStep[], node: string): string[] {
  return steps.flatMap((step, index) => {
    const mine = step.actions.filter((one) => one.node === node)
    return mine.length === 0
      ? []
      : [`# ${index + 1}. ${step.title}`, ...mine.flatMap(({ action }) => handCommands(action)), '']
  })
}

/** The journal of one node: how a person goes on or goes back by hand, without Requorum. */
export function journalText(plan: RestorePlan, node: string, started: string): string {
  return [
    `# Recovery ${plan.recovery} of ${plan.cluster}, node ${node}`,
    '',
    `Started ${started}, plan ${digestOf(plan)}.`,
    `Snapshot: ${plan.snapshot.key}, version ${plan.snapshot.versionId}, SHA-256 ${plan.snapshot.sha256}.`,
    '',
    'What has been done on this node stands in `done.log` beside this file.',
    'Each numbered step is done on **all** nodes before the next begins. First make sure that nothing else',
    `works on them: stop the workflow recovery/${plan.cluster} if it still runs.`,
    '',
    ...fencedJournal(plan),
    '## Go on by hand (as root)',
    '```sh',
    ...commandBlock(planSteps(plan), node),
    '```',
    '',
    `## Go back by hand (as root), only while no client has written to the restored cluster`,
    '```sh',
    ...commandBlock(undoSteps(plan), node),
    '```',
    '',
    ...letGoByHand(plan),
  ].join('\n')
}

/** Every command, per step in order and per node, as `requorum plan restore` prints it. */
export function planCommands(
  plan: RestorePlan,
): { title: string; beforeOpen: boolean; nodes: { node: string; commands: string[] }[] }[] {
  const after = [plan.startApiServers, plan.startControllers]
  return planSteps(plan).map((step) => ({
    title: step.title,
    beforeOpen: !after.includes(step),
    nodes: step.actions.map(({ node, action }) => ({ node, commands: handCommands(action) })),
  }))
}
