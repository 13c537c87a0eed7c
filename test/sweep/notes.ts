import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import type { Result } from './run-case.ts'

const FILE = join(import.meta.dirname, '../../.lab/sweep.jsonl')
const first = z.object({ commit: z.string() })
const line = z.object({ name: z.string(), equal: z.boolean(), note: z.string(), seconds: z.number() })

/** What a sweep has done so far, on disk: one that was stopped can go on. */
export class Notes {
  readonly #equal: ReadonlyMap<string, Result>
  readonly #file: string | null

  private constructor(equal: ReadonlyMap<string, Result>, file: string | null) {
    this.#equal = equal
    this.#file = file
  }

  /** Nothing is known and nothing is kept. */
  static none(): Notes {
    return new Notes(new Map(), null)
  }

  /**
   * @param commit - of the code that is swept
   * @param resume - go on with the notes that are there; otherwise they are begun anew
   * @throws Error when there is nothing to resume, or it was of other code
   */
  static of(commit: string, resume: boolean): Notes {
    if (!resume) {
      mkdirSync(dirname(FILE), { recursive: true, mode: 0o700 })
      writeFileSync(FILE, `${JSON.stringify({ commit })}\n`)
      return new Notes(new Map(), FILE)
    }
    if (!existsSync(FILE)) throw new Error('There is no sweep to go on with. Start one without --resume.')
    const [head = '', ...lines] = readFileSync(FILE, 'utf8').split('\n').filter(Boolean)
    const was = first.parse(fromJson(head)).commit
    if (was !== commit) {
      throw new Error(
        `The sweep that was stopped was of ${was}, and the code is ${commit} now: what it saw says nothing of this. Start anew, without --resume.`,
      )
    }
    const equal = lines.map((text) => line.parse(fromJson(text))).filter((one) => one.equal)
    return new Notes(new Map(equal.map(({ name, ...result }) => [name, result])), FILE)
  }

  /** How a case ended that was done before, and equal. */
  equal(name: string): Result | undefined {
    return this.#equal.get(name)
  }

  keep(name: string, { equal, note, seconds }: Result): void {
    if (this.#file !== null) appendFileSync(this.#file, `${JSON.stringify({ name, equal, note, seconds })}\n`)
  }
}

function fromJson(text: string): unknown {
  // eslint-disable-next-line no-restricted-properties -- our own notes; no numbers of 64 bits
  return JSON.parse(text)
}
