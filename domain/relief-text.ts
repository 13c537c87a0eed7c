import { letGoByHand } from './journal.ts'
import { shortDigest } from './consent.ts'
import { typedEtcdctl } from './diagnosis/by-hand.ts'
import type { ClusterConfig } from './cluster-config.ts'
import { relieveCommands, reliefDigest, spaceSeen, type ReliefPlan } from './relief-plan.ts'
import { recoveryWorkflowId } from './messages.ts'
import { journalPath } from './node-paths.ts'
import { humanBytes } from './progress.ts'
import type { NodeSurvey } from './survey.ts'

/** What a person reads before old revisions are thrown away: what each member would give back, what is lost, what blocks. */
export function reliefMarkdown(plan: ReliefPlan, survey: readonly NodeSurvey[]): string {
  const { copy } = plan
  const seen = spaceSeen(survey)
  const full = seen.filter(({ alarm }) => alarm).map(({ node }) => node)
  const gained = seen.map(({ dbSizeBytes, dbSizeInUseBytes }) => dbSizeBytes - dbSizeInUseBytes)
  return [
    `**Makes room in the etcd of ${plan.cluster}** (plan ${shortDigest(reliefDigest(plan))})`,
    '',
    full.length === 0
      ? '- No alarm stands; writes go through.'
      : `- **The alarm NOSPACE stands for ${full.join(', ')}: every write is refused**, and so is every backup. It is cleared at the end, and a write proves it.`,
    `- **Thrown away: every older version of every key from before revision ${copy.revision}.** What the keyspace holds now stays. Watches and paged lists from before it start anew.`,
    `- Saved before: all of it, history included, in \`${copy.path}\` on ${copy.node} (${humanBytes(copy.sizeBytes)}, SHA-256 ${copy.sha256.slice(0, 12)}…), and nowhere else; a backup into the store is the last step.`,
    '- Then the members are defragmented one at a time, the leader last: each is blocked while its file is rewritten, the leader with all writes. The next begins when all have caught up.',
    '',
    '| node | database | in use | given back at least | quota | |',
    '|---|---|---|---|---|---|',
    ...seen.map(
      ({ node, dbSizeBytes, dbSizeInUseBytes, quotaBytes, leads, alarm }, at) =>
        `| ${node} | ${humanBytes(dbSizeBytes)} | ${humanBytes(dbSizeInUseBytes)} | ${humanBytes(Math.max(0, gained[at] ?? 0))} | ${quotaText(dbSizeBytes, quotaBytes)} | ${[leads ? 'leads' : '', alarm ? '**NOSPACE**' : ''].filter(Boolean).join(', ')} |`,
    ),
    '',
    `What the compaction frees comes on top. A cancellation ends between two members; each is whole before and after. There is no way back from a compaction. By hand: \`${journalPath(plan.recovery)}\` on each node.`,
  ].join('\n')
}

function quotaText(dbSizeBytes: number, quotaBytes: number | null): string {
  if (quotaBytes === null) return 'none'
  return `${humanBytes(quotaBytes)} (${Math.round((100 * dbSizeBytes) / quotaBytes)} % taken)`
}

/** The journal, the same on every node: what is done on others has its order too. */
export function reliefJournal(config: ClusterConfig, plan: ReliefPlan, started: string): string {
  const { cluster, recovery, copy } = plan
  return [
    `# Making room in the etcd of ${cluster}, recovery ${recovery}`,
    '',
    `Started ${started}, plan ${reliefDigest(plan)}.`,
    `From before: ${copy.path} on ${copy.node}, revision ${copy.revision}, SHA-256 ${copy.sha256}.`,
    '',
    'What has been done on this node stands in `done.log` beside this file.',
    `First make sure that nothing else works on it: stop the workflow ${recoveryWorkflowId(cluster)} if it still runs.`,
    '',
    '## Go on by hand (as root)',
    'Each command may be repeated. Defragment whoever leads last (`endpoint status` says who), and go on to the next',
    'member only when the one before answers again.',
    '```sh',
    ...relieveCommands(plan).flatMap(({ node, commands }) => [
      `# on ${node}`,
      ...commands,
      typedEtcdctl(config, 'endpoint', 'status', '--write-out=table'),
      '',
    ]),
    '# once, on any node: clears NOSPACE. Not while CORRUPT is listed too',
    typedEtcdctl(config, 'alarm', 'list'),
    typedEtcdctl(config, 'alarm', 'disarm'),
    '```',
    '',
    '## There is nothing to go back to',
    'The keyspace holds what it held. It can be left as it is at any point; only the alarm has to be cleared before writes go through.',
    '',
    ...letGoByHand({ cluster, recovery }),
  ].join('\n')
}
