import { z } from 'zod'
import { RequorumError } from './failures.ts'
import { recoveryDir } from './node-paths.ts'
import { digestOfWhole } from './plan-step.ts'
import type { ReplacePlan } from './replace-plan.ts'
import type { RestorePlan } from './restore-plan.ts'
import type { RollBackPlan } from './roll-back-plan.ts'
import { snapshotManifestSchema, type ProvedSnapshot } from './snapshot.ts'
import { planDigest, utcTime } from './values.ts'

/**
 * What a recovery leaves on every node when it begins: its whole plan, so that it can be finished or taken back by
 * another run when the one that began it is gone, engine and all. The journal beside it says the same to people.
 */
export type RecoveryRecord = {
  readonly version: 1
  readonly cluster: string
  readonly recovery: string
  /** Who held the locks: workflow ID and run ID of the run that began it. */
  readonly owner: string
  readonly startedAt: string
} & (
  | { readonly runbook: 'restoreQuorum'; readonly plan: RestorePlan; readonly snapshot: ProvedSnapshot }
  | { readonly runbook: 'replaceMember'; readonly plan: ReplacePlan }
  | { readonly runbook: 'rollBack'; readonly plan: RollBackPlan }
)
export type RecordedRunbook = RecoveryRecord['runbook']
export type RestoreRecord = RecoveryRecord & { readonly runbook: 'restoreQuorum' }
export type RollBackRecord = RecoveryRecord & { readonly runbook: 'rollBack' }
export type ReplaceRecord = RecoveryRecord & { readonly runbook: 'replaceMember' }

/**
 * How far a recovery came, one file each beside the record, one line that begins with the time.
 * `undoing` is made by the first step of the way back itself, before it touches anything, and is empty.
 */
export const MARKS = ['opened', 'removed', 'undoing', 'ended'] as const
export type Mark = (typeof MARKS)[number]

/** A recovery as one node knows it. */
export interface RecordedRecovery {
  readonly recovery: string
  readonly runbook: RecordedRunbook
  readonly owner: string
  readonly startedAt: string
  readonly digest: string
  /** What each mark that is there says. */
  readonly marks: Readonly<Partial<Record<Mark, string>>>
  /** The last line of what was done on this node; empty before the first. */
  readonly lastDone: string
}

export function recordPath(recovery: string): string {
  return `${recoveryDir(recovery)}/record.json`
}

export function markPath(recovery: string, mark: Mark): string {
  return `${recoveryDir(recovery)}/${mark}`
}

/** The digest goes with it, so that a record which somebody changed is noticed before anybody follows it. */
export function recordText(record: RecoveryRecord): string {
  return `${JSON.stringify({ ...record, digest: digestOfWhole(record.plan) }, null, 1)}\n`
}

const common = {
  version: z.literal(1),
  cluster: z.string(),
  recovery: z.string(),
  owner: z.string(),
  startedAt: utcTime,
  digest: planDigest,
}
/** The plan's own digest says whether it is what was written; its parts are not looked at one by one. */
const schema = z.discriminatedUnion('runbook', [
  z.object({
    ...common,
    runbook: z.literal('restoreQuorum'),
    plan: z.custom<RestorePlan>(isObject),
    snapshot: snapshotManifestSchema.brand<'ProvedSnapshot'>(),
  }),
  z.object({ ...common, runbook: z.literal('replaceMember'), plan: z.custom<ReplacePlan>(isObject) }),
  z.object({ ...common, runbook: z.literal('rollBack'), plan: z.custom<RollBackPlan>(isObject) }),
])

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null
}

/**
 * Reads a record as `recordText` wrote it. The plan is taken as it stands when its digest is right: nobody but
 * Requorum and root writes there, and nothing of it is done without a person's consent to that digest.
 *
 * @param where - names the node in the error
 * @throws RequorumError `record-unreadable`
 */
export function readRecord(text: string, where: string): { record: RecoveryRecord; digest: string } {
  const refuse = (why: string): RequorumError =>
    new RequorumError('record-unreadable', {
      what: `The record of a recovery on ${where} can't be followed. Nothing was touched.`,
      why,
      todo: `Go on by hand: the journal beside it says how.`,
    })
  const parsed = schema.safeParse(jsonOf(text))
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw refuse(`${issue?.path.join('.') || 'the file'}: not as this version writes it`)
  }
  const { digest, ...record } = parsed.data
  if (digestOfWhole(record.plan) !== digest) throw refuse('its plan is not the one that was approved')
  return { record, digest }
}

function jsonOf(text: string): unknown {
  try {
    // eslint-disable-next-line no-restricted-properties -- our own record: 64-bit values are strings in it
    return JSON.parse(text)
  } catch {
    return null
  }
}
