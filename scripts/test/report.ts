import { styleText } from 'node:util'
import type { FileOutcome, TestOutcome } from './test-file.ts'

const OUTPUT_LINES_SHOWN = 100

/** Something that failed, told again at the end. */
interface Failure {
  readonly where: string
  readonly what: string
  readonly text: string
}

/** How a test file ended, for a record of it. */
export interface FileCount {
  readonly file: string
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly ms: number
  /** One line for each failure: what failed, and the first line of why. */
  readonly failures: readonly string[]
}

/** The lines that a person reads while the tests run and after them, and the count behind the last one. */
export class Report {
  passed = 0
  failed = 0
  skipped = 0
  /** In the order in which they ended. */
  readonly files: FileCount[] = []
  readonly #failures: Failure[] = []
  readonly #skips: string[] = []
  /** What failed files wrote, by file. */
  readonly #outputs = new Map<string, string>()
  readonly #print: (line: string) => void

  constructor(print: (line: string) => void) {
    this.#print = print
  }

  say(line: string): void {
    this.#print(line)
  }

  lane(name: string, about: string, files: number): void {
    this.#print('')
    this.#print(`${styleText('bold', name)}: ${about} (${files === 1 ? '1 file' : `${files} files`})`)
  }

  /** Takes the tests of one file: at once, or kept back until its end when others run beside it. */
  file(file: string, keepBack: boolean): FileReport {
    const kept: string[] = []
    const print = keepBack ? (line: string) => void kept.push(line) : this.#print
    print(`  ${file}`)
    const began = performance.now()
    return {
      test: (outcome) => {
        print(`    ${testLine(outcome)}`)
        this.#count(file, outcome)
      },
      note: (text) => {
        for (const line of text.split('\n')) print(`      ${styleText('dim', 'ℹ')} ${line}`)
      },
      end: ({ tests, trouble, output }) => {
        if (trouble !== undefined) {
          print(`    ${styleText('red', '✗')} the file ${trouble}`)
          this.fail(file, 'the file itself', `It ${trouble}.`)
        }
        const failed = trouble !== undefined || tests.some(({ outcome }) => outcome === 'failed')
        if (failed && output !== '') this.#outputs.set(file, output)
        for (const line of kept) this.#print(line)
        this.files.push(fileCount(file, tests, trouble, performance.now() - began))
      },
    }
  }

  fail(where: string, what: string, text: string): void {
    this.failed++
    this.#failures.push({ where, what, text })
  }

  skip(count: number): void {
    this.skipped += count
  }

  /** Where the set-up brings all that the tests need, one that skips itself is a hole that nobody would see. */
  failWhatSkippedItself(): void {
    if (this.#skips.length === 0) return
    this.fail('all lanes', `${this.#skips.length} tests skipped themselves`, this.#skips.join('\n'))
  }

  /** Failures in full, the time, and as the very last line the count. */
  finish(ms: number): void {
    if (this.#failures.length > 0) {
      this.#print('')
      this.#print(styleText(['red', 'bold'], 'Failures'))
      for (const [at, { where, what, text }] of this.#failures.entries()) {
        this.#print('')
        this.#print(`${at + 1}) ${where}`)
        this.#print(`   ${styleText('red', what)}`)
        for (const line of text.split('\n')) this.#print(`   ${line}`)
      }
      for (const [file, output] of this.#outputs) {
        const lines = output.split('\n')
        const shown = lines.slice(-OUTPUT_LINES_SHOWN)
        this.#print('')
        this.#print(
          `Output of ${file}${shown.length < lines.length ? ` (its last ${shown.length} lines)` : ''}`,
        )
        for (const line of shown) this.#print(`   | ${line}`)
      }
    }
    this.#print('')
    if (this.passed + this.failed === 0) this.#print('No test ran.')
    this.#print(`All in ${span(ms)}.`)
    this.#print(`${this.passed} passed, ${this.failed} failed, ${this.skipped} skipped`)
  }

  #count(file: string, test: TestOutcome): void {
    switch (test.outcome) {
      case 'passed':
        this.passed++
        return
      case 'skipped':
        this.skipped++
        this.#skips.push(`${file}: ${testLine(test)}`)
        return
      case 'failed':
        this.fail(
          test.line === undefined ? file : `${file}:${test.line}`,
          test.name,
          test.error ?? 'no reason given',
        )
        return
    }
  }
}

function fileCount(
  file: string,
  tests: readonly TestOutcome[],
  trouble: string | undefined,
  ms: number,
): FileCount {
  const ended = (how: TestOutcome['outcome']): readonly TestOutcome[] =>
    tests.filter(({ outcome }) => outcome === how)
  const failures = ended('failed').map(
    ({ name, error }) => `${name}: ${error?.split('\n')[0] ?? 'no reason given'}`,
  )
  if (trouble !== undefined) failures.push(`the file itself: it ${trouble}`)
  return {
    ...{ file, ms, failures, failed: failures.length },
    ...{ passed: ended('passed').length, skipped: ended('skipped').length },
  }
}

export interface FileReport {
  readonly test: (outcome: TestOutcome) => void
  readonly note: (text: string) => void
  readonly end: (outcome: FileOutcome) => void
}

function testLine({ name, outcome, ms, reason }: TestOutcome): string {
  switch (outcome) {
    case 'passed':
      return `${styleText('green', '✓')} ${name}  ${styleText('dim', span(ms))}`
    case 'failed':
      return `${styleText('red', '✗')} ${name}  ${styleText('dim', span(ms))}`
    case 'skipped':
      return `${styleText('yellow', '–')} ${name}  skipped${reason === undefined ? '' : `: ${reason}`}`
  }
}

/** A length of time as people read it. */
export function span(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`
  const seconds = Math.round(ms / 1_000)
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}
