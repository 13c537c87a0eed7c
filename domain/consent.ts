import { z } from 'zod'
import type { PlanDigest } from './values.ts'

/** One line without blanks around it: "ana " is not a second person, and a name is shown to the next one. */
export const personName = z
  .string()
  .min(1)
  .max(120)
  .regex(/^(?!\s)[^\p{C}\p{Zl}\p{Zp}]+(?<!\s)$/u, 'a name in one line')

/**
 * A person's word at a checkpoint. This module judges it; it never waits and never acts.
 *
 * Consent is given to one plan at one checkpoint: its digest is part of the decision, so that a plan which
 * changed after it was read is not covered by it.
 */
export const decisionSchema = z.strictObject({
  checkpoint: z.string().min(1).max(40),
  decision: z.enum(['approve', 'refuse']),
  /** At least the first eight hex digits of the plan's digest. */
  plan: z.string().regex(/^[0-9a-f]{8,64}$/, 'at least 8 hex digits of the plan'),
  by: personName,
  /** What proves who decided, as the cluster's policy asks. */
  proof: z.string().max(20_000).optional(),
})
export type Decision = z.infer<typeof decisionSchema>

/** What becomes of a decision, its proof included: counted, or the reason why it changed nothing. */
export type Answer = { readonly counted: true } | { readonly counted: false; readonly because: string }

export interface OpenCheckpoint {
  readonly name: string
  readonly digest: PlanDigest
  /** What may be approved instead, each by a digest of its own. */
  readonly others?: readonly PlanDigest[]
  readonly people: number
  readonly until: string
}

/** Somebody's approval of one of the plans that a checkpoint shows. */
export interface Approval {
  readonly who: string
  readonly digest: PlanDigest
}

export interface DecisionRecord {
  readonly at: string
  /** What was sent, cut to a length that a flood can't abuse. */
  readonly sent: string
  readonly counted: boolean
  /** Why it changed nothing, when it did not. */
  readonly because: string | null
}

export type Judgement =
  | {
      readonly valid: true
      readonly decision: Decision
      /** The whole digest of the plan that is meant. */
      readonly digest: PlanDigest
    }
  | { readonly valid: false; readonly because: string }

/** Reads whatever was sent and says whether it is a decision about the checkpoint that is open now. */
export function judge(sent: unknown, open: OpenCheckpoint | null, approvals: readonly Approval[]): Judgement {
  const parsed = decisionSchema.safeParse(sent)
  if (!parsed.success) return no(shapeFault(parsed.error))
  const decision = parsed.data
  if (open === null) return no('no checkpoint is waiting')
  if (decision.checkpoint !== open.name) return no(`the checkpoint that waits is "${open.name}"`)
  const plans = [open.digest, ...(open.others ?? [])]
  const [digest, another] = plans.filter((one) => one.startsWith(decision.plan))
  if (digest === undefined) return no(`the plan that waits is ${plans.map(shortDigest).join(' or ')}`)
  if (another !== undefined) return no('more than one plan begins like this; give more digits')
  if (decision.decision === 'approve' && hasApproved(approvals, decision.by, digest)) {
    return no(approvedAlready(decision.by))
  }
  return { valid: true, decision, digest }
}

/** Why what was sent is no decision at all, whatever waits; null when it has the shape of one. */
export function misshapen(sent: unknown): string | null {
  const parsed = decisionSchema.safeParse(sent)
  return parsed.success ? null : oneLine(shapeFault(parsed.error))
}

export function hasApproved(approvals: readonly Approval[], who: string, digest: PlanDigest): boolean {
  return approvals.some((one) => one.who === who && one.digest === digest)
}

export function approvedAlready(who: string): string {
  return `${who} has approved already; somebody else has to`
}

/** Words from elsewhere as a reason that is shown: one line, and not for ever. */
export function oneLine(words: string): string {
  return words.replaceAll(/[\s\p{C}]+/gu, ' ').slice(0, 300)
}

function no(because: string): Judgement {
  return { valid: false, because: oneLine(because) }
}

function shapeFault(error: z.ZodError): string {
  const issue = error.issues[0]
  return `malformed: ${issue?.path.join('.') || 'the input'}: ${issue?.message ?? 'not a decision'}`
}

export function shortDigest(digest: PlanDigest): string {
  return digest.slice(0, 8)
}

/** What was sent, as text of bounded length for the record. Of a proof only its length is kept. */
export function excerpt(sent: unknown): string {
  let text: string
  try {
    text =
      JSON.stringify(sent, (field, value: unknown) =>
        field === 'proof' && typeof value === 'string' ? `(${value.length} characters)` : value,
      ) ?? String(sent)
  } catch {
    text = '(not JSON)'
  }
  return text.length > 300 ? `${text.slice(0, 300)}… (${text.length} characters)` : text
}

/** What a proof has to be about. */
export interface StatedConsent {
  readonly cluster: string
  readonly workflowId: string
  /** The recovery's first run: a reset doesn't change it. */
  readonly runId: string
  readonly checkpoint: string
  readonly decision: Decision['decision']
  readonly digest: PlanDigest
  readonly until: string
}

/** OpenSSH's namespace for signed consent: a signature made for git or a file is none. */
export const CONSENT_NAMESPACE = 'requorum-consent'

/** The canonical statement that a proof signs. Line order and wording are part of the format. */
export function consentStatement(of: StatedConsent): string {
  return [
    'requorum-consent/1',
    `cluster: ${of.cluster}`,
    `workflow: ${of.workflowId}`,
    `run: ${of.runId}`,
    `checkpoint: ${of.checkpoint}`,
    `decision: ${of.decision}`,
    `plan: ${of.digest}`,
    `until: ${of.until}`,
    '',
  ].join('\n')
}
