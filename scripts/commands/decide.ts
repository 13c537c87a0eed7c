import { userInfo } from 'node:os'
import { InvalidArgumentError, type Command } from 'commander'
import { consentStatement, type Decision } from '../../domain/consent.ts'
import { RequorumError } from '../../domain/failures.ts'
import { decideCommand, recoveryWorkflowId } from '../../domain/messages.ts'
import type { ProofKind, ClusterConfig } from '../../domain/cluster-config.ts'
import type { Progress, WaitingCheckpoint } from '../../domain/progress.ts'
import { planDigest } from '../../domain/values.ts'
import { allowedSignersFile, loadCluster } from '../../workers/home.ts'
import { approvals, waitingText } from '../terminal/waiting.ts'
import { clusterOf, examples, missing, type Act, type Call, type Outcome } from './command.ts'
import type { KnownRun } from './runs.ts'
import type { Sent } from './send-decision.ts'
import { defaultKey, sign } from './sign-consent.ts'

type Word = Decision['decision']

const ABOUT: Readonly<Record<Word, string>> = {
  approve: 'consent to exactly the plan that waits: it is printed, then the decision is sent',
  refuse: 'refuse the plan that waits; the run takes the safe way out of its checkpoint',
}

export function registerDecisions(program: Command, act: Act): void {
  for (const word of ['approve', 'refuse'] as const) {
    const command = program
      .command(word)
      .description(ABOUT[word])
      .argument('<cluster>')
      .requiredOption(
        '--plan <digest>',
        'the first eight hex digits of the plan, or more of them',
        planDigits,
      )
      .option('--checkpoint <name>', 'which checkpoint; by default the one that waits')
      .option(
        '--by <name>',
        'who decides; by default whom the allowed signers name for the key, else your user name on this machine',
      )
      .option('--sign', 'sign the decision with your SSH key, as clusters with `approval.proof: ssh` ask')
      .option(
        '--key <file>',
        'the key to sign with, or the .pub of one that your agent has; by default the first of ~/.ssh',
      )
    act(
      examples(command, [
        `requorum ${word} prod --plan 3fa9c1d2`,
        `requorum ${word} prod --plan 3fa9c1d2 --sign --key ~/.ssh/id_ed25519`,
      ]),
      (call) => decide(call, word),
    )
  }
}

function planDigits(typed: string): string {
  if (/^[0-9a-f]{8,64}$/i.test(typed)) return typed.toLowerCase()
  throw new InvalidArgumentError('It has to be at least 8 hex digits; `requorum status` shows them.')
}

async function decide(call: Call, word: Word): Promise<Outcome> {
  const { runningDrill } = await import('./drill-run.ts')
  const { askProgress, lookAtRun } = await import('./runs.ts')
  const { sendDecision } = await import('./send-decision.ts')
  const config = await loadCluster(call.home, clusterOf(call))
  const { cluster } = config
  const plan = call.text('plan')
  if (plan === undefined) throw missing('--plan')
  const engine = await call.engine()
  const recovery = await lookAtRun(engine, recoveryWorkflowId(cluster))
  const run = recovery.state === 'running' ? recovery : await runningDrill(engine, cluster)
  if (run === null) {
    const anyMore = recovery.state === 'ended' ? ' any more' : ''
    return notSent(cluster, `no recovery of ${cluster} is running${anyMore}`)
  }
  const { progress, silence } = await askProgress(engine, run)
  if (progress === null) {
    const unsigned = {
      checkpoint: call.text('checkpoint') ?? 'destroy',
      decision: word,
      plan,
      by: call.text('by') ?? userName(),
    }
    throw planUnreadable(run, silence, config.approval.proof, unsigned)
  }
  const waiting = progress.waiting
  if (waiting === null) return notSent(cluster, 'no checkpoint is waiting')

  if (!call.json) call.say(`${waitingText(progress, waiting, new Date())}\n`)
  const checkpoint = call.text('checkpoint') ?? waiting.name
  const wanted = { checkpoint, decision: word, plan }
  let decision: Decision
  if (call.flag('sign')) {
    // Nobody's key signs another plan than the one that was read.
    if (checkpoint !== waiting.name) return notSent(cluster, `the checkpoint that waits is "${waiting.name}"`)
    if (!waiting.digest.startsWith(plan)) return notSent(cluster, `the plan that waits is ${waiting.plan}`)
    decision = { ...wanted, ...(await signed(call, config, run.workflowId, word, progress, waiting)) }
  } else if (waiting.proof === 'none') {
    decision = { ...wanted, by: call.text('by') ?? userName() }
  } else {
    return notSent(cluster, `${cluster} asks for a signature: add --sign, or do by hand what is shown`)
  }
  const sent = await sendDecision(engine, run, decision, progress, (line) => call.say(line))
  return told(cluster, decision, sent)
}

async function signed(
  call: Call,
  config: ClusterConfig,
  workflowId: string,
  word: Word,
  progress: Progress,
  waiting: WaitingCheckpoint,
): Promise<Pick<Decision, 'by' | 'proof'>> {
  // Made here, of what was asked for: a run can't have something else signed.
  const statement = consentStatement({
    cluster: config.cluster,
    workflowId,
    runId: progress.runId,
    checkpoint: waiting.name,
    decision: word,
    digest: planDigest.parse(waiting.digest),
    until: waiting.until,
  })
  const key = call.text('key') ?? (await defaultKey())
  if (!call.json) call.say(`Signing plan ${waiting.plan} with ${key}:\n\n${statement}`)
  const { proof, signer } = await sign(statement, key, allowedSignersFile(call.home, config))
  return { by: call.text('by') ?? signer ?? userName(), proof }
}

function told(cluster: string, decision: Decision, result: Sent): Outcome {
  const { checkpoint, decision: word, plan, by } = decision
  const json = { cluster, checkpoint, decision: word, plan, by, sent: true, counted: result.counted }
  if (result.counted === null) {
    return {
      exit: 'waiting',
      text: `Sent, and not known to be counted: ${result.because}. It is kept; look with \`requorum status ${cluster}\`.`,
      json: { ...json, because: result.because, waiting: null },
    }
  }
  if (!result.counted) {
    return {
      exit: 'declined',
      text: `Not counted: ${result.because}. Nothing was changed; the attempt is recorded.`,
      json: { ...json, because: result.because, waiting: null },
    }
  }
  const still = result.progress?.waiting ?? null
  const more = still !== null && still.name === checkpoint && still.digest.startsWith(plan)
  return {
    exit: 'done',
    text: `Counted: ${by} ${word === 'approve' ? 'approved' : 'refused'} "${checkpoint}", plan ${plan.slice(0, 8)}.${
      more && word === 'approve' ? ` It has ${approvals(still)}; somebody else has to approve too.` : ''
    }\nFollow it with \`requorum status ${cluster}\`.`,
    json: { ...json, because: null, waiting: still },
  }
}

function notSent(cluster: string, because: string): Outcome {
  return {
    exit: 'declined',
    text: `Not sent: ${because}. See \`requorum status ${cluster}\`.`,
    json: { cluster, sent: false, counted: false, because, waiting: null },
  }
}

/** An Update needs a worker, and so does the plan that has to be read first. A Signal would be kept. */
function planUnreadable(run: KnownRun, silence: string, proof: ProofKind, unsigned: Decision): RequorumError {
  const signal =
    proof === 'none'
      ? `A Signal waits for a worker. If you have read plan ${unsigned.plan} elsewhere, send one:\n${decideCommand(run.workflowId, unsigned)}`
      : 'A Signal waits for a worker: what you have signed by hand can be sent with `temporal workflow signal` meanwhile.'
  return new RequorumError('engine-unreachable', {
    what: `${run.workflowId} can't be asked for its plan, so nothing was sent.`,
    why: silence,
    todo: `Start a worker with \`requorum up\` and decide again. The run waits in the meantime.\n${signal}`,
  })
}

/** Who sits here: with sudo the person, not root. It is taken on trust; a proof is another policy's matter. */
function userName(): string {
  const sudo = process.env['SUDO_USER']
  if (sudo !== undefined && sudo !== '') return sudo
  try {
    return userInfo().username
  } catch {
    throw missing('--by: this machine has no name for you, so --by')
  }
}
