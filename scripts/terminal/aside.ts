import type { CleanUpVerdict } from '../../domain/clean-up-text.ts'
import { humanBytes, humanSeconds } from '../../domain/progress.ts'
import type { RollBackVerdict } from '../../domain/roll-back-text.ts'
import { NOTHING_CHANGED, NOTHING_REMOVED } from './declined.ts'
import { facts } from './table.ts'
import { approved, lines, stepsAndChecks, warningLines } from './verdict.ts'

const CLEAN_UP_OUTCOMES: Readonly<Record<CleanUpVerdict['outcome'], (verdict: CleanUpVerdict) => string>> = {
  cleaned: ({ cluster, removed, freedBytes }) =>
    `CLEANED: ${removed.length} things on the nodes of ${cluster} are gone, ${humanBytes(freedBytes)}.`,
  nothing: ({ cluster, kept }) =>
    kept.length === 0
      ? `NOTHING: nothing is set aside on the nodes of ${cluster}.`
      : `NOTHING: nothing on the nodes of ${cluster} may be removed yet; see why of each.`,
  ...NOTHING_REMOVED,
}

/** The report of a clean-up. The verdict is its last line, where eyes and scripts look. */
export function cleanUpVerdictText(verdict: CleanUpVerdict): string {
  return [
    ...facts([
      ['recovery', verdict.recovery],
      ...approved(verdict.approvals),
      ...lines(
        'removed',
        verdict.removed,
        ({ node, path, bytes }) => `${node}:${path}, ${humanBytes(bytes)}`,
      ),
      ...lines(
        'kept',
        verdict.kept,
        ({ node, path, bytes, why }) => `${node}:${path}, ${humanBytes(bytes)}: ${why}`,
      ),
    ]),
    ...stepsAndChecks(verdict),
    ...warningLines(verdict.warnings),
    '',
    CLEAN_UP_OUTCOMES[verdict.outcome](verdict),
  ].join('\n')
}

const ROLL_BACK_OUTCOMES: Readonly<Record<RollBackVerdict['outcome'], (verdict: RollBackVerdict) => string>> =
  {
    'rolled-back': ({ cluster, of, now }) =>
      `ROLLED BACK: ${cluster} is what it was before the restore ${of}. ${now ?? ''}`,
    unfinished: ({ cluster }) =>
      `UNFINISHED: the old etcd of ${cluster} is back, and not all else is; see which check failed.`,
    ...NOTHING_CHANGED,
  }

/** The report of a roll-back, with the verdict as its last line too. */
export function rollBackVerdictText(verdict: RollBackVerdict): string {
  const { seconds, revisions } = verdict.loss
  return [
    ...facts([
      ['recovery', verdict.recovery],
      ['takes back', verdict.of],
      ['lost', `${humanSeconds(seconds)}, ${revisions ?? 'an unknown number of'} revisions`],
      ['backup before', verdict.backup],
      ...approved(verdict.approvals),
      ...lines('set aside', verdict.setAside, ({ node, path }) => `${node}:${path}`),
    ]),
    ...stepsAndChecks(verdict),
    ...warningLines(verdict.warnings),
    '',
    ROLL_BACK_OUTCOMES[verdict.outcome](verdict),
  ].join('\n')
}
