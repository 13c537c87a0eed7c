/** Collects output up to a bound. Text is decoded once, at the end: a character may be split across chunks. */
export class BoundedOutput {
  readonly #bound: number
  #chunks: Buffer[] = []
  #held = 0
  #dropped = 0

  /** @param bound most bytes that are kept; of more, the newest. */
  constructor(bound: number) {
    this.#bound = bound
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#held += chunk.length
    // Twice the bound before anything is copied, so that many small chunks cost no more than a few large ones.
    if (this.#held > 2 * this.#bound + 65_536) this.#trim()
  }

  get overflowed(): boolean {
    return this.#dropped + this.#held > this.#bound
  }

  /** The text; when the beginning had to go, a line that says so comes first. */
  text(): string {
    this.#trim()
    const text = Buffer.concat(this.#chunks).toString('utf8')
    return this.#dropped === 0 ? text : `[${this.#dropped} bytes left out]\n${text}`
  }

  #trim(): void {
    const excess = this.#held - this.#bound
    if (excess <= 0) return
    this.#chunks = [Buffer.from(Buffer.concat(this.#chunks).subarray(excess))]
    this.#held = this.#bound
    this.#dropped += excess
  }
}
