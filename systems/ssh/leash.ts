/**
 * One signal for all the ways in which waiting ends early: the caller's abort, and a time limit that starts
 * with `arm`. The signal's reason is the error to throw.
 */
export class Leash {
  readonly signal: AbortSignal
  readonly #controller = new AbortController()
  readonly #outer: AbortSignal | undefined
  readonly #outerAborted: () => void
  #timer: NodeJS.Timeout | undefined

  constructor(outer: AbortSignal | undefined, onAbort: (reason: unknown) => Error) {
    this.signal = this.#controller.signal
    this.#outer = outer
    this.#outerAborted = () => this.#controller.abort(onAbort(outer?.reason))
    if (outer?.aborted) this.#outerAborted()
    else outer?.addEventListener('abort', this.#outerAborted, { once: true })
  }

  /** Ends the wait after `ms`, unless `excused` says then that the delay is our own: it starts anew. */
  arm(ms: number, onTimeout: () => Error, excused: () => boolean = () => false): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      if (excused()) this.#timer?.refresh()
      else this.#controller.abort(onTimeout())
    }, ms)
  }

  /** Something moved: a limit on silence starts anew. */
  touch(): void {
    this.#timer?.refresh()
  }

  /** Takes the limits away; has to be called when the wait is over. */
  release(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#outer?.removeEventListener('abort', this.#outerAborted)
  }

  /** What `promise` gives, or the leash's reason if that comes first; `promise` itself goes on for others. */
  async hold<T>(promise: Promise<T>): Promise<T> {
    this.signal.throwIfAborted()
    const { promise: ended, reject } = Promise.withResolvers<never>()
    const abort = () => reject(this.signal.reason)
    this.signal.addEventListener('abort', abort, { once: true })
    try {
      return await Promise.race([promise, ended])
    } finally {
      this.signal.removeEventListener('abort', abort)
    }
  }
}
