import type { RestorePlan } from './restore-plan.ts'
import type { PlanDigest } from './values.ts'

/**
 * What the workflow `planRestore` answers: what a restore would do if it were started now. Nothing is
 * touched and nothing can be approved by it: a restore makes a plan of its own, with its own token and paths,
 * so its digest differs.
 */
export interface RestorePreview {
  readonly plan: RestorePlan
  readonly digest: PlanDigest
  /** Markdown, as a person would see it at the checkpoint. */
  readonly shows: string
  /** Candidates that were passed over, newest first, each with its reason. */
  readonly skipped: readonly { readonly key: string; readonly reason: string }[]
  readonly warnings: readonly string[]
}
