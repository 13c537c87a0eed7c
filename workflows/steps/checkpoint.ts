import { condition, isCancellation, workflowInfo } from '@temporalio/workflow'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import {
  approvedAlready,
  hasApproved,
  consentStatement,
  judge,
  oneLine,
  shortDigest,
  type Answer,
  type Approval,
  type Decision,
  type OpenCheckpoint,
  type StatedConsent,
} from '../../domain/consent.ts'
import { decideCommand, signedDecisionCommands } from '../../domain/messages.ts'
import { humanSeconds } from '../../domain/progress.ts'
import type { RestoreVerdict } from '../../domain/verdict.ts'
import type { PlanDigest } from '../../domain/values.ts'
import { causeOf } from './failure.ts'
import { look } from './hands.ts'
import type { Run } from './run.ts'

/** The checkpoints there are: those that the cluster file has a policy for. */
export type CheckpointName = Exclude<keyof ClusterConfig['approval'], 'proof' | 'allowedSigners'>

export type Consent =
  /** With the plan that it is about, since there may be others. */
  | { readonly outcome: 'approved'; readonly by: readonly string[]; readonly digest: PlanDigest }
  | { readonly outcome: 'refused' | 'timed-out'; readonly by: readonly string[]; readonly digest: PlanDigest }

/** A plan that may be approved instead of the one that a checkpoint is about. */
export interface OtherPlan {
  readonly digest: PlanDigest
  /** `to take another snapshot`: stands behind "approve". */
  readonly does: string
}

/** More than people send, and a bound for what a flood can queue for proving. */
const INBOX = 50

/** A decision that may count, and the way back to whoever sent it. */
interface Candidate {
  readonly decision: Decision
  readonly digest: PlanDigest
  readonly answer: (answer: Answer) => void
}

/**
 * Stops the run until people have decided about exactly this plan, or the time is over.
 *
 * Wrong, late, repeated and unproved decisions change nothing and are recorded. The first valid refusal
 * ends the wait; approvals are counted by different people, as the policy asks.
 *
 * @param others - plans that may be approved instead; each needs all of its approvals for itself
 */
export async function checkpoint(
  run: Run,
  config: ClusterConfig,
  name: CheckpointName,
  digest: PlanDigest,
  shows: string,
  others: readonly OtherPlan[] = [],
): Promise<Consent> {
  const { people, timeout } = config.approval[name]
  const until = new Date(Date.now() + timeout).toISOString()
  const open: OpenCheckpoint = { name, digest, others: others.map((one) => one.digest), people, until }
  const approvals: Approval[] = []
  const approvers = (of = digest): string[] =>
    approvals.filter((one) => one.digest === of).map(({ who }) => who)
  const inbox: Candidate[] = []

  const receive = (sent: unknown): Answer | Promise<Answer> => {
    const judged = judge(sent, open, approvals)
    if (!judged.valid) return no(judged.because)
    // While a proof is checked the time may end; what comes after it came too late.
    if (Date.now() >= Date.parse(until)) return no(`the time was over at ${until}`)
    if (inbox.length >= INBOX) return no('too many decisions at once')
    return new Promise((answer) => inbox.push({ decision: judged.decision, digest: judged.digest, answer }))
  }

  const show = (): void =>
    run.waitFor(
      {
        name,
        plan: shortDigest(digest),
        digest,
        until,
        people,
        proof: config.approval.proof,
        approvedBy: approvals.map(({ who }) => who),
        shows,
        approve: commandsTo('approve', config, open, digest),
        refuse: commandsTo('refuse', config, open, digest),
        ...(others.length === 0
          ? {}
          : {
              others: others.map((one) => ({
                ...one,
                plan: shortDigest(one.digest),
                approve: commandsTo('approve', config, open, one.digest),
              })),
            }),
      },
      receive,
    )

  return run.step(
    `Checkpoint: ${name}`,
    async () => {
      show()
      try {
        for (;;) {
          const left = Date.parse(until) - Date.now()
          // What came in time counts, however late it is looked at.
          const decided = inbox.length > 0 || (left > 0 && (await condition(() => inbox.length > 0, left)))
          if (!decided) return { outcome: 'timed-out', by: approvals.map(({ who }) => who), digest }
          const [candidate] = inbox
          if (candidate === undefined) continue
          const proven = await prove(config, open, candidate)
          // Left in the inbox until here: a cancellation in between is answered below.
          inbox.shift()
          if ('refused' in proven) {
            candidate.answer(no(proven.refused))
            continue
          }
          if (candidate.decision.decision === 'refuse') {
            candidate.answer({ counted: true })
            return { outcome: 'refused', by: [proven.who], digest: candidate.digest }
          }
          if (hasApproved(approvals, proven.who, candidate.digest)) {
            candidate.answer(no(approvedAlready(proven.who)))
            continue
          }
          approvals.push({ who: proven.who, digest: candidate.digest })
          candidate.answer({ counted: true })
          const by = approvers(candidate.digest)
          if (by.length >= people) return { outcome: 'approved', by, digest: candidate.digest }
          show()
        }
      } finally {
        run.waitFor(null)
        for (const { answer } of inbox) answer(no(`"${name}" was over before this was looked at`))
      }
    },
    (consent) =>
      `${consent.outcome}${consent.by.length > 0 ? ` by ${consent.by.join(', ')}` : ''}, plan ${shortDigest(consent.digest)}, ${humanSeconds(timeout / 1_000)} given`,
  )
}

/** A checkpoint at which a cancellation says as little as silence: what was done stays, whatever is said here. */
export async function checkpointAfterwards(...asked: Parameters<typeof checkpoint>): Promise<Consent> {
  try {
    return await checkpoint(...asked)
  } catch (error) {
    if (isCancellation(error)) return { outcome: 'timed-out', by: [], digest: asked[3] }
    throw error
  }
}

/** As it stands in a verdict: what was said at this checkpoint, by whom, and about which plan. */
export function approvalOf(
  name: CheckpointName,
  { outcome, by, digest }: Consent,
): RestoreVerdict['approvals'][number] {
  return { checkpoint: `${name}: ${outcome}`, by, plan: digest }
}

/** Who it was, by the policy's proof, or why it can't be told. */
async function prove(
  config: ClusterConfig,
  open: OpenCheckpoint,
  { decision, digest }: Candidate,
): Promise<{ who: string } | { refused: string }> {
  const statement = consentStatement(stated(config, open, digest, decision.decision))
  try {
    const proven = await look.proveConsent({
      cluster: config.cluster,
      statement,
      by: decision.by,
      proof: decision.proof ?? null,
    })
    return 'who' in proven ? proven : { refused: `its proof doesn't hold: ${proven.refused}` }
  } catch (error) {
    if (isCancellation(error)) throw error
    // Not to be told who it was is no consent, and no reason to stop asking: after "open" least of all.
    return { refused: `its proof could not be checked: ${causeOf(error).message}` }
  }
}

function stated(
  config: ClusterConfig,
  open: OpenCheckpoint,
  digest: PlanDigest,
  decision: Decision['decision'],
): StatedConsent {
  const { workflowId, originalExecutionRunId: runId } = workflowInfo()
  return {
    cluster: config.cluster,
    workflowId,
    runId,
    checkpoint: open.name,
    decision,
    digest,
    until: open.until,
  }
}

/** What to type, with requorum and without. */
function commandsTo(
  decision: Decision['decision'],
  config: ClusterConfig,
  open: OpenCheckpoint,
  digest: PlanDigest,
): string {
  const plan = shortDigest(digest)
  const by = 'YOUR-NAME'
  const command = `requorum ${decision} ${config.cluster} --plan ${plan}`
  switch (config.approval.proof) {
    case 'none':
      return [
        command,
        decideCommand(workflowInfo().workflowId, { checkpoint: open.name, decision, plan, by }),
      ].join('\n')
    case 'ssh':
      return [
        `${command} --sign`,
        '# or, without requorum:',
        signedDecisionCommands(stated(config, open, digest, decision), by),
      ].join('\n')
  }
}

function no(because: string): Answer {
  return { counted: false, because: oneLine(because) }
}
