import type { ReliefPlan, MemberSpace, SpaceSeen } from './relief-plan.ts'
import { failedChecks, type Check, type RestoreVerdict } from './verdict.ts'

/** How making room ended. */
export type ReliefOutcome =
  /** Every member is compacted and defragmented, no alarm stands, and a write went through each of them. */
  | 'freed'
  /** All of it was done, and writes are refused all the same: the content itself is too big for the quota. */
  | 'still-full'
  /** All of it was done, and something else is wrong now; `checks` say what. */
  | 'unhealthy'
  /** Nothing was touched: consent was refused, */
  | 'refused'
  /** or it did not come in time. */
  | 'timed-out'

export interface FreedMember {
  readonly node: string
  readonly beforeBytes: number
  readonly afterBytes: number
  /** Below zero where more was written meanwhile than was freed. */
  readonly gainedBytes: number
  readonly quotaBytes: number | null
}

export interface ReliefVerdict {
  /** What tells it from the verdict of a restore, which has the same workflow ID. */
  readonly runbook: 'relieve'
  readonly outcome: ReliefOutcome
  readonly cluster: string
  readonly recovery: string
  /** In the order in which they were defragmented; empty when nothing was touched. */
  readonly members: readonly FreedMember[]
  /** Null when nothing was touched: then it is gone again. */
  readonly copy: ReliefPlan['copy'] | null
  readonly disarmed: readonly string[]
  readonly steps: RestoreVerdict['steps']
  readonly checks: readonly Check[]
  readonly approvals: RestoreVerdict['approvals']
  readonly freshBackup: string | null
  readonly warnings: readonly string[]
}

/** A member that still has this much of its quota will be full again soon. */
const NEARLY_FULL = 0.8

export function freedMembers(
  order: readonly string[],
  before: readonly SpaceSeen[],
  after: readonly MemberSpace[],
): FreedMember[] {
  return order.flatMap((node) => {
    const was = before.find((one) => one.node === node)
    const is = after.find((one) => one.node === node)
    return was === undefined || is === undefined
      ? []
      : [
          {
            node,
            beforeBytes: was.dbSizeBytes,
            afterBytes: is.dbSizeBytes,
            gainedBytes: was.dbSizeBytes - is.dbSizeBytes,
            quotaBytes: was.quotaBytes,
          },
        ]
  })
}

export function reliefOutcome(checks: readonly Check[]): 'freed' | 'still-full' | 'unhealthy' {
  const failed = failedChecks(checks)
  if (failed.length === 0) return 'freed'
  // etcd's words for a write over the quota (rpctypes.ErrGRPCNoSpace), and for the alarm that it raises.
  return failed.some(({ evidence }) => /database space exceeded|NOSPACE/.test(evidence))
    ? 'still-full'
    : 'unhealthy'
}

/** What somebody should know of members that have room now and not for long. */
export function spaceWarnings(members: readonly FreedMember[]): string[] {
  return members.flatMap(({ node, afterBytes, quotaBytes }) =>
    quotaBytes !== null && afterBytes >= NEARLY_FULL * quotaBytes
      ? [
          `${node} still has ${Math.round((100 * afterBytes) / quotaBytes)} % of its quota: find what fills it, or raise --quota-backend-bytes in every etcd manifest (8 GiB at most)`,
        ]
      : [],
  )
}
