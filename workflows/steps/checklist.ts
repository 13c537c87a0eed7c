import { CancellationScope, isCancellation } from '@temporalio/workflow'
import { withRemoval } from '../../domain/validation/canary.ts'
import type { CheckName, ListedCheck } from '../../domain/validation/checks.ts'
import { fail, skipped, type Finding } from '../../domain/validation/finding.ts'
import type { Comparison } from '../../domain/validation/object-counts.ts'
import { madeCheck, type MadeCheck } from '../../domain/validation/verdict.ts'
import { secondsBetween } from '../../domain/progress.ts'
import { causeOf } from './failure.ts'
import { examine } from './hands.ts'
import { utcNow, type Run } from './run.ts'

const CANARY: CheckName = 'canary'
/** They only look; but all at once they kept three small nodes so busy that an API server was no longer ready. */
const AT_ONCE = 3
/** Namespaces take seconds to go, and far longer where a controller is behind. */
const REMOVAL_MS = 180_000
/** What an attempt may take beyond its check's limit before the engine counts it as hanging. */
const GRACE_MS = 30_000
const MOST_NOTE = 300

interface Under {
  readonly run: string
  readonly patient: boolean
  readonly against: Comparison
  /** Nodes that are not looked at. */
  readonly without?: readonly string[]
}

/** The checks of one validation: each is a step of its own, with a verdict whatever becomes of it. */
export class Checklist {
  readonly #run: Run
  readonly #listed: readonly ListedCheck[]
  readonly #how: Under
  readonly #made = new Map<string, MadeCheck>()

  constructor(run: Run, listed: readonly ListedCheck[], how: Under) {
    this.#run = run
    this.#listed = listed
    this.#how = how
    for (const { name, limitMs, skipped: why } of listed) {
      if (why !== null) this.#keep(madeCheck(name, skipped(why), 0, limitMs))
    }
  }

  /** In the order of the list, as far as they are made. */
  made(): MadeCheck[] {
    return this.#listed.flatMap(({ name }) => this.#made.get(name) ?? [])
  }

  /** Makes all checks but the one that is named, a few side by side. */
  async makeAllBut(last: CheckName): Promise<void> {
    const open = this.#open()
      .filter(({ name }) => name !== last)
      .values()
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (const check of open) this.#keep(await this.#make(check))
      }),
    )
  }

  /** Sends the canary out, and fetches it back in whatever way the check ends, a cancellation included. */
  async sendCanary(): Promise<void> {
    const check = this.#open().find(({ name }) => name === CANARY)
    if (check === undefined) return
    const began = utcNow()
    let found: Finding = fail('it was given up')
    try {
      found = await this.#make(check)
    } finally {
      const removed = await CancellationScope.nonCancellable(() => this.#removeCanary())
      this.#keep(
        madeCheck(CANARY, withRemoval(found, removed), secondsBetween(began, utcNow()), check.limitMs),
      )
    }
  }

  #open(): ListedCheck[] {
    return this.#listed.filter((check) => check.skipped === null)
  }

  #keep(check: MadeCheck): void {
    this.#made.set(check.name, check)
    this.#run.showChecks(this.made())
  }

  #make({ name, limitMs }: ListedCheck): Promise<MadeCheck> {
    const began = utcNow()
    return this.#run.step(
      `Check ${name}`,
      () =>
        examine.runCheck
          .executeWithOptions({ summary: name, startToCloseTimeout: limitMs + GRACE_MS }, [
            { cluster: this.#run.cluster, name, limitMs, ...this.#how },
          ])
          .catch((error: unknown) => {
            if (isCancellation(error)) throw error
            const why = `it could not be made: ${causeOf(error).message}`
            return madeCheck(name, fail(why), secondsBetween(began, utcNow()), limitMs)
          }),
      noteOf,
    )
  }

  #removeCanary(): Promise<Finding> {
    return this.#run.step(
      'Remove the canary',
      () =>
        examine.removeCanary
          .executeWithOptions({ startToCloseTimeout: REMOVAL_MS + GRACE_MS }, [
            this.#run.cluster,
            this.#how.run,
            REMOVAL_MS,
          ])
          .catch((error: unknown) => fail(`its removal failed: ${causeOf(error).message}`)),
      noteOf,
    )
  }
}

/** A failed check is no failed step: the step was to look. So its note has to say it. */
function noteOf({ verdict, evidence }: Finding): string {
  const note = verdict === 'pass' ? evidence : `${verdict.toUpperCase()}: ${evidence}`
  return note.length > MOST_NOTE ? `${note.slice(0, MOST_NOTE)}…` : note
}
