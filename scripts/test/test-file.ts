import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { join } from 'node:path'
import { readEvent, type DoneEvent, type TestEvent } from './events.ts'
import { EVENTS_FD } from './reporter.ts'

/** How one test ended. Suites and tests that only hold others are none. */
export interface TestOutcome {
  /** With the names of what is around it: `consent › refuses a wrong digest`. */
  readonly name: string
  readonly outcome: DoneEvent['outcome']
  readonly ms: number
  readonly reason?: string
  readonly line?: number
  readonly error?: string
}

export interface FileOutcome {
  readonly tests: readonly TestOutcome[]
  /** What is wrong with the file as such: it crashed, hung, or holds no test. */
  readonly trouble?: string
  /** The end of what it wrote to standard output and error. */
  readonly output: string
}

export interface FileRun {
  readonly root: string
  /** Path from the root. */
  readonly file: string
  readonly env: Readonly<Record<string, string>>
  /** A regular expression: only tests whose names match are run. */
  readonly grep?: string
  readonly limitMs: number
  readonly stop: AbortSignal
  readonly onTest: (outcome: TestOutcome) => void
  readonly onNote: (text: string) => void
}

const DID_NOT_FINISH = 'Never came to its end: what is around it failed or ended before.'
const KEPT_OUTPUT = 256 * 1024
/** From SIGTERM to SIGKILL: a file that has a lab takes it down. */
const GRACE_MS = 20_000
/** A pipe that something left behind still holds is given up this long after the file's end. */
const DRAIN_MS = 1_000

/**
 * Runs one test file in a process group of its own, which is gone afterwards. Never throws for what the file
 * does. What a test has started `detached` outlives it: whoever starts such a process ends it.
 */
export async function runTestFile(run: FileRun): Promise<FileOutcome> {
  const child = spawn(process.execPath, nodeArguments(run), {
    cwd: run.root,
    env: childEnvironment(run.env),
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    detached: true,
  })
  const log = new TestLog(run)
  const output = new Tail(KEPT_OUTPUT)
  const pipes = [child.stdout, child.stderr, child.stdio[EVENTS_FD]].filter(isReadable)
  const drained = Promise.all([
    output.take(child.stdout),
    output.take(child.stderr),
    log.take(child.stdio[EVENTS_FD]),
  ])

  const ended = new Promise<Ending>((resolve) => {
    child.once('error', (error) => resolve({ how: `could not be started: ${error.message}`, clean: false }))
    child.once('exit', (code, signal) =>
      resolve({
        how: signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`,
        clean: code === 0,
      }),
    )
  })
  const killed = await endOrKill(ended, child.pid, log, run)
  const ending = await ended
  signalGroup(child.pid, 'SIGKILL')

  await Promise.race([drained, sleep(DRAIN_MS)])
  for (const pipe of pipes) pipe.destroy()

  const trouble = killed ?? troubleOf(ending, log, run)
  return { tests: log.outcomes, output: output.text(), ...(trouble === undefined ? {} : { trouble }) }
}

interface Ending {
  readonly how: string
  readonly clean: boolean
}

function nodeArguments({ root, file, grep }: FileRun): string[] {
  return [
    `--test-reporter=${pathToFileURL(join(import.meta.dirname, 'reporter.ts')).href}`,
    '--test-reporter-destination=stdout',
    ...(grep === undefined ? [] : [`--test-name-pattern=${grep}`]),
    join(root, file),
  ]
}

/** Without what makes a file believe that another runner of node:test has started it. */
function childEnvironment(own: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env
  return { ...inherited, ...own }
}

/** Waits for the end, and brings it about at the limit or when all is to stop. Says why it did. */
async function endOrKill(
  ended: Promise<Ending>,
  pid: number | undefined,
  log: TestLog,
  run: FileRun,
): Promise<string | undefined> {
  const over = new AbortController()
  const limit = sleep(run.limitMs, 'limit' as const, { signal: over.signal })
  const stop = new Promise<'stop'>((resolve) => {
    if (run.stop.aborted) resolve('stop')
    run.stop.addEventListener('abort', () => resolve('stop'), { signal: over.signal })
  })
  // The limit's timer is only ever cut short when nobody waits for it any more.
  limit.catch(() => undefined)
  try {
    const first = await Promise.race([ended, limit, stop])
    if (typeof first !== 'string') return undefined
    const atWork = log.stillRunning()
    signalGroup(pid, 'SIGTERM')
    await Promise.race([ended, sleep(GRACE_MS, undefined, { signal: over.signal }).catch(() => undefined)])
    signalGroup(pid, 'SIGKILL')
    if (first === 'stop') return 'was interrupted'
    return `was still running after ${(run.limitMs / 60_000).toFixed(1)} min and was killed${atWork}`
  } finally {
    over.abort()
  }
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch {
    // The whole group is gone already, which is what was wanted.
  }
}

function troubleOf(ending: Ending, log: TestLog, run: FileRun): string | undefined {
  if (log.silent && ending.clean) return 'holds no test, or ended before the first was done'
  if (!log.ended) return `${ending.how} before its tests were done${log.stillRunning()}`
  const failed = log.outcomes.some(({ outcome }) => outcome === 'failed')
  if (!ending.clean && !failed) return `${ending.how}, though no test failed`
  if (log.outcomes.length === 0 && run.grep === undefined) return 'holds no test'
  return undefined
}

/** Makes outcomes of what a file's reporter tells. */
class TestLog {
  readonly outcomes: TestOutcome[] = []
  ended = false
  readonly #run: FileRun
  readonly #known = new Map<number, { readonly name: string; readonly parent?: number | undefined }>()
  readonly #parents = new Set<number>()
  readonly #running = new Set<number>()

  constructor(run: FileRun) {
    this.#run = run
  }

  /** Nothing was ever heard of a test. */
  get silent(): boolean {
    return this.#known.size === 0 && !this.ended
  }

  async take(pipe: unknown): Promise<void> {
    if (!isReadable(pipe)) return
    for await (const line of createInterface({ input: pipe })) this.#accept(line)
  }

  /** What a file that did not come to its end was at: `; running then: …`. */
  stillRunning(): string {
    const names = [...this.#running].filter((id) => !this.#parents.has(id)).map((id) => this.#nameOf(id))
    if (names.length > 0) return `; running then: ${names.join(', ')}`
    return this.outcomes.length === 0
      ? ''
      : '; no test was running: a timer, socket or child process was left open'
  }

  #accept(line: string): void {
    let event: TestEvent
    try {
      event = readEvent(line)
    } catch {
      this.#run.onNote(`(unreadable event: ${line.slice(0, 200)})`)
      return
    }
    switch (event.kind) {
      case 'found':
        this.#place(event)
        return
      case 'running':
        this.#running.add(event.id)
        return
      case 'done':
        this.#place(event)
        this.#running.delete(event.id)
        this.#done(event)
        return
      case 'note':
        this.#run.onNote(event.text)
        return
      case 'end':
        this.ended = true
        return
    }
  }

  #place(event: Extract<TestEvent, { kind: 'found' | 'done' }>): void {
    this.#known.set(event.id, event)
    if (event.parent !== undefined) this.#parents.add(event.parent)
  }

  #done(event: DoneEvent): void {
    if (!this.#counts(event)) return
    const { outcome, ms, reason, line, error, failure } = event
    const test: TestOutcome = {
      name: this.#nameOf(event.id),
      outcome,
      ms,
      ...(reason === undefined ? {} : { reason }),
      ...(line === undefined ? {} : { line }),
      ...(error === undefined ? {} : { error: failure === 'cancelledByParent' ? DID_NOT_FINISH : error }),
    }
    this.outcomes.push(test)
    this.#run.onTest(test)
  }

  /** What holds other tests counts only when it fails by itself, as a hook does. An empty suite is nothing. */
  #counts({ id, suite, outcome, failure }: DoneEvent): boolean {
    if (outcome === 'failed') return failure !== 'subtestsFailed'
    if (this.#parents.has(id)) return false
    return !suite || outcome === 'skipped'
  }

  #nameOf(id: number): string {
    const names: string[] = []
    for (let at: number | undefined = id; at !== undefined; at = this.#known.get(at)?.parent) {
      const name = this.#known.get(at)?.name
      if (name !== undefined) names.unshift(name)
    }
    return names.join(' › ')
  }
}

function isReadable(pipe: unknown): pipe is Readable {
  return typeof pipe === 'object' && pipe !== null && 'read' in pipe
}

/** The last bytes of what went by. */
class Tail {
  readonly #limit: number
  #chunks: Buffer[] = []
  #size = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  async take(pipe: Readable | null): Promise<void> {
    if (pipe === null) return
    for await (const chunk of pipe) {
      if (!Buffer.isBuffer(chunk)) continue
      this.#chunks.push(chunk)
      this.#size += chunk.length
      while (this.#size - (this.#chunks[0]?.length ?? 0) > this.#limit)
        this.#size -= this.#chunks.shift()?.length ?? 0
    }
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8').trimEnd()
  }
}
