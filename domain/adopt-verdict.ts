import type { RecordedRunbook } from './recovery-record.ts'
import type { ReplaceOutcome, RestoreOutcome, RestoreVerdict } from './verdict.ts'

/** How adopting ended: as the recovery that was adopted ends, or */
export type AdoptOutcome =
  | RestoreOutcome
  | ReplaceOutcome
  /** a roll-back was brought to its end, */
  | 'rolled-back'
  /** it was taken back: data and manifests are what they were before it, */
  | 'undone'
  /** or there was nothing but locks and a paused schedule, which are free again. */
  | 'let-go'

export interface AdoptVerdict extends Pick<
  RestoreVerdict,
  'cluster' | 'steps' | 'checks' | 'approvals' | 'setAside' | 'freshBackup' | 'warnings'
> {
  readonly runbook: 'adopt'
  readonly outcome: AdoptOutcome
  /** Whose work it was; null where nothing was recorded. */
  readonly adopted: { readonly runbook: RecordedRunbook; readonly recovery: string } | null
}
