import { existsSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { recordLane } from './results/lane.ts'
import { withLab } from './test/lab-lane.ts'
import { LANES, filesOf, filesWithoutLane, type Lane } from './test/lanes.ts'
import { Report, span } from './test/report.ts'
import { runTestFile } from './test/test-file.ts'

const HELP = `Runs tests, lane by lane, what tells soonest first.

  npm test                         what every commit has to pass: ${named(true)}
  npm run test:lab                 the rest of what needs no Kubernetes: systems, commands, lab
  npm run test:kubeadm             on a whole control plane; builds Kubernetes once
  npm test -- unit workflows       these lanes
  npm test -- test/unit/x.test.ts  these files
  npm test -- --grep 'wrong digest' only tests whose names match this regular expression
  npm test -- --list               the lanes and their files; runs nothing
  npm run test:lab -- --record     writes what came of each whole lane to docs/results

Every lane has a time limit of its own, says what it took, and fails when it ran no test.
Ends with 0 when something ran and nothing failed, with 1 otherwise, with 2 when it is called wrongly.
The last line is: N passed, N failed, N skipped.`

const root = join(import.meta.dirname, '..')

interface Choice {
  readonly lane: Lane
  readonly files: readonly string[]
}

interface Wish {
  readonly choices: readonly Choice[]
  /** The lanes of every commit, of which a test file without a lane is one fault more. */
  readonly everyCommit: boolean
  readonly grep?: string
  readonly record: boolean
}

class UsageError extends Error {}

async function main(): Promise<number> {
  const wish = readWish(process.argv.slice(2))
  if (wish === undefined) return 0
  const started = performance.now()
  const report = new Report((line) => process.stdout.write(`${line}\n`))
  const stop = stopOnSignals(report)

  for (const choice of wish.choices) {
    const { lane, files } = choice
    const unavailable = lane.unavailable()
    if (stop.aborted) {
      report.skip(files.length)
    } else if (unavailable !== undefined) {
      report.say('')
      report.say(`skipped: lane ${lane.name}, ${files.length} files (${unavailable})`)
      report.skip(files.length)
    } else {
      const { passed, failed, skipped } = report
      const [before, began] = [report.files.length, performance.now()]
      await runLane(choice, wish.grep, report, stop)
      const ran = report.passed + report.failed > passed + failed
      if (!ran && wish.grep === undefined && !stop.aborted)
        report.fail(`lane ${lane.name}`, 'ran no test', `There is nothing to run below ${lane.dir}.`)
      const whole = files.length === filesOf(root, lane).length && wish.grep === undefined
      // A part would take the place of the whole.
      if (wish.record && whole && !stop.aborted) {
        const count = {
          ...{ passed: report.passed - passed, failed: report.failed - failed },
          ...{ skipped: report.skipped - skipped, ms: performance.now() - began },
        }
        report.say(`recorded in ${recordLane(lane, report.files.slice(before), count)}`)
      }
    }
  }
  if (wish.everyCommit) {
    reportStrays(report)
    report.failWhatSkippedItself()
  }

  report.finish(performance.now() - started)
  if (stop.aborted) return 130
  return report.failed === 0 && report.passed > 0 ? 0 : 1
}

async function runLane(
  { lane, files }: Choice,
  grep: string | undefined,
  report: Report,
  stop: AbortSignal,
): Promise<void> {
  report.lane(lane.name, lane.about, files.length)
  const began = performance.now()
  const leftMs = (): number => lane.minutes * 60_000 - (performance.now() - began)
  const waiting = [...files]
  const runNext = async (env: Readonly<Record<string, string>>): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      if (stop.aborted) {
        report.say(`  dropped: ${file} (interrupted)`)
        report.skip(1)
        continue
      }
      if (leftMs() <= 0) {
        report.fail(file, 'did not begin', `The lane ${lane.name} took more than ${lane.minutes} minutes.`)
        continue
      }
      const telling = report.file(file, lane.atOnce > 1 && files.length > 1)
      const limitMs = Math.min(lane.fileMinutes * 60_000, leftMs())
      const run = { root, file, env, limitMs, stop, onTest: telling.test, onNote: telling.note }
      telling.end(await runTestFile(grep === undefined ? run : { ...run, grep }))
    }
  }
  const runAll = async (env: Readonly<Record<string, string>>): Promise<void> => {
    await Promise.all(Array.from({ length: Math.min(lane.atOnce, files.length) }, () => runNext(env)))
  }
  if (!files.some(lane.wantsLab)) {
    await runAll({})
  } else {
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
  report.say(`${lane.name} took ${span(performance.now() - began)}, of ${lane.minutes} min`)
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
      process.stdout.write(`${lane.name}: ${lane.about}${lane.inCi ? ', with every commit' : ''}\n`)
      for (const file of files) process.stdout.write(`  ${file}\n`)
    }
    return undefined
  }
  return {
    choices,
    everyCommit: positionals.length === 0,
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

/** Lanes by name and files by path, in the order of the lanes; those of every commit when nothing is named. */
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
  const wanted = ({ name, inCi }: Lane): boolean => (names.length === 0 ? inCi : lanes.has(name))
  const choices = LANES.map((lane) => {
    const all = filesOf(root, lane)
    return { lane, files: wanted(lane) ? all : all.filter((file) => paths.has(file)) }
  })
  const found = new Set(choices.flatMap(({ files }) => files))
  for (const path of paths) {
    if (!found.has(path)) throw new UsageError(`${path} is not a test file of any lane.`)
  }
  return choices.filter(({ lane, files }) => wanted(lane) || files.length > 0)
}

function named(inCi: boolean): string {
  return LANES.filter((lane) => lane.inCi === inCi)
    .map(({ name }) => name)
    .join(', ')
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`${error.message}\nFor help: npm test -- --help\n`)
  process.exitCode = 2
}
