/**
 * The set-up's lines: "[2/6] temporal 1.9.1  45 MB ... done 3 s". On a terminal the line shows what
 * goes on; in a log it is begun at once and completed when its work is over. Nothing is printed
 * for work that was done before.
 */
export class Progress {
  #total
  #number = 0
  #label = ''
  #started = 0
  #live = process.stdout.isTTY === true
  /** Whether the last line has no end yet. */
  #open = false

  /** @param {number} total how many steps there are to do */
  constructor(total) {
    this.#total = total
  }

  /** Whether a step has been shown, so that there is something to complete. */
  get begun() {
    return this.#number > 0
  }

  /** @param {string} label */
  begin(label) {
    this.#number++
    this.#label = `[${this.#number}/${this.#total}] ${label}`
    this.#started = Date.now()
    this.#show(`${this.#label} ...`)
  }

  /** @param {string} detail what is being done right now */
  update(detail) {
    if (this.#live) this.#show(`${this.#label} ... ${detail}`)
  }

  done() {
    const took = `done ${readableSeconds(Date.now() - this.#started)}`
    if (this.#open && !this.#live) process.stdout.write(` ${took}`)
    else this.#show(`${this.#label} ... ${took}`)
    this.interrupt()
  }

  /** A line that stays, in the middle of a step. */
  note(line) {
    if (this.#live) process.stdout.write('\r\u001b[K')
    else this.interrupt()
    this.#open = false
    console.log(`      ${line.trim()}`)
    if (this.#live) this.#show(`${this.#label} ...`)
  }

  /** Ends the line that is open, so that what follows begins on its own line. */
  interrupt() {
    if (this.#open) process.stdout.write('\n')
    this.#open = false
  }

  #show(text) {
    // A pseudo-terminal without a window says 0.
    const width = process.stdout.columns || 80
    process.stdout.write(this.#live ? `\r\u001b[K${text.slice(0, width - 1)}` : text)
    this.#open = true
  }
}

/** Bytes as people read them, in megabytes of 10^6. */
export function megabytes(bytes) {
  return `${Math.round(bytes / 1e6)} MB`
}

function readableSeconds(milliseconds) {
  const seconds = milliseconds / 1000
  return seconds < 10 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`
}
