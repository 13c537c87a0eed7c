import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { reasonOf } from '../../domain/failures.ts'
import { seedKeyspace } from '../../lab/hosts/keyspace.ts'
import { labDown, labUp } from '../../lab/lab.ts'
import { Operator } from '../../lab/operator.ts'
import { makeSchedule } from '../lab/recoveries.ts'
import type { OwnLab } from '../lab/use-lab.ts'
import type { Runbook } from './runbooks.ts'

const KEYS = 200

/** A lab for one case: a worker with failpoints, and the scene of a runbook. */
export interface CaseLab extends OwnLab {
  /** Where the worker looks for its failpoint. */
  readonly failpoint: string
  readonly workerEnv: Readonly<Record<string, string>>
}

/** The labs that this process has up, so that all of them can be ended. */
export class CaseLabs {
  readonly #downs = new Set<() => Promise<void>>()
  #made = 0
  #ending = false

  /** Does the work on a lab that nobody else has, and takes it down however that ends. */
  async with<Result>(runbook: Runbook, work: (lab: CaseLab) => Promise<Result>): Promise<Result> {
    if (this.#ending) return never()
    this.#made += 1
    const name = `s${process.pid.toString(36)}${this.#made}`
    const dir = await mkdtemp(join(tmpdir(), 'requorum-lab-'))
    const down = async (): Promise<void> => {
      await labDown({ name, dir, say: () => undefined })
      await rm(dir, { recursive: true, force: true })
      this.#downs.delete(down)
    }
    this.#downs.add(down)
    try {
      const failpoint = join(dir, 'engine', 'failpoint.json')
      const workerEnv = { REQUORUM_FAILPOINTS: failpoint }
      const lab = await labUp({ name, dir, say: () => undefined, workerEnv })
      // Never closed: a call that its client is about to try again would throw into nobody's hands.
      const operator = await Operator.of(lab)
      await seedKeyspace(lab.hosts, { keys: KEYS, seed: 1 })
      await makeSchedule({ lab, operator })
      const backedUp = await operator.backup()
      if (!('verdict' in backedUp)) throw new Error(`The first backup failed: ${backedUp.message}`)
      await runbook.setScene({ lab, operator })
      return await work({ lab, operator, failpoint, workerEnv })
    } finally {
      await down()
      // How a case ended whose lab was taken from it says nothing.
      if (this.#ending) await never()
    }
  }

  /** Ends every lab that is up, also when one can't be ended. Nobody gets a lab any more, and the process is to end. */
  async down(say: (line: string) => void): Promise<void> {
    this.#ending = true
    for (const down of [...this.#downs])
      await down().catch((error: unknown) => say(`Something of the labs is left: ${reasonOf(error)}`))
  }
}

function never(): Promise<never> {
  return new Promise(() => undefined)
}
