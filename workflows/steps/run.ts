import {
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  defineQuery,
  defineSignal,
  defineUpdate,
  isCancellation,
  log,
  metricMeter,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow'
import { excerpt, misshapen, type Answer, type DecisionRecord } from '../../domain/consent.ts'
import { METRICS } from '../../domain/metrics.ts'
import { DECIDE_NOW_UPDATE, DECIDE_SIGNAL, PROGRESS_QUERY } from '../../domain/messages.ts'
import {
  progressMarkdown,
  secondsBetween,
  type Progress,
  type StepProgress,
  type WaitingCheckpoint,
} from '../../domain/progress.ts'
import type { Check } from '../../domain/verdict.ts'
import { causeOf, runFailure } from './failure.ts'

export const progressQuery = defineQuery<Progress>(PROGRESS_QUERY)
export const decideSignal = defineSignal<[unknown]>(DECIDE_SIGNAL)
export const decideNowUpdate = defineUpdate<Answer, [unknown]>(DECIDE_NOW_UPDATE)

const KEPT_DECISIONS = 100

/** Says what becomes of a decision, at once or when its proof was checked. It never throws. */
export type Receive = (sent: unknown) => Answer | Promise<Answer>

const nobodyAsked: Receive = () => ({ counted: false, because: 'no checkpoint is waiting' })

/** One run of a runbook: what it tells people while it goes on. */
export class Run {
  readonly #runbook: string
  readonly #cluster: string
  readonly #steps: StepProgress[] = []
  readonly #decisions: DecisionRecord[] = []
  readonly #warnings: string[] = []
  #decisionsSeen = 0
  #waiting: WaitingCheckpoint | null = null
  #checks: readonly Check[] = []
  #receive: Receive = nobodyAsked

  /** Opens the run. Handlers are set before the first await, so that nothing sent early is lost. */
  constructor(runbook: string, cluster: string) {
    this.#runbook = runbook
    this.#cluster = cluster
    setHandler(progressQuery, () => this.progress())
    setHandler(decideSignal, async (sent) => {
      await this.#decide(sent)
    })
    setHandler(decideNowUpdate, (sent) => this.#decide(sent), {
      validator(sent) {
        const fault = misshapen(sent)
        if (fault !== null) throw ApplicationFailure.nonRetryable(fault, 'input-invalid')
      },
    })
  }

  get cluster(): string {
    return this.#cluster
  }

  progress(): Progress {
    return {
      runbook: this.#runbook,
      cluster: this.#cluster,
      workflowId: workflowInfo().workflowId,
      runId: workflowInfo().originalExecutionRunId,
      steps: this.#steps,
      waiting: this.#waiting,
      decisions: this.#decisions,
      decisionsSeen: this.#decisionsSeen,
      checks: this.#checks,
    }
  }

  /** Does one step under the name that people see in the terminal, the Temporal UI and the report. */
  async step<Result>(
    title: string,
    work: () => Promise<Result>,
    note?: (result: Result) => string,
  ): Promise<Result> {
    const index = this.#steps.length
    const started: StepProgress = { title, state: 'running', startedAt: utcNow(), endedAt: null, note: null }
    this.#set(index, started)
    log.info(`${title}: started`)
    try {
      const result = await work()
      const seen = note?.(result) ?? null
      this.#set(index, { ...started, state: 'done', endedAt: utcNow(), note: seen })
      log.info(`${title}: done${seen === null ? '' : `, ${seen}`}`)
      return result
    } catch (error) {
      const reason = causeOf(error).message.split('\n')[0] ?? ''
      this.#set(index, { ...started, state: 'failed', endedAt: utcNow(), note: reason })
      log.warn(`${title}: failed, ${reason}`)
      throw error
    }
  }

  /** How long each step took, for the verdict. */
  timings(): { title: string; seconds: number; outcome: string }[] {
    return this.#steps.map(({ title, state, startedAt, endedAt, note }) => ({
      title,
      seconds: Math.round(secondsBetween(startedAt, endedAt ?? utcNow()) * 10) / 10,
      outcome: note ?? state,
    }))
  }

  /**
   * Turns what the runbook or a step of it throws on purpose into what Temporal keeps as the run's failure. Who
   * sent a decision gets an answer before the run ends.
   */
  async through<Result>(runbook: () => Promise<Result>): Promise<Result> {
    try {
      const result = await runbook()
      this.#count('completed', outcomeOf(result))
      return result
    } catch (error) {
      this.#count(isCancellation(error) ? 'cancelled' : 'failed', causeOf(error).code)
      throw runFailure(error, this.#warnings)
    } finally {
      await CancellationScope.nonCancellable(() => condition(allHandlersFinished))
    }
  }

  /** Keeps what did not stop the run and what somebody should know. */
  warn(warnings: readonly string[]): void {
    for (const warning of warnings) log.warn(warning)
    this.#warnings.push(...warnings)
  }

  warnings(): readonly string[] {
    return this.#warnings
  }

  showChecks(checks: readonly Check[]): void {
    this.#checks = checks
    this.#tell()
  }

  /** Opens the door for decisions, and closes it with null. */
  waitFor(waiting: WaitingCheckpoint | null, receive?: Receive): void {
    this.#waiting = waiting
    this.#receive = receive ?? nobodyAsked
    this.#tell()
  }

  /** One way for Signal and Update: judged, proved, recorded, answered. */
  async #decide(sent: unknown): Promise<Answer> {
    const answer = await this.#receive(sent)
    const because = answer.counted ? null : answer.because
    this.#decisionsSeen += 1
    this.#decisions.push({ at: utcNow(), sent: excerpt(sent), counted: answer.counted, because })
    // A flood does no harm: the last hundred are kept, and the count of all.
    if (this.#decisions.length > KEPT_DECISIONS) this.#decisions.shift()
    if (because !== null) log.warn('a decision changed nothing', { because })
    this.#tell()
    return answer
  }

  /** For the metrics. The SDK leaves it out of replays. */
  #count(ended: 'completed' | 'failed' | 'cancelled', outcome: string): void {
    const { runs, runEnded } = METRICS
    const labels = { cluster: this.#cluster, runbook: this.#runbook, ended }
    metricMeter.createCounter(runs.name, undefined, runs.about).add(1, { ...labels, outcome })
    metricMeter.createGauge(runEnded.name, 'float', undefined, runEnded.about).set(Date.now() / 1_000, labels)
  }

  #set(index: number, step: StepProgress): void {
    this.#steps[index] = step
    this.#tell()
  }

  #tell(): void {
    setCurrentDetails(progressMarkdown(this.progress()))
  }
}

/** The word of a verdict, which every runbook's has. */
function outcomeOf(verdict: unknown): string {
  if (typeof verdict !== 'object' || verdict === null || !('outcome' in verdict)) return ''
  return String(verdict.outcome)
}

export function utcNow(): string {
  return new Date().toISOString()
}
