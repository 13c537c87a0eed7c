import { existsSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { withLab } from './test/lab-lane.ts'
import { LANES, filesOf, filesWithoutLane, rotated, type Lane } from './test/lanes.ts'
import { Report } from './test/report.ts'
import { runTestFile } from './test/test-file.ts'
import { recordTried } from './test/tried.ts'

const HELP = `Runs the tests, lane by lane, what tells soonest first.

  npm test                         all lanes
  npm test -- unit workflows       these lanes
  npm test -- test/unit/x.test.ts  these files
  npm test -- --grep 'wrong digest' only tests whose names match this regular expression
  npm test -- --list               the lanes and their files; runs nothing
  npm test -- --record             notes in docs/tried.json and the README what the lanes of the lab passed on

REQUORUM_TEST_MINUTES (80): what doesn't fit any more is dropped, said so and counted as skipped.
Ends with 0 when something ran and nothing failed, with 1 otherwise, with 2 when it is called wrongly.
The last line is: N passed, N failed, N skipped.`

const root = join(import.meta.dirname, '..')

interface Choice {
  readonly lane: Lane
  readonly files: readonly string[]
  /** Expected for these files. */
  readonly minutes: number
}

interface Wish {
  readonly choices: readonly Choice[]
  readonly everything: boolean
  readonly grep?: string
  readonly minutes: number
  readonly record: boolean
}

class UsageError extends Error {}

/** What is left of the time that the tests may take. */
class Budget {
  readonly #deadline: number

  constructor(minutes: number) {
    this.#deadline = performance.now() + minutes * 60_000
  }

  get leftMs(): number {
    return Math.max(0, this.#deadline - performance.now())
  }

  get leftMinutes(): number {
    return this.leftMs / 60_000
  }
}

async function main(): Promise<number> {
  const wish = readWish(process.argv.slice(2))
  if (wish === undefined) return 0
  const started = performance.now()
  const budget = new Budget(wish.minutes)
  const report = new Report((line) => process.stdout.write(`${line}\n`))
  const stop = stopOnSignals(report)

  for (const choice of wish.choices) {
    const { lane, files, minutes } = choice
    if (files.length === 0) continue
    const unavailable = lane.unavailable()
    if (stop.aborted) {
      report.skip(files.length)
    } else if (unavailable !== undefined) {
      report.say('')
      report.say(`skipped: lane ${lane.name}, ${files.length} files (${unavailable})`)
      report.skip(files.length)
    } else if (minutes > budget.leftMinutes) {
      report.say('')
      report.say(
        `dropped: lane ${lane.name} (needs ~${Math.ceil(minutes)} min, ${Math.floor(budget.leftMinutes)} left)`,
      )
      report.skip(files.length)
    } else {
      const { passed, failed, skipped } = report
      await runLane(choice, wish.grep, budget, report, stop)
      const whole = files.length === filesOf(root, lane).length && wish.grep === undefined
      const clean = report.failed === failed && report.skipped === skipped
      if (wish.record && lane.recorded && whole && clean) recordTried(lane.profile, report.passed - passed)
    }
  }
  if (wish.everything) reportStrays(report)

  report.finish(performance.now() - started)
  if (stop.aborted) return 130
  return report.failed === 0 && report.passed > 0 ? 0 : 1
}

async function runLane(
  { lane, files }: Choice,
  grep: string | undefined,
  budget: Budget,
  report: Report,
  stop: AbortSignal,
): Promise<void> {
  report.lane(lane.name, lane.about, files.length)
  const waiting = lane.minutesEach === undefined ? [...files] : rotated(files, new Date())
  const runNext = async (env: Readonly<Record<string, string>>): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const fits = budget.leftMs > 0 && budget.leftMinutes >= (lane.minutesEach ?? 0)
      if (stop.aborted || !fits) {
        report.say(`  dropped: ${file} (${stop.aborted ? 'interrupted' : 'no time left'})`)
        report.skip(1)
        continue
      }
      const telling = report.file(file, lane.atOnce > 1 && files.length > 1)
      const limitMs = Math.min(lane.fileMinutes * 60_000, budget.leftMs)
      const run = { root, file, env, limitMs, stop, onTest: telling.test, onNote: telling.note }
      telling.end(await runTestFile(grep === undefined ? run : { ...run, grep }))
    }
  }
  const runAll = async (env: Readonly<Record<string, string>>): Promise<void> => {
    await Promise.all(Array.from({ length: Math.min(lane.atOnce, files.length) }, () => runNext(env)))
  }
  if (!files.some(lane.wantsLab)) {
    await runAll({})
    return
  }
  try {
    await withLab(lane.profile, (line) => report.say(`  ${line}`), runAll)
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    report.say(`  ✗ the lab that this lane shares: ${text.split('\n')[0] ?? ''}`)
    report.fail(`lane ${lane.name}`, 'the lab that it shares', text)
    // Those that need it say so and are skipped; the others tell what they have to tell.
    await runAll({})
  }
}

function reportStrays(report: Report): void {
  for (const file of filesWithoutLane(root)) {
    const lanes = LANES.map(({ dir }) => dir).join(', ')
    report.fail(
      file,
      'is in no lane, so it never runs',
      `Move it below one of ${lanes}, or add a lane to scripts/test/lanes.ts.`,
    )
  }
}

/** The first signal stops what runs and lets the report and the lab come to their end. */
function stopOnSignals(report: Report): AbortSignal {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) return
      report.say(`${signal}: stopping.`)
      stop.abort()
    })
  }
  return stop.signal
}

/** @returns undefined when all that was wanted has been printed. */
function readWish(args: string[]): Wish | undefined {
  const { values, positionals } = parse(args)
  if (values.help) {
    process.stdout.write(`${HELP}\n`)
    return undefined
  }
  const choices = choose(positionals)
  if (values.list) {
    for (const { lane, files } of choices) {
      process.stdout.write(`${lane.name}: ${lane.about} (~${lane.minutes} min)\n`)
      for (const file of files) process.stdout.write(`  ${file}\n`)
    }
    return undefined
  }
  return {
    choices,
    everything: positionals.length === 0,
    minutes: readMinutes(),
    record: values.record,
    ...(values.grep === undefined ? {} : { grep: values.grep }),
  }
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        list: { type: 'boolean', default: false },
        record: { type: 'boolean', default: false },
        grep: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

/** Lanes by name and files by path, in the order of the lanes; everything when nothing is named. */
function choose(names: readonly string[]): Choice[] {
  const lanes = new Set<string>()
  const paths = new Set<string>()
  for (const name of names) {
    if (LANES.some((lane) => lane.name === name)) lanes.add(name)
    else if (existsSync(name)) paths.add(relative(root, resolve(name)))
    else {
      const known = LANES.map((lane) => lane.name).join(', ')
      throw new UsageError(`There is neither a lane nor a file called ${name}. The lanes are ${known}.`)
    }
  }
  const choices = LANES.map((lane) => {
    const all = filesOf(root, lane)
    const files = names.length === 0 || lanes.has(lane.name) ? all : all.filter((file) => paths.has(file))
    return { lane, files, minutes: all.length === 0 ? 0 : (lane.minutes * files.length) / all.length }
  })
  const found = new Set(choices.flatMap(({ files }) => files))
  for (const path of paths) {
    if (!found.has(path)) throw new UsageError(`${path} is not a test file of any lane.`)
  }
  return names.length === 0
    ? choices
    : choices.filter(({ lane, files }) => lanes.has(lane.name) || files.length > 0)
}

function readMinutes(): number {
  const text = process.env['REQUORUM_TEST_MINUTES'] ?? '80'
  const minutes = Number(text)
  if (text.trim() !== '' && Number.isFinite(minutes) && minutes >= 0) return minutes
  throw new UsageError(`REQUORUM_TEST_MINUTES has to be a number of minutes; it is "${text}".`)
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`${error.message}\nFor help: npm test -- --help\n`)
  process.exitCode = 2
}
