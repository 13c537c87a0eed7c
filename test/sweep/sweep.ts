import { existsSync, readFileSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ApplicationFailure } from '@temporalio/common'
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client'
import { z } from 'zod'
import { recoveryWorkflowId } from '../../domain/messages.ts'
import type { Progress } from '../../domain/progress.ts'
import { PROGRESS_QUERY } from '../../domain/messages.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import { findEngine, startEngine } from '../../lab/services/engine.ts'
import { findWorker, startWorker, stopWorker } from '../../lab/services/worker.ts'
import { traced, type Armed, type Traced } from '../../workers/failpoints.ts'
import { engineDir, makeSchedule, readAllWhenUp } from '../lab/recoveries.ts'
import type { OwnLab } from '../lab/use-lab.ts'
import { BaseState } from './base-state.ts'
import { casesOf, type Blow, type Case } from './cases.ts'
import { difference, footprint, type Footprint } from './footprint.ts'
import { RUNBOOKS, type Runbook, type RunbookName } from './runbooks.ts'

/** How one case ended. */
export interface Result {
  readonly case: Case
  readonly equal: boolean
  /** The difference, or what is worth knowing of a case that ended equal. */
  readonly note: string
  readonly seconds: number
}

interface Golden {
  readonly footprint: Footprint
  readonly cases: readonly Case[]
}

const POLL_MS = 150
const RUN_LIMIT_MS = 420_000
/** How long a cable stays out. */
const CUT_MS = 6_000
/** How often a person starts what says that it touched nothing. */
const MOST_STARTS = 4
/** How much of a difference is printed. */
const SHOWN = 25
const verdict = z.object({ outcome: z.string() })

const quiet = (): void => undefined

/** Runbooks on one lab, over and over again: each undisturbed once, then struck at a step at a time. */
export class Sweep {
  readonly #own: OwnLab
  readonly #base: BaseState
  readonly #workerEnv: Readonly<Record<string, string>>
  readonly #file: string
  readonly #golden = new Map<RunbookName, Golden>()
  #prepared: { readonly name: RunbookName; readonly end: () => Promise<void> } | null = null

  private constructor(
    own: OwnLab,
    base: BaseState,
    workerEnv: Readonly<Record<string, string>>,
    file: string,
  ) {
    this.#own = own
    this.#base = base
    this.#workerEnv = workerEnv
    this.#file = file
  }

  /** Takes a lab over: its worker gets failpoints, and what the nodes hold now is the base of every case. */
  static async on(own: OwnLab): Promise<Sweep> {
    const { lab, operator } = own
    await makeSchedule(own)
    const backedUp = await operator.backup()
    if (!('verdict' in backedUp)) throw new Error(`The first backup failed: ${backedUp.message}`)
    const file = join(lab.dir, 'engine', 'failpoint.json')
    await stopWorker(lab.dir)
    const base = await BaseState.keep(own)
    return new Sweep(own, base, { REQUORUM_FAILPOINTS: file }, file)
  }

  /** Runs a runbook undisturbed and lists the cases that its steps give. */
  async golden(name: RunbookName): Promise<Golden> {
    const known = this.#golden.get(name)
    if (known !== undefined) return known
    const runbook = runbookOf(name)
    await this.#begin(runbook)
    await rm(`${this.#file}.trace`, { force: true })
    const { outcome } = await this.#toTheEnd(await runbook.start(this.#own), null)
    if (outcome !== runbook.ends)
      throw new Error(`${name} was to end ${runbook.ends}, undisturbed, and ended ${outcome}`)
    const trace = readTrace(`${this.#file}.trace`)
    const golden = {
      footprint: await footprint(this.#own, outcome, runbook.hasQuorum),
      cases: casesOf(name, runbook.workflow, trace),
    }
    this.#golden.set(name, golden)
    return golden
  }

  /** Runs one case. Never rejects: what went wrong is its difference. */
  async run(one: Case): Promise<Result> {
    const began = performance.now()
    const done = (equal: boolean, note: string): Result => ({
      ...{ case: one, equal, note },
      seconds: (performance.now() - began) / 1_000,
    })
    try {
      const runbook = runbookOf(one.runbook)
      const golden = await this.golden(one.runbook)
      await this.#begin(runbook)
      const { workflow, activity, what, nth, node, calls } = one.at
      const armed: Armed = {
        ...{ workflow, activity, what, nth, node, where: one.where, call: Math.ceil(calls / 2) },
        act: one.blow === 'worker killed' ? 'kill' : 'hold',
      }
      await writeFile(this.#file, JSON.stringify(armed))
      let { outcome, refused } = await this.#toTheEnd(await runbook.start(this.#own), one.blow)
      let note = ''
      if (!existsSync(`${this.#file}.tripped`)) return done(false, `never came there (${outcome})`)
      // It looked while a node was away, and said so before it touched anything: whoever started it does so again.
      let starts = 1
      while (refused && outcome !== runbook.ends && starts < MOST_STARTS) {
        starts += 1
        note = `${outcome}, nothing touched; started again${starts > 2 ? ` (${starts - 1})` : ''}`
        // When the node is back: a person would not try before.
        if (runbook.broken !== 'quorum') await readAllWhenUp(this.#own.lab)
        ;({ outcome, refused } = await this.#toTheEnd(await runbook.start(this.#own), null))
      }
      const differs = difference(
        golden.footprint,
        await footprint(this.#own, outcome, runbook.hasQuorum),
      ).filter((line) => starts === 1 || !isBackupBefore(line))
      return differs.length === 0
        ? done(true, note)
        : done(false, [note, ...shortened(differs)].filter(Boolean).join('\n'))
    } catch (error) {
      return done(false, error instanceof Error ? error.message : String(error))
    }
  }

  /** Takes away what a runbook's cases needed. */
  async end(): Promise<void> {
    await this.#prepared?.end()
    this.#prepared = null
  }

  async #begin(runbook: Runbook): Promise<void> {
    const { operator } = this.#own
    for await (const { workflowId } of operator.client.workflow.list({
      query: "ExecutionStatus = 'Running'",
    })) {
      if (!workflowId.startsWith('temporal-sys'))
        await operator.client.workflow.getHandle(workflowId).terminate('the next case').catch(quiet)
    }
    for (const name of ['', '.tripped', '.go']) await rm(`${this.#file}${name}`, { force: true })
    if (this.#prepared?.name !== runbook.name) {
      await this.end()
      const end = await runbook.prepare?.(this.#own)
      if (end !== undefined) this.#prepared = { name: runbook.name, end }
    }
    await this.#base.putBack(runbook.broken)
    await this.#keepWorker()
  }

  /** Approves what is asked, strikes when the failpoint is reached, and sees to it that a worker runs. */
  async #toTheEnd(handle: WorkflowHandle, blow: Blow | null): Promise<{ outcome: string; refused: boolean }> {
    const deadline = Date.now() + RUN_LIMIT_MS
    let approved = ''
    let struck = blow === null || blow === 'worker killed'
    for (;;) {
      if (!struck && existsSync(`${this.#file}.tripped`)) {
        struck = true
        await this.#strike(blow, readFileSync(`${this.#file}.tripped`, 'utf8'))
      }
      await this.#keepWorker()
      const status = await handle.describe().then(({ status: { name } }) => name, quiet)
      if (status !== undefined && status !== 'RUNNING') return this.#ended(handle)
      const waiting = await this.#waiting(handle)
      if (waiting !== null && waiting.digest !== approved) {
        const { name: checkpoint, plan, digest } = waiting
        await handle
          .signal('decide', {
            checkpoint,
            plan,
            decision: checkpoint === 'retry' ? 'refuse' : 'approve',
            by: 'ana',
          })
          .then(() => (approved = digest), quiet)
      }
      if (Date.now() > deadline)
        throw new Error(`did not end within ${RUN_LIMIT_MS / 1_000} s; ${await this.#at(handle)}`)
      await sleep(POLL_MS)
    }
  }

  async #progress(handle: WorkflowHandle): Promise<Progress | undefined> {
    if (handle.workflowId !== recoveryWorkflowId(this.#own.lab.name)) return undefined
    // A query that finds no worker would hold the loop up for ten seconds and more.
    return Promise.race([handle.query<Progress>(PROGRESS_QUERY).catch(quiet), sleep(1_500).then(quiet)]).then(
      (seen) => seen ?? undefined,
    )
  }

  async #waiting(handle: WorkflowHandle): Promise<Progress['waiting']> {
    return (await this.#progress(handle))?.waiting ?? null
  }

  async #at(handle: WorkflowHandle): Promise<string> {
    const last = (await this.#progress(handle))?.steps.at(-1)
    return last === undefined
      ? 'its progress is not known'
      : `it is at "${last.title}" (${last.state}, ${last.note ?? ''})`
  }

  async #ended(handle: WorkflowHandle): Promise<{ outcome: string; refused: boolean }> {
    try {
      const result: unknown = await handle.result()
      return { outcome: verdict.parse(result).outcome, refused: false }
    } catch (error) {
      if (!(error instanceof WorkflowFailedError)) throw error
      const { cause } = error
      if (!(cause instanceof ApplicationFailure)) return { outcome: String(cause?.message), refused: false }
      return { outcome: cause.type ?? 'unknown', refused: /Nothing was (touched|done)/.test(cause.message) }
    }
  }

  async #strike(blow: Blow | null, node: string): Promise<void> {
    const { lab } = this.#own
    const go = (): Promise<void> => writeFile(`${this.#file}.go`, '')
    if (blow === 'engine killed') {
      const engine = await findEngine(engineDir(lab))
      if (engine === undefined) throw new Error('No engine runs.')
      process.kill(engine.pid, 'SIGKILL')
      await go()
      await startEngine({ dir: engineDir(lab), say: quiet })
      return
    }
    if (blow === 'connection cut') {
      const cut = findFault('cut-network')
      await cut.inject(lab.hosts, node)
      await go()
      await sleep(CUT_MS)
      await cut.mend?.(lab.hosts, node)
      return
    }
    const off = findFault('kill-host')
    await off.inject(lab.hosts, node)
    await go()
    await off.mend?.(lab.hosts, node)
  }

  async #keepWorker(): Promise<void> {
    const { dir } = this.#own.lab
    if ((await findWorker(dir)) === undefined) await startWorker(dir, quiet, this.#workerEnv).catch(quiet)
  }
}

/** A replacement that is started again takes its backup again, too. */
function isBackupBefore(line: string): boolean {
  return /^\+ (store: daily\/snapshot-TIME\.(db|json)|some host (backup file: |step: \S*backup-RUN\.save))/.test(
    line,
  )
}

function shortened(lines: readonly string[]): string[] {
  return lines.length <= SHOWN
    ? [...lines]
    : [...lines.slice(0, SHOWN), `… and ${lines.length - SHOWN} lines more`]
}

function runbookOf(name: RunbookName): Runbook {
  const found = RUNBOOKS.find((one) => one.name === name)
  if (found === undefined) throw new Error(`There is no runbook ${name}.`)
  return found
}

function readTrace(file: string): Traced[] {
  return (
    readFileSync(file, 'utf8')
      .split('\n')
      .filter(Boolean)
      // eslint-disable-next-line no-restricted-properties -- the worker's own trace; nothing of etcd's is in it
      .map((line) => traced.parse(JSON.parse(line)))
  )
}
