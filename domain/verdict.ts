import type { Inventory } from './snapshot.ts'
import type { EtcdId, Revision } from './values.ts'

/** One check with what it saw. `skipped` always says why. */
export interface Check {
  readonly name: string
  readonly verdict: 'pass' | 'warn' | 'fail' | 'skipped'
  readonly evidence: string
}

export function check(name: string, passed: boolean, evidence: string): Check {
  return { name, verdict: passed ? 'pass' : 'fail', evidence }
}

export function failedChecks(checks: readonly Check[]): Check[] {
  return checks.filter((one) => one.verdict === 'fail')
}

/** What a restored cluster has to be. */
export interface RestoredExpectation {
  readonly members: readonly { readonly name: string; readonly peerUrl: string }[]
  /** The snapshot's revision and the bump: no client may see a lower one. */
  readonly revision: Revision
  /** The ID that it had before; null when nobody knows it. A restore gives it another. */
  readonly previousClusterId: EtcdId | null
  readonly inventory: Inventory
}

/** How a recovery ended. Anything but `restored` leaves something for a person to look at. */
export type RestoreOutcome =
  /** Restored, validated and accepted. */
  | 'restored'
  /** Restored and open to clients, but nobody accepted it in time or somebody refused to. It stays. */
  | 'unaccepted'
  /** Nothing was touched: consent was refused, */
  | 'refused'
  /** or it did not come in time. */
  | 'timed-out'

export interface RestoreVerdict {
  readonly outcome: RestoreOutcome
  readonly cluster: string
  readonly recovery: string
  readonly candidate: { readonly key: string; readonly revision: string; readonly takenAt: string } | null
  /** What the restored cluster lacks: seconds since the snapshot, and revisions as far as they are known. */
  readonly loss: { readonly seconds: number; readonly revisions: string | null } | null
  readonly skippedCandidates: readonly { readonly key: string; readonly reason: string }[]
  readonly steps: readonly { readonly title: string; readonly seconds: number; readonly outcome: string }[]
  readonly checks: readonly Check[]
  readonly approvals: readonly {
    readonly checkpoint: string
    readonly by: readonly string[]
    readonly plan: string
  }[]
  readonly setAside: readonly { readonly node: string; readonly path: string }[]
  readonly freshBackup: string | null
  /** Things that did not stop the run and that somebody should know. */
  readonly warnings: readonly string[]
}

/** How the replacement of a member ended. */
export type ReplaceOutcome =
  /** A new member has the vote, and the cluster was validated. */
  | 'replaced'
  /** The old member is removed and the new one has no vote yet; nobody wanted another try. */
  | 'unfinished'
  /** Nothing was touched: consent was refused, */
  | 'refused'
  /** or it did not come in time. */
  | 'timed-out'

export interface ReplaceVerdict {
  readonly runbook: 'replaceMember'
  readonly outcome: ReplaceOutcome
  readonly cluster: string
  readonly recovery: string
  readonly node: string
  /** The member that went, as etcdctl types its ID; null when its peers had removed it before. */
  readonly removed: string | null
  /** The key of the backup before, or why there was none. */
  readonly backup: string
  readonly steps: RestoreVerdict['steps']
  readonly checks: readonly Check[]
  readonly approvals: RestoreVerdict['approvals']
  readonly setAside: RestoreVerdict['setAside']
  readonly warnings: readonly string[]
}

export interface BackupVerdict {
  readonly outcome: 'proved' | 'quarantined'
  readonly cluster: string
  readonly key: string
  readonly versionId: string
  readonly revision: string
  readonly sizeBytes: number
  /** Versions of keys, as the file counts them. */
  readonly totalKeys: number
  /** Null where the source could not tell them any more. */
  readonly liveKeys: number | null
  readonly source: string
  /** Who brought it to the store: its own node, or the worker, and then why. */
  readonly broughtBy?: string
  readonly pruned: readonly string[]
  readonly warnings: readonly string[]
}
