#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { inParallel } from '../domain/in-parallel.ts'
import { humanSeconds } from '../domain/progress.ts'
import { CaseLabs } from '../test/sweep/case-lab.ts'
import { nameOf, slice, type Case } from '../test/sweep/cases.ts'
import { Notes } from '../test/sweep/notes.ts'
import { golden, runCase, type Golden, type Result } from '../test/sweep/run-case.ts'
import { RUNBOOKS, type Runbook } from '../test/sweep/runbooks.ts'
import { commitHere, markdownTable, recordResult } from './results/record.ts'

/** Two cores carry so many: of three the kubelets' and elections' patience is tried, and not Requorum's. */
const LABS = 2
const MOST_LABS = 8

const HELP = `npm run sweep [-- options]

The crash sweep: every runbook is run once undisturbed, and then again for each of its steps with the worker killed
before, in the middle of and after it, the engine killed, the node's connection cut, the node rebooted. Each case has
a lab of its own, and has to end as the undisturbed run did. The last line is JSON: cases, equal; exit code 0 when all are.

  --runbook <name>   one of ${RUNBOOKS.map(({ name }) => name).join(', ')}; may be repeated
  --step <pattern>   cases of the steps that this regular expression finds: --step '^12 ', --step stop-pods
  --case <line>      one case, by its line as the sweep prints it
  --part <k>/<n>     every nth case from the kth on; several parts make one sweep
  --labs <n>         how many labs share the cases (${LABS}); most of a case is waiting
  --resume           go on with a sweep that was stopped: what ended equal is not done again
  --record           writes what came of it to docs/results/sweep.md, of one runbook to sweep-<name>.md
  --list             the cases; runs each runbook once, undisturbed, to see its steps
  --help`

class UsageError extends Error {}

interface Wish {
  readonly runbooks: readonly Runbook[]
  readonly wanted: (one: Case) => boolean
  readonly part: { readonly k: number; readonly n: number }
  readonly labs: number
  readonly list: boolean
  readonly resume: boolean
  /** A look at one thing, which leaves a sweep that was stopped as it is. */
  readonly aside: boolean
  readonly record: boolean
}

/** A case, and how it ended. */
interface Ended {
  readonly case: Case
  readonly result: Result
}

function readWish(): Wish | null {
  const { values } = parse()
  if (values.help) return null
  const [, k, n] = /^(\d+)\/(\d+)$/.exec(values.part) ?? []
  const part = { k: Number(k), n: Number(n) }
  if (!(part.k >= 1 && part.k <= part.n)) throw new UsageError(`--part is like 2/5, not ${values.part}`)
  const labs = Number(values.labs)
  if (!(Number.isInteger(labs) && labs >= 1 && labs <= MOST_LABS))
    throw new UsageError(`--labs is from 1 to ${MOST_LABS}, not ${values.labs}`)
  const { case: line, step } = values
  const names = line === undefined ? values.runbook : [line.split(' | ')[0] ?? '']
  for (const name of names) {
    if (!RUNBOOKS.some((one) => one.name === name))
      throw new UsageError(
        `There is no runbook "${name}". They are ${RUNBOOKS.map((one) => one.name).join(', ')}.`,
      )
  }
  const pattern = new RegExp(step)
  return {
    runbooks: RUNBOOKS.filter(({ name }) => names.length === 0 || names.includes(name)),
    wanted: (one) => (line === undefined ? pattern.test(one.step) : nameOf(one) === line),
    ...{ part, labs, list: values.list, resume: values.resume, record: values.record },
    aside: values.list || line !== undefined,
  }
}

function parse() {
  try {
    return parseArgs({
      options: {
        runbook: { type: 'string', multiple: true, default: [] },
        step: { type: 'string', default: '' },
        case: { type: 'string' },
        part: { type: 'string', default: '1/1' },
        labs: { type: 'string', default: String(LABS) },
        list: { type: 'boolean', default: false },
        resume: { type: 'boolean', default: false },
        record: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

async function main(wish: Wish): Promise<number> {
  const began = performance.now()
  const notes = wish.aside ? Notes.none() : Notes.of(commitHere(), wish.resume)
  const labs = new CaseLabs()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      say(`${signal}: taking the labs down. What was done is kept: go on with --resume.`)
      void labs.down(say).finally(() => process.exit(130))
    })
  }
  const goldens = await undisturbed(wish, labs)
  const chosen = slice(
    wish.runbooks.flatMap(({ name }) => goldens.get(name)?.cases ?? []).filter(wish.wanted),
    wish.part,
  )
  if (chosen.length === 0) throw new UsageError('There are no such cases; --list shows them.')
  if (wish.list) {
    for (const one of chosen) console.log(nameOf(one))
    return 0
  }
  const ended = await runAll(wish, chosen, goldens, notes, labs)
  const equal = ended.filter(({ result }) => result.equal).length
  if (wish.record) say(`recorded in ${record(wish, ended, equal, (performance.now() - began) / 1_000)}`)
  console.log(JSON.stringify({ cases: ended.length, equal }))
  return equal === ended.length ? 0 : 1
}

async function undisturbed(wish: Wish, labs: CaseLabs): Promise<ReadonlyMap<string, Golden>> {
  const goldens = new Map<string, Golden>()
  await inParallel(wish.labs, wish.runbooks, async (runbook) => {
    const found = await golden(runbook, labs)
    goldens.set(runbook.name, found)
    say(`${runbook.name}, undisturbed: ${runbook.ends}; ${found.cases.length} cases`)
  })
  return goldens
}

/** All cases, whichever comes first to a lab; the results in the order of the cases. */
async function runAll(
  { runbooks, labs: count }: Wish,
  cases: readonly Case[],
  goldens: ReadonlyMap<string, Golden>,
  notes: Notes,
  labs: CaseLabs,
): Promise<Ended[]> {
  const results = new Map<Case, Result>()
  for (const one of cases) {
    const known = notes.equal(nameOf(one))
    if (known !== undefined) results.set(one, known)
  }
  if (results.size > 0) say(`${results.size} of ${cases.length} cases are done already`)
  const left = cases.filter((one) => !results.has(one))
  const began = performance.now()
  let done = 0
  await inParallel(count, left, async (one) => {
    const runbook = runbooks.find(({ name }) => name === one.runbook)
    const standard = goldens.get(one.runbook)
    if (runbook === undefined || standard === undefined) return
    const result = await runCase(runbook, one, standard, labs)
    results.set(one, result)
    notes.keep(nameOf(one), result)
    done += 1
    const rest = ((performance.now() - began) / 1_000 / done) * (left.length - done)
    console.log(
      `${results.size}/${cases.length} ${result.equal ? 'equal' : 'DIFFERS'} ${nameOf(one)} (${result.seconds.toFixed(0)} s; about ${humanSeconds(rest)} left)`,
    )
    if (result.note !== '') console.log(result.note.replaceAll(/^/gm, '    '))
    if (!result.equal) console.log(`    again: ${commandFor(one)}`)
  })
  return cases.flatMap((one) => {
    const result = results.get(one)
    return result === undefined ? [] : [{ case: one, result }]
  })
}

function commandFor(one: Case): string {
  return `npm run sweep -- --case '${nameOf(one)}'`
}

function record({ runbooks }: Wish, ended: readonly Ended[], equal: number, seconds: number): string {
  const [only, ...others] = runbooks
  return recordResult({
    name: others.length === 0 && only !== undefined ? `sweep-${only.name}` : 'sweep',
    title: 'The crash sweep',
    command: ['npm run sweep --', ...process.argv.slice(2)].join(' '),
    verdict: `${equal} of ${ended.length} cases ended as the undisturbed run did, in ${humanSeconds(seconds)}`,
    body: markdownTable(
      ['runbook', 'step', 'where', 'blow', 'ended', 'took'],
      ended.map(({ case: one, result: { equal: same, note, seconds: took } }) => [
        ...[one.runbook, one.step, one.where, one.blow],
        `${same ? 'equal' : 'DIFFERS'}${note === '' ? '' : ` (${note})`}`,
        `${took.toFixed(0)} s`,
      ]),
    ),
  })
}

function say(line: string): void {
  console.log(`  ${line}`)
}

try {
  const wish = readWish()
  if (wish === null) console.log(HELP)
  // Connections to engines that are gone would keep it alive.
  else process.exit(await main(wish))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  if (error instanceof UsageError) console.error(`\n${HELP}`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
