import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { faultSets, isMeant, patternOf, readFaults, type Fault } from './faults/table.ts'
import { markdownTable, recordResult } from './results/record.ts'
import { withLab } from './test/lab-lane.ts'
import { LANES, filesOf, type Lane } from './test/lanes.ts'
import { runTestFile, type FileOutcome, type TestOutcome } from './test/test-file.ts'

const HELP = `Runs the test of every fault that Requorum has to survive, and says what was expected and what was seen.

  npm run faults -- recovery                  those of test/faults/README.md that are of the recoveries
  npm run faults -- replace                   those of a replacement
  npm run faults -- backup                    those of a backup
  npm run faults -- recovery --only 'disk'    those whose description matches this regular expression
  npm run faults -- recovery --record         writes what was seen to docs/results

Needs root, as the lab does. What goes on is on standard error; standard output has the table, and in its last line
one JSON object: faults and asExpected. Ends with 0 when the two are equal, with 1 otherwise, with 2 for wrong use.`

const ROOT = join(import.meta.dirname, '..')

/** How a test file ended, or why it was not run. */
type Ran = Pick<FileOutcome, 'tests' | 'trouble'>

async function main(): Promise<number> {
  const { set, only, record, help } = read(process.argv.slice(2))
  if (help) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const markdown = await readFile(join(ROOT, 'test/faults/README.md'), 'utf8')
  const sets = faultSets(markdown)
  if (!sets.includes(set)) throw new Error(`Name one set of faults: ${sets.join(' or ')}.`)
  const faults = readFaults(markdown, set).filter(({ fault }) => only.test(fault))
  if (faults.length === 0) throw new Error(`No fault of ${set} is described by ${String(only)}.`)
  const ran = await runAll(faults)
  const seen = faults.map((fault) => ({ ...fault, seen: seenOf(fault, ran) }))
  for (const line of table(seen)) process.stdout.write(`${line}\n`)
  const asExpected = seen.filter((one) => one.seen.startsWith(AS_EXPECTED)).length
  if (record) {
    const file = recordResult({
      ...{ name: `faults-${set}`, title: `Faults: ${set}` },
      command: ['npm run faults --', ...process.argv.slice(2)].join(' '),
      verdict: `${asExpected} of ${faults.length} as expected`,
      body: markdownTable(
        ['fault', 'expected', 'seen'],
        seen.map(({ fault, expected, seen: what }) => [fault, expected, what]),
      ),
    })
    say(`recorded in ${file}`)
  }
  process.stdout.write(`${JSON.stringify({ faults: faults.length, asExpected })}\n`)
  return asExpected === faults.length ? 0 : 1
}

/** Each file once, with all that is wanted of it, in the order of the lanes: what tells soonest comes first. */
async function runAll(faults: readonly Fault[]): Promise<Map<string, Ran>> {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort())
  const wanted = Map.groupBy(
    faults.flatMap(({ runs }) => runs),
    ({ file }) => file,
  )
  const ran = new Map<string, Ran>()
  for (const lane of LANES) {
    const files = filesOf(ROOT, lane).filter((file) => wanted.has(file))
    const unavailable = lane.unavailable()
    const runThem = async (env: Readonly<Record<string, string>>): Promise<void> => {
      for (const file of files) {
        if (stop.signal.aborted) return
        ran.set(file, await runOne(lane, file, patternOf(wanted.get(file) ?? []), env, stop.signal))
      }
    }
    if (unavailable !== undefined)
      for (const file of files) ran.set(file, { tests: [], trouble: unavailable })
    else if (files.some(lane.wantsLab)) await withLab(lane.profile, say, runThem)
    else await runThem({})
  }
  return ran
}

function runOne(
  lane: Lane,
  file: string,
  grep: string | undefined,
  env: Readonly<Record<string, string>>,
  stop: AbortSignal,
): Promise<Ran> {
  say(file)
  const limitMs = lane.fileMinutes * 60_000
  const onTest = ({ name, outcome, ms }: TestOutcome): void =>
    say(`  ${outcome}: ${name} (${(ms / 1_000).toFixed(1)} s)`)
  const run = { root: ROOT, file, env, limitMs, stop, onTest, onNote: (text: string) => say(`    ${text}`) }
  return runTestFile(grep === undefined ? run : { ...run, grep })
}

const AS_EXPECTED = 'as expected'

function seenOf({ tests }: Fault, ran: ReadonlyMap<string, Ran>): string {
  let seconds = 0
  for (const reference of tests) {
    const of = ran.get(reference.file)
    const meant = of?.tests.filter(({ name }) => isMeant(reference, name)) ?? []
    const other = meant.find(({ outcome }) => outcome !== 'passed')
    if (meant.length === 0)
      return oneLine(`did not run: ${whyNot(of) ?? `no test "${reference.name}" in ${reference.file}`}`)
    if (other !== undefined)
      return oneLine(`${other.outcome}: ${other.name}: ${other.error ?? other.reason ?? ''}`)
    seconds += meant.reduce((sum, { ms }) => sum + ms / 1_000, 0)
  }
  return `${AS_EXPECTED} (${seconds.toFixed(1)} s)`
}

function whyNot(ran: Ran | undefined): string | undefined {
  return ran === undefined ? 'it was interrupted before' : ran.trouble
}

function table(rows: readonly (Fault & { readonly seen: string })[]): string[] {
  const cells = [
    ['fault', 'expected', 'seen'],
    ...rows.map(({ fault, expected, seen }) => [fault, expected, seen]),
  ]
  const widths = [0, 1].map((column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  return cells.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | '))
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

function oneLine(text: string): string {
  return text.split('\n')[0]?.slice(0, 300) ?? ''
}

interface Wish {
  readonly set: string
  readonly only: RegExp
  readonly record: boolean
  readonly help: boolean
}

function read(args: string[]): Wish {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      only: { type: 'string' },
      record: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  return {
    set: positionals.join(' '),
    only: new RegExp(values.only ?? ''),
    record: values.record,
    help: values.help,
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(
    `${error instanceof Error ? error.message : String(error)}\n\nFor help: npm run faults -- --help\n`,
  )
  process.exitCode = 2
}
