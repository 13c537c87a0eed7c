/**
 * The real workflow code in its real sandbox, driven activation by activation, without a server: what the SDK's core
 * does between a history and a workflow, as far as recoveries need it. It is a hundred times as fast as a test server,
 * time is a number, and a worker can be lost at every activation: a new sandbox then replays what the old one was told,
 * and has to command the same.
 */
/* eslint-disable @typescript-eslint/consistent-type-assertions, @typescript-eslint/no-unnecessary-type-assertion -- what only the SDK's core makes whole */
import assert from 'node:assert/strict'
import { defaultPayloadConverter as converter, TypedSearchAttributes } from '@temporalio/common'
import { msToTs } from '@temporalio/common/lib/time.js'
import { parseWorkflowCode } from '@temporalio/worker/lib/worker.js'
import { ReusableVMWorkflowCreator } from '@temporalio/worker/lib/workflow/reusable-vm.js'
import { globalHandlers } from '@temporalio/worker/lib/workflow/vm-shared.js'
import { PROGRESS_QUERY, TASK_QUEUE } from '../../domain/messages.ts'
import type { Progress } from '../../domain/progress.ts'

type Sandbox = Awaited<ReturnType<ReusableVMWorkflowCreator['createWorkflow']>>
type Activation = Parameters<Sandbox['activate']>[0]
type Job = NonNullable<Activation['jobs']>[number]
type Completion = Awaited<ReturnType<Sandbox['activate']>>
type Command = NonNullable<NonNullable<Completion['successful']>['commands']>[number]

/** What a workflow waits for: an activity or another workflow that somebody has to do. */
export interface Asked {
  readonly seq: number
  readonly kind: 'activity' | 'workflow'
  readonly name: string
  readonly args: readonly unknown[]
}

export type Outcome = { readonly value: unknown } | { readonly failure: { code: string; message: string } }

export type Ending = Outcome | { readonly cancelled: true }

export class BareEngine {
  readonly #creator: ReusableVMWorkflowCreator
  #count = 0

  private constructor(creator: ReusableVMWorkflowCreator) {
    this.#creator = creator
  }

  static async start(code: string, activities: readonly string[]): Promise<BareEngine> {
    const creator = await ReusableVMWorkflowCreator.create(
      parseWorkflowCode(code),
      5_000,
      new Set(activities),
    )
    // Stack traces of every promise are for people who debug, and cost most of the time.
    globalHandlers.uninstall()
    return new BareEngine(creator)
  }

  async run(type: string, workflowId: string, input: unknown, now: number): Promise<BareRun> {
    this.#count += 1
    const runId = `00000000-0000-4000-8000-${this.#count.toString(16).padStart(12, '0')}`
    const run = new BareRun(() => this.#workflow(type, workflowId, runId, now), runId, now)
    await run.begin(type, workflowId, input)
    return run
  }

  async stop(): Promise<void> {
    await this.#creator.destroy()
  }

  #workflow(workflowType: string, workflowId: string, runId: string, now: number): Promise<Sandbox> {
    return this.#creator.createWorkflow({
      info: {
        ...{ workflowId, runId, workflowType, firstExecutionRunId: runId, originalExecutionRunId: runId },
        ...{ searchAttributes: {}, typedSearchAttributes: new TypedSearchAttributes() },
        ...{ taskQueue: TASK_QUEUE, namespace: 'default', attempt: 1, taskTimeoutMs: 10_000 },
        ...{ startTime: new Date(now), runStartTime: new Date(now), historyLength: 3, historySize: 300 },
        ...{ continueAsNewSuggested: false, targetWorkerDeploymentVersionChanged: false, currentBuildId: '' },
        unsafe: {
          now: Date.now,
          isReplaying: false,
          isReplayingHistoryEvents: false,
          random: { random: Math.random, uuid4: () => runId, fill: (bytes: Uint8Array) => bytes },
        },
      } as unknown as Parameters<ReusableVMWorkflowCreator['createWorkflow']>[0]['info'],
      randomnessSeed: [1, 2, 3, 4, 5, 6, 7, 8],
      now,
      showStackTraceSources: false,
    })
  }
}

/** One run, at a moment of its own time. */
export class BareRun {
  now: number
  /** In the order in which they were asked for. */
  readonly asked = new Map<number, Asked>()
  ending: Ending | null = null
  readonly #make: () => Promise<Sandbox>
  readonly #runId: string
  readonly #history: { readonly activation: Activation; readonly commands: string }[] = []
  readonly #timers = new Map<number, number>()
  readonly #patches = new Set<string>()
  readonly #flags = new Set<number>()
  #workflow: Sandbox | null = null
  #updates = 0
  /** Told of what a workflow asks for, at the moment when it does. */
  onAsked: (asked: Asked) => void = () => undefined

  constructor(make: () => Promise<Sandbox>, runId: string, now: number) {
    this.#make = make
    this.#runId = runId
    this.now = now
  }

  begin(workflowType: string, workflowId: string, input: unknown): Promise<void> {
    return this.#activate([
      {
        initializeWorkflow: { workflowType, workflowId, arguments: [converter.toPayload(input)], attempt: 1 },
      },
    ])
  }

  signal(signalName: string, input: unknown): Promise<void> {
    return this.#activate([
      { signalWorkflow: { signalName, input: [converter.toPayload(input)], identity: 'test' } },
    ])
  }

  update(name: string, input: unknown): Promise<void> {
    const id = `update-${(this.#updates += 1)}`
    return this.#activate([
      {
        doUpdate: {
          ...{ id, protocolInstanceId: id, name, input: [converter.toPayload(input)] },
          meta: { updateId: id, identity: 'test' },
          runValidator: true,
        },
      },
    ])
  }

  cancel(): Promise<void> {
    return this.#activate([{ cancelWorkflow: { reason: 'a test wants it' } }])
  }

  /** Gives the outcome of what was asked for. */
  async answer({ seq, kind, name }: Asked, outcome: Outcome): Promise<void> {
    this.asked.delete(key(kind, seq))
    const result =
      'value' in outcome
        ? { completed: { result: converter.toPayload(outcome.value) } }
        : { failed: { failure: failureOf(kind, name, outcome.failure) } }
    if (kind === 'activity') await this.#activate([{ resolveActivity: { seq, result } }])
    else {
      await this.#activate([
        { resolveChildWorkflowExecutionStart: { seq, succeeded: { runId: `child-${seq}` } } },
      ])
      await this.#activate([{ resolveChildWorkflowExecution: { seq, result } }])
    }
  }

  /** Lets the time pass until the next timer. @returns false when there is none. */
  async passTime(): Promise<boolean> {
    const [next] = [...this.#timers].sort(([, one], [, other]) => one - other)
    if (next === undefined) return false
    const [seq, at] = next
    this.#timers.delete(seq)
    this.now = Math.max(this.now, at)
    await this.#activate([{ fireTimer: { seq } }])
    return true
  }

  /** When the next timer fires; null without one. */
  get nextTimer(): number | null {
    return this.#timers.size === 0 ? null : Math.min(...this.#timers.values())
  }

  /** The worker is lost with all that it remembered. */
  async crash(): Promise<void> {
    await this.#workflow?.dispose()
    this.#workflow = null
  }

  async progress(): Promise<Progress> {
    // Queries are taken as they come, so this one has to say which of the jobs it is.
    const job = {
      queryWorkflow: { queryId: 'q', queryType: PROGRESS_QUERY, arguments: [] },
      variant: 'queryWorkflow' as const,
    }
    const completion = await (await this.#living()).activate(this.#activation([job]))
    const answered = completion.successful?.commands?.[0]?.respondToQuery?.succeeded?.response
    if (!answered) throw new Error('the workflow does not answer')
    return converter.fromPayload<Progress>(answered)
  }

  async end(): Promise<void> {
    await this.crash()
  }

  async #living(): Promise<Sandbox> {
    if (this.#workflow !== null) return this.#workflow
    const workflow = (this.#workflow = await this.#make())
    for (const [index, { activation, commands }] of this.#history.entries()) {
      const known = [...this.#patches].map((patchId) => ({ notifyHasPatch: { patchId } }))
      const again = await workflow.activate({
        ...activation,
        isReplaying: true,
        availableInternalFlags: [...this.#flags],
        jobs: [...(index === 0 ? known : []), ...(activation.jobs ?? [])],
      })
      assert.equal(textOf(again), commands, 'replayed, the workflow commands the same')
    }
    return workflow
  }

  #activation(jobs: Job[]): Activation {
    const timestamp = msToTs(this.now)
    return {
      runId: this.#runId,
      timestamp,
      jobs,
      isReplaying: false,
      historyLength: 3 + this.#history.length,
    } as unknown as Activation
  }

  async #activate(jobs: Job[]): Promise<void> {
    if (this.ending !== null) return
    const workflow = await this.#living()
    const activation = this.#activation(jobs)
    const completion = await workflow.activate(activation)
    if (completion.failed)
      throw new Error(`the workflow task failed: ${completion.failed.failure?.message ?? ''}`)
    for (const flag of completion.successful?.usedInternalFlags ?? []) this.#flags.add(flag)
    this.#history.push({ activation, commands: textOf(completion) })
    const gone: number[] = []
    for (const command of completion.successful?.commands ?? []) this.#heed(command, gone)
    for (const seq of gone) {
      const asked = this.asked.get(seq)
      if (asked === undefined) continue
      this.asked.delete(seq)
      const failure = { message: 'cancelled', canceledFailureInfo: {} }
      await this.#activate(
        asked.kind === 'activity'
          ? [
              {
                resolveActivity: {
                  seq: asked.seq,
                  result: {
                    cancelled: {
                      failure: {
                        message: 'cancelled',
                        activityFailureInfo: { activityType: { name: asked.name } },
                        cause: failure,
                      },
                    },
                  },
                },
              },
            ]
          : [
              {
                resolveChildWorkflowExecutionStart: {
                  seq: asked.seq,
                  cancelled: {
                    failure: {
                      message: 'cancelled',
                      childWorkflowExecutionFailureInfo: childOf(asked.name),
                      cause: failure,
                    },
                  },
                },
              },
            ],
      )
    }
  }

  #heed(command: Command, gone: number[]): void {
    const { scheduleActivity: activity, startChildWorkflowExecution: child, startTimer: timer } = command
    if (activity) this.#ask('activity', activity.seq, activity.activityType, activity.arguments)
    else if (child) this.#ask('workflow', child.seq, child.workflowType, child.input)
    else if (timer) this.#timers.set(timer.seq ?? 0, this.now + msOf(timer.startToFireTimeout))
    else if (command.cancelTimer) this.#timers.delete(command.cancelTimer.seq ?? 0)
    else if (command.requestCancelActivity) gone.push(key('activity', command.requestCancelActivity.seq ?? 0))
    else if (command.cancelChildWorkflowExecution)
      gone.push(key('workflow', command.cancelChildWorkflowExecution.childWorkflowSeq ?? 0))
    else if (command.setPatchMarker) this.#patches.add(command.setPatchMarker.patchId ?? '')
    else if (command.completeWorkflowExecution)
      this.ending = { value: valueOf(command.completeWorkflowExecution.result) }
    else if (command.cancelWorkflowExecution) this.ending = { cancelled: true }
    else if (command.failWorkflowExecution) {
      const { failure } = command.failWorkflowExecution
      this.ending = {
        failure: { code: failure?.applicationFailureInfo?.type ?? '', message: failure?.message ?? '' },
      }
    }
  }

  #ask(
    kind: Asked['kind'],
    seq: number | null | undefined,
    name: string | null | undefined,
    payloads: Parameters<typeof valueOf>[0][] | null | undefined,
  ): void {
    const asked = { kind, seq: seq ?? 0, name: name ?? '', args: (payloads ?? []).map(valueOf) }
    this.asked.set(key(kind, asked.seq), asked)
    this.onAsked(asked)
  }
}

/** Activities and workflows are counted apart. */
function key(kind: Asked['kind'], seq: number): number {
  return kind === 'activity' ? seq : -1 - seq
}

function valueOf(payload: Parameters<typeof converter.fromPayload>[0] | null | undefined): unknown {
  return payload === null || payload === undefined ? undefined : converter.fromPayload<unknown>(payload)
}

function msOf(duration: { seconds?: unknown; nanos?: number | null } | null | undefined): number {
  return Number(duration?.seconds ?? 0) * 1_000 + (duration?.nanos ?? 0) / 1_000_000
}

function failureOf(kind: Asked['kind'], name: string, { code, message }: { code: string; message: string }) {
  const cause = {
    message,
    source: 'TypeScriptSDK',
    applicationFailureInfo: { type: code, nonRetryable: true },
  }
  return kind === 'activity'
    ? { message: 'Activity task failed', cause, activityFailureInfo: { activityType: { name } } }
    : { message: 'Child failed', cause, childWorkflowExecutionFailureInfo: childOf(name) }
}

/** A server names the execution too, and the SDK fails the workflow task without it. */
function childOf(name: string) {
  return { workflowType: { name }, workflowExecution: { workflowId: name, runId: '' } }
}

/** The commands as one text; what only helps people to debug is left out. */
function textOf(completion: Completion): string {
  // A Long has a JSON of its own; patch markers come only where nothing is replayed.
  const commands = completion.successful?.commands ?? []
  return JSON.stringify(
    commands.filter(({ setPatchMarker }) => !setPatchMarker),
    (name, value: unknown) => (name === 'stackTrace' ? '' : value),
  )
}
