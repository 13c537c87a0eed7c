import { setTimeout as sleep } from 'node:timers/promises'
import { Client, Connection, WorkflowFailedError, type WorkflowHandle } from '@temporalio/client'
import { ApplicationFailure } from '@temporalio/common'
import type { Decision } from '../domain/consent.ts'
import {
  DECIDE_SIGNAL,
  PROGRESS_QUERY,
  recoveryWorkflowId,
  TASK_QUEUE,
  type ReplaceRequest,
  type RestoreRequest,
} from '../domain/messages.ts'
import { progressMarkdown, type Progress, type WaitingCheckpoint } from '../domain/progress.ts'
import type { BackupVerdict, ReplaceVerdict, RestoreVerdict } from '../domain/verdict.ts'
import type { Lab } from './lab.ts'

/** How a run ended: with its verdict, or with the code and words of its failure. */
export type Ended<Verdict> =
  { readonly verdict: Verdict } | { readonly code: string; readonly message: string }

const POLL_MS = 200

/** What a person does to the lab's cluster over Temporal, by the same names that the CLI and the UI use. */
export class Operator {
  readonly #lab: Lab
  readonly #connection: Connection
  readonly client: Client

  private constructor(lab: Lab, connection: Connection) {
    this.#lab = lab
    this.#connection = connection
    this.client = new Client({ connection })
  }

  static async of(lab: Lab): Promise<Operator> {
    return new Operator(lab, await Connection.connect({ address: lab.engine.address }))
  }

  close(): Promise<void> {
    return this.#connection.close()
  }

  /** Runs one backup to its end, beside any schedule. */
  async backup(): Promise<Ended<BackupVerdict>> {
    const handle = await this.client.workflow.start('backup', {
      taskQueue: TASK_QUEUE,
      workflowId: `backup/${this.#lab.name}/by-hand-${Date.now()}`,
      args: [{ cluster: this.#lab.name }],
    })
    return endOf<BackupVerdict>(handle)
  }

  startRestore(request: Partial<RestoreRequest> = {}): Promise<WorkflowHandle> {
    return this.client.workflow.start('restoreQuorum', {
      taskQueue: TASK_QUEUE,
      workflowId: recoveryWorkflowId(this.#lab.name),
      args: [{ cluster: this.#lab.name, ...request }],
    })
  }

  startReplacement(request: Partial<ReplaceRequest> = {}): Promise<WorkflowHandle> {
    return this.client.workflow.start('replaceMember', {
      taskQueue: TASK_QUEUE,
      workflowId: recoveryWorkflowId(this.#lab.name),
      args: [{ cluster: this.#lab.name, ...request }],
    })
  }

  /** Starts a replacement and approves it; undefined when it ended before it asked. */
  async replaceAndApprove(request: Partial<ReplaceRequest> = {}): Promise<Ended<ReplaceVerdict>> {
    const handle = await this.startReplacement(request)
    const waiting = await this.untilCheckpoint('replace')
    if (waiting !== undefined) await this.decide(waiting, 'approve')
    return endOf<ReplaceVerdict>(handle)
  }

  progress(): Promise<Progress> {
    return this.client.workflow.getHandle(recoveryWorkflowId(this.#lab.name)).query<Progress>(PROGRESS_QUERY)
  }

  /**
   * Waits until the recovery waits for a person at this checkpoint, or one of these; undefined when it ended before.
   * @param seen - told of each change on the way.
   */
  async untilCheckpoint(
    name: string | readonly string[],
    limitMs = 300_000,
    seen?: (progress: Progress) => void,
  ): Promise<WaitingCheckpoint | undefined> {
    const names = typeof name === 'string' ? [name] : name
    const handle = this.client.workflow.getHandle(recoveryWorkflowId(this.#lab.name))
    const deadline = Date.now() + limitMs
    while (Date.now() < deadline) {
      const progress = await this.progress().catch(() => undefined)
      if (progress !== undefined) seen?.(progress)
      const waiting = progress?.waiting
      if (waiting && names.includes(waiting.name)) return waiting
      if ((await handle.describe()).status.name !== 'RUNNING') return undefined
      await sleep(POLL_MS)
    }
    throw new Error(
      `The recovery did not come to the checkpoint "${names.join(' or ')}" within ${limitMs / 1_000} s:\n${progressMarkdown(await this.progress())}`,
    )
  }

  /** Sends a decision by the Signal, exactly as given: it may be nonsense on purpose. */
  async signal(sent: unknown): Promise<void> {
    await this.client.workflow.getHandle(recoveryWorkflowId(this.#lab.name)).signal(DECIDE_SIGNAL, sent)
  }

  decide(waiting: WaitingCheckpoint, decision: Decision['decision'], by = 'ana'): Promise<void> {
    return this.signal({ checkpoint: waiting.name, decision, plan: waiting.plan, by })
  }

  /** Waits for the end of the recovery that runs, or ran last. */
  result(): Promise<Ended<RestoreVerdict>> {
    return endOf<RestoreVerdict>(this.client.workflow.getHandle(recoveryWorkflowId(this.#lab.name)))
  }

  /** How a run ended, whichever it is; waits for it. */
  ended<Verdict>(workflowId: string): Promise<Ended<Verdict>> {
    return endOf<Verdict>(this.client.workflow.getHandle(workflowId))
  }

  /** The same of a recovery that fails: it is not tried again, when it asks for that. */
  async resultWithoutRetry(): Promise<Ended<RestoreVerdict>> {
    const waiting = await this.untilCheckpoint('retry')
    if (waiting !== undefined) await this.decide(waiting, 'refuse')
    return this.result()
  }

  /** Starts a restore and approves its plan, and what came of it; another try after a failure is refused. */
  async restoreAndApprove(request: Partial<RestoreRequest> = {}): Promise<Ended<RestoreVerdict>> {
    await this.startRestore(request)
    const plan = await this.untilCheckpoint('destroy')
    if (plan !== undefined) await this.decide(plan, 'approve')
    const then = await this.untilCheckpoint(['accept', 'retry'])
    if (then !== undefined) await this.decide(then, then.name === 'accept' ? 'approve' : 'refuse')
    return this.result()
  }
}

/** How a run ended, whatever it is; rejects only when the engine doesn't tell. */
export async function endOf<Verdict>(handle: WorkflowHandle): Promise<Ended<Verdict>> {
  try {
    // eslint-disable-next-line @typescript-eslint/no-unsafe-assignment -- an untyped handle's result is any
    const verdict: Verdict = await handle.result()
    return { verdict }
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error
    const cause = error.cause
    return cause instanceof ApplicationFailure
      ? { code: cause.type ?? 'unknown', message: cause.message }
      : { code: 'unknown', message: cause?.message ?? error.message }
  }
}
