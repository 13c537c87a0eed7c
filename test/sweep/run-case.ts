import { existsSync, readFileSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { ApplicationFailure } from '@temporalio/common'
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client'
import { z } from 'zod'
import { PROGRESS_QUERY, recoveryWorkflowId } from '../../domain/messages.ts'
import type { Progress } from '../../domain/progress.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import { findEngine, startEngine } from '../../lab/services/engine.ts'
import { findWorker, startWorker } from '../../lab/services/worker.ts'
import { traced, type Armed, type Traced } from '../../workers/failpoints.ts'
import { engineDir, readAllWhenUp } from '../lab/recoveries.ts'
import { searchLab } from '../secrets/search.ts'
import type { CaseLab, CaseLabs } from './case-lab.ts'
import { casesOf, type Blow, type Case } from './cases.ts'
import { difference, filesOf, footprint, type Footprint } from './footprint.ts'
import type { Runbook } from './runbooks.ts'

/** How one case ended. */
export interface Result {
  readonly equal: boolean
  /** The difference, or what is worth knowing of a case that ended equal. */
  readonly note: string
  readonly seconds: number
}

/** A runbook that nothing disturbed. */
export interface Golden {
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

/** Runs a runbook undisturbed and lists the cases that its steps give. */
export function golden(runbook: Runbook, labs: CaseLabs): Promise<Golden> {
  return labs.with(runbook, async (lab) => {
    await rm(`${lab.failpoint}.trace`, { force: true })
    const before = await filesOf(lab)
    const { outcome } = await new Run(lab).toTheEnd(await runbook.start(lab), null)
    if (outcome !== runbook.ends)
      throw new Error(`${runbook.name} was to end ${runbook.ends}, undisturbed, and ended ${outcome}`)
    return {
      footprint: await footprint(lab, before, outcome, runbook.quorum.after),
      cases: casesOf(runbook.name, runbook.workflow, readTrace(`${lab.failpoint}.trace`)),
    }
  })
}

/** Runs one case. Never rejects: what went wrong is its difference. */
export async function runCase(
  runbook: Runbook,
  one: Case,
  undisturbed: Golden,
  labs: CaseLabs,
): Promise<Result> {
  const began = performance.now()
  const ended = await labs
    .with(runbook, (lab) => strike(runbook, one, undisturbed, lab))
    .catch((error: unknown) => ({
      equal: false,
      note: error instanceof Error ? error.message : String(error),
    }))
  return { ...ended, seconds: (performance.now() - began) / 1_000 }
}

async function strike(
  runbook: Runbook,
  one: Case,
  undisturbed: Golden,
  lab: CaseLab,
): Promise<Pick<Result, 'equal' | 'note'>> {
  const before = await filesOf(lab)
  const { workflow, activity, what, nth, node, calls } = one.at
  const armed: Armed = {
    ...{ workflow, activity, what, nth, node, where: one.where, call: Math.ceil(calls / 2) },
    act: one.blow === 'worker killed' ? 'kill' : 'hold',
  }
  await writeFile(lab.failpoint, JSON.stringify(armed))
  const run = new Run(lab)
  let { outcome, refused } = await run.toTheEnd(await runbook.start(lab), one.blow)
  if (!existsSync(`${lab.failpoint}.tripped`)) return { equal: false, note: `never came there (${outcome})` }
  let note = ''
  // It looked while a node was away, and said so before it touched anything: whoever started it does so again.
  let starts = 1
  while (refused && outcome !== runbook.ends && starts < MOST_STARTS) {
    starts += 1
    note = `${outcome}, nothing touched; started again${starts > 2 ? ` (${starts - 1})` : ''}`
    // When the node is back: a person would not try before.
    if (runbook.quorum.before) await readAllWhenUp(lab.lab)
    ;({ outcome, refused } = await run.toTheEnd(await runbook.start(lab), null))
  }
  const differs = difference(
    undisturbed.footprint,
    await footprint(lab, before, outcome, runbook.quorum.after),
  ).filter((line) => starts === 1 || !isBackupBefore(line))
  differs.push(...(await searchLab(lab)).found)
  return differs.length === 0
    ? { equal: true, note }
    : { equal: false, note: [note, ...shortened(differs)].filter(Boolean).join('\n') }
}

/** What a person and the machine do while a runbook runs. */
class Run {
  readonly #lab: CaseLab

  constructor(lab: CaseLab) {
    this.#lab = lab
  }

  /** Approves what is asked, strikes when the failpoint is reached, and sees to it that a worker runs. */
  async toTheEnd(handle: WorkflowHandle, blow: Blow | null): Promise<{ outcome: string; refused: boolean }> {
    const deadline = Date.now() + RUN_LIMIT_MS
    let approved = ''
    let struck = blow === null || blow === 'worker killed'
    for (;;) {
      if (!struck && existsSync(`${this.#lab.failpoint}.tripped`)) {
        struck = true
        await this.#strike(blow, readFileSync(`${this.#lab.failpoint}.tripped`, 'utf8'))
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
    if (handle.workflowId !== recoveryWorkflowId(this.#lab.lab.name)) return undefined
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
    const { lab } = this.#lab
    const go = (): Promise<void> => writeFile(`${this.#lab.failpoint}.go`, '')
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
    const { lab, workerEnv } = this.#lab
    if ((await findWorker(lab.dir)) === undefined) await startWorker(lab.dir, quiet, workerEnv).catch(quiet)
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

function readTrace(file: string): Traced[] {
  return (
    readFileSync(file, 'utf8')
      .split('\n')
      .filter(Boolean)
      // eslint-disable-next-line no-restricted-properties -- the worker's own trace; nothing of etcd's is in it
      .map((line) => traced.parse(JSON.parse(line)))
  )
}
