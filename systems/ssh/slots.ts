import { asError } from './errors.ts'

/**
 * Places for a limited number of things at once, given out in the order in which they were asked for.
 */
export class Slots {
  #limit: number
  #taken = 0
  readonly #waiting: (() => void)[] = []

  constructor(limit: number) {
    this.#limit = limit
  }

  get taken(): number {
    return this.#taken
  }

  /** Waits for a place and returns what gives it back (once; later calls do nothing). Rejects when aborted. */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#taken >= this.#limit) await this.#turn(signal)
    else this.#taken += 1

    let given = true
    return () => {
      if (!given) return
      given = false
      this.#taken -= 1
      this.#next()
    }
  }

  /** Fewer places from now on, never less than one: the other side holds no more. */
  lower(limit: number): void {
    this.#limit = Math.max(1, Math.min(this.#limit, limit))
  }

  #next(): void {
    if (this.#taken >= this.#limit) return
    const turn = this.#waiting.shift()
    if (!turn) return
    this.#taken += 1
    turn()
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = () => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1)
        reject(asError(signal.reason))
      }
      this.#waiting.push(turn)
      signal.addEventListener('abort', leave, { once: true })
    })
  }
}
