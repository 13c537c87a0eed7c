import type { AdoptVerdict } from '../../domain/adopt-verdict.ts'
import { humanBytes, humanSeconds } from '../../domain/progress.ts'
import { savedKeysText } from '../../domain/snapshot.ts'
import type { BackupVerdict, ReplaceVerdict, RestoreVerdict } from '../../domain/verdict.ts'
import { NOTHING_CHANGED } from './declined.ts'
import { checkLines } from './progress.ts'
import { facts, indented } from './table.ts'
import { utcWithAge } from './times.ts'

const RESTORE_OUTCOMES: Readonly<
  Record<RestoreVerdict['outcome'], (of: { readonly cluster: string }) => string>
> = {
  restored: ({ cluster }) => `RESTORED: ${cluster} is restored, validated and accepted.`,
  unaccepted: ({ cluster }) =>
    `UNACCEPTED: ${cluster} is restored and open to clients, and nobody accepted it. It stays as it is; look at it now. To give it up for what was there before: requorum roll-back ${cluster}`,
  ...NOTHING_CHANGED,
}

export function backupVerdictText(verdict: BackupVerdict): string {
  return [
    verdict.outcome === 'proved'
      ? `PROVED: ${verdict.key} is stored and was read back.`
      : `QUARANTINED: ${verdict.key} is not plausible. It is kept, and no restore will take it by itself.`,
    ...facts(
      [
        ['version', verdict.versionId],
        ['revision', verdict.revision],
        ['holds', savedKeysText(verdict)],
        ['size', humanBytes(verdict.sizeBytes)],
        ['from', verdict.source],
        ...(verdict.broughtBy === undefined ? [] : [['brought by', verdict.broughtBy] as const]),
        ...(verdict.pruned.length === 0 ? [] : [['pruned', verdict.pruned.join('\n')] as const]),
      ],
      '  ',
    ),
    ...warningLines(verdict.warnings),
  ].join('\n')
}

const REPLACE_OUTCOMES: Readonly<Record<ReplaceVerdict['outcome'], (verdict: ReplaceVerdict) => string>> = {
  replaced: ({ cluster, node }) => `REPLACED: ${node} of ${cluster} has a new member with a vote.`,
  unfinished: ({ cluster, node }) =>
    `UNFINISHED: the old member of ${node} is removed from ${cluster}, and the new one has no vote yet. The others hold the quorum; finish it soon.`,
  ...NOTHING_CHANGED,
}

/** The report of a replacement, with the verdict as its last line too. */
export function replaceVerdictText(verdict: ReplaceVerdict): string {
  return [
    ...facts([
      ['recovery', verdict.recovery],
      ['node', verdict.node],
      ['removed', verdict.removed === null ? 'its peers had removed it before' : `member ${verdict.removed}`],
      ['backup before', verdict.backup],
      ...approved(verdict.approvals),
      ...lines('set aside', verdict.setAside, ({ node, path }) => `${node}:${path}`),
    ]),
    ...stepsAndChecks(verdict),
    ...warningLines(verdict.warnings),
    '',
    REPLACE_OUTCOMES[verdict.outcome](verdict),
  ].join('\n')
}

const ADOPT_OUTCOMES: Readonly<Record<AdoptVerdict['outcome'], (verdict: AdoptVerdict) => string>> = {
  ...RESTORE_OUTCOMES,
  replaced: ({ cluster }) => `REPLACED: the new member of ${cluster} has its vote.`,
  unfinished: ({ cluster, adopted }) =>
    adopted?.runbook === 'rollBack'
      ? `UNFINISHED: the old etcd of ${cluster} is back, and something of the rest is not as it was: see the checks.`
      : `UNFINISHED: the new member of ${cluster} has no vote yet. The others hold the quorum; finish it soon: requorum adopt ${cluster}`,
  'rolled-back': ({ cluster }) =>
    `ROLLED BACK: data and manifests of ${cluster} are what they were before the restore.`,
  undone: ({ cluster }) => `UNDONE: data and manifests of ${cluster} are what they were before the recovery.`,
  'let-go': ({ cluster }) => `LET GO: nothing had been begun on ${cluster}; its nodes are free again.`,
}

/** The report of an adoption, with the verdict as its last line too. */
export function adoptVerdictText(verdict: AdoptVerdict): string {
  const { adopted } = verdict
  return [
    ...facts([
      ['adopted', adopted === null ? 'locks alone' : `${adopted.runbook} ${adopted.recovery}`],
      ...approved(verdict.approvals),
      ...lines('set aside', verdict.setAside, ({ node, path }) => `${node}:${path}`),
      ['new backup', verdict.freshBackup ?? 'none'],
    ]),
    ...stepsAndChecks(verdict),
    ...warningLines(verdict.warnings),
    '',
    ADOPT_OUTCOMES[verdict.outcome](verdict),
  ].join('\n')
}

/** The report of a restore. The verdict is its last line, where eyes and scripts look. */
export function restoreVerdictText(verdict: RestoreVerdict, now: Date): string {
  const { candidate, loss } = verdict
  const main: [string, string][] = [
    ['recovery', verdict.recovery],
    [
      'candidate',
      candidate === null
        ? 'none'
        : `${candidate.key}, revision ${candidate.revision}, taken ${utcWithAge(candidate.takenAt, now)}`,
    ],
    ...(loss === null
      ? []
      : [
          [
            'lost',
            `${humanSeconds(loss.seconds)}, ${loss.revisions ?? 'an unknown number of'} revisions`,
          ] satisfies [string, string],
        ]),
    ...lines('skipped', verdict.skippedCandidates, ({ key, reason }) => `${key}: ${reason}`),
    ...approved(verdict.approvals),
    ...lines('set aside', verdict.setAside, ({ node, path }) => `${node}:${path}`),
    ['new backup', verdict.freshBackup ?? 'none'],
  ]
  return [
    ...facts(main),
    ...stepsAndChecks(verdict),
    ...warningLines(verdict.warnings),
    '',
    RESTORE_OUTCOMES[verdict.outcome](verdict),
  ].join('\n')
}

export function approved(approvals: RestoreVerdict['approvals']): [string, string][] {
  return lines('approved', approvals, (one) => `${one.checkpoint} (plan ${one.plan}) by ${one.by.join(', ')}`)
}

export function stepsAndChecks({ steps, checks }: Pick<RestoreVerdict, 'steps' | 'checks'>): string[] {
  const taken = steps.map((step): [string, string] => [
    step.title,
    `${humanSeconds(step.seconds)}${step.outcome === 'done' ? '' : `  ${step.outcome}`}`,
  ])
  return [
    ...(taken.length === 0 ? [] : ['', 'Steps', ...facts(taken, '  ')]),
    ...(checks.length === 0 ? [] : ['', 'Checks', indented(checkLines(checks).join('\n'))]),
  ]
}

export function warningLines(warnings: readonly string[]): string[] {
  return warnings.length === 0 ? [] : ['', ...warnings.map((warning) => `Warning: ${warning}`)]
}

export function lines<Item>(
  name: string,
  items: readonly Item[],
  text: (item: Item) => string,
): [string, string][] {
  return items.length === 0 ? [] : [[name, items.map(text).join('\n')]]
}
