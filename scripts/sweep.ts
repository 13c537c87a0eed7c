#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { seedKeyspace } from '../lab/hosts/keyspace.ts'
import { labDown, labUp } from '../lab/lab.ts'
import { Operator } from '../lab/operator.ts'
import { reasonOf } from '../domain/failures.ts'
import { humanSeconds } from '../domain/progress.ts'
import { markdownTable, recordResult } from './results/record.ts'
import { nameOf, slice, type Case } from '../test/sweep/cases.ts'
import { RUNBOOKS } from '../test/sweep/runbooks.ts'
import { Sweep, type Result } from '../test/sweep/sweep.ts'

/** Two cores carry so many: of three the kubelets' and elections' patience is tried, and not Requorum's. */
const LABS = 2
const MOST_LABS = 8

const HELP = `npm run sweep [-- options]

The crash sweep: every runbook is run once undisturbed, and then again for each of its steps with the worker killed
before, in the middle of and after it, the engine killed, the node's connection cut, the node rebooted. Each has to
end as the undisturbed run did. On labs of its own. The last line is JSON: cases, equal; exit code 0 when all are.

  --labs <n>         how many labs share the cases (${LABS}); most of a case is waiting
  --only <pattern>   cases whose line has this regular expression: --only 'backup.*engine'
  --part <k>/<n>     every nth case from the kth on; several parts make one sweep
  --record           writes what came of it to docs/results/sweep.md
  --list             the cases; runs each runbook once, undisturbed, to see its steps
  --help`

const KEYS = 200

interface Wish {
  readonly only: RegExp
  readonly part: { readonly k: number; readonly n: number }
  readonly list: boolean
  readonly labs: number
  readonly record: boolean
}

function readWish(): Wish | null {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: '' },
      part: { type: 'string', default: '1/1' },
      list: { type: 'boolean', default: false },
      record: { type: 'boolean', default: false },
      labs: { type: 'string', default: String(LABS) },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return null
  const [, k, n] = /^(\d+)\/(\d+)$/.exec(values.part) ?? []
  const part = { k: Number(k), n: Number(n) }
  if (!(part.k >= 1 && part.k <= part.n)) throw new TypeError(`--part is like 2/5, not ${values.part}`)
  const labs = Number(values.labs)
  if (!(Number.isInteger(labs) && labs >= 1 && labs <= MOST_LABS))
    throw new TypeError(`--labs is from 1 to ${MOST_LABS}, not ${values.labs}`)
  return {
    only: new RegExp(values.only),
    part,
    list: values.list,
    labs: values.list ? 1 : labs,
    record: values.record,
  }
}

async function main(wish: Wish): Promise<number> {
  const labs = new OwnLabs()
  const began = performance.now()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void labs.down().finally(() => process.exit(130)))
  }
  try {
    // The first one brings in what all of them need.
    const first = await labs.up()
    const all: Case[] = []
    for (const runbook of RUNBOOKS) {
      const { cases } = await first.golden(runbook.name)
      say(`${runbook.name}, undisturbed: ${runbook.ends}; ${cases.length} cases`)
      all.push(...cases)
    }
    const chosen = slice(
      all.filter((one) => wish.only.test(nameOf(one))),
      wish.part,
    )
    if (wish.list) {
      for (const one of chosen) console.log(nameOf(one))
      return 0
    }
    const sweeps = [first]
    while (sweeps.length < Math.min(wish.labs, chosen.length)) sweeps.push(await labs.up())
    const results = await runAll(sweeps, chosen)
    await Promise.all(sweeps.map((sweep) => sweep.end()))
    const equal = results.filter((one) => one.equal).length
    tell(results)
    if (wish.record) say(`recorded in ${recordSweep(results, (performance.now() - began) / 1_000)}`)
    console.log(JSON.stringify({ cases: results.length, equal }))
    return equal === results.length ? 0 : 1
  } finally {
    await labs.down()
  }
}

/** The labs of this sweep, each with all that belongs to it. */
class OwnLabs {
  readonly #ends: (() => Promise<void>)[] = []
  /** Until it is up or has failed, a lab can't be taken down. */
  readonly #coming: Promise<unknown>[] = []

  up(): Promise<Sweep> {
    const coming = this.#up()
    this.#coming.push(coming)
    return coming
  }

  async #up(): Promise<Sweep> {
    const dir = await mkdtemp(join(tmpdir(), 'requorum-lab-'))
    const name = `s${process.pid.toString(36)}${this.#ends.length}`
    this.#ends.push(async () => {
      await labDown({ name, dir, say: () => undefined })
      await rm(dir, { recursive: true, force: true })
    })
    const lab = await labUp({ name, dir, say })
    const operator = await Operator.of(lab)
    this.#ends.push(() => operator.close())
    await seedKeyspace(lab.hosts, { keys: KEYS, seed: 1 })
    return Sweep.on({ lab, operator })
  }

  /** All of them, also when one can't be ended. */
  async down(): Promise<void> {
    await Promise.allSettled(this.#coming)
    for (const end of this.#ends.splice(0).toReversed()) {
      await end().catch((error: unknown) => {
        say(`Something of the labs is left: ${reasonOf(error)}`)
      })
    }
  }
}

/** All cases, whichever lab comes to them; the results in the order of the cases. */
async function runAll(sweeps: readonly Sweep[], cases: readonly Case[]): Promise<Result[]> {
  const results = new Map<Case, Result>()
  const left = [...cases]
  const began = performance.now()
  const runSome = async (sweep: Sweep): Promise<void> => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) {
      const result = await sweep.run(one)
      results.set(one, result)
      const each = (performance.now() - began) / 1_000 / results.size
      const said = result.equal ? 'equal' : 'DIFFERS'
      console.log(
        `${results.size}/${cases.length} ${said} ${nameOf(one)} (${result.seconds.toFixed(0)} s; about ${humanSeconds(each * (cases.length - results.size))} left)`,
      )
      if (result.note !== '') console.log(result.note.replaceAll(/^/gm, '    '))
    }
  }
  await Promise.all(sweeps.map(runSome))
  return cases.flatMap((one) => results.get(one) ?? [])
}

function say(line: string): void {
  console.log(`  ${line}`)
}

function recordSweep(results: readonly Result[], seconds: number): string {
  const equal = results.filter((one) => one.equal).length
  return recordResult({
    ...{ name: 'sweep', title: 'The crash sweep' },
    command: ['npm run sweep --', ...process.argv.slice(2)].join(' '),
    verdict: `${equal} of ${results.length} cases ended as the undisturbed run did, in ${humanSeconds(seconds)}`,
    body: markdownTable(
      ['runbook', 'step', 'where', 'blow', 'ended', 'took'],
      results.map(({ case: one, equal: same, note, seconds: took }) => [
        ...[
          one.runbook,
          one.step,
          one.where,
          one.blow,
          `${same ? 'equal' : 'DIFFERS'}${note === '' ? '' : ` (${note})`}`,
        ],
        `${took.toFixed(0)} s`,
      ]),
    ),
  })
}

function tell(results: readonly Result[]): void {
  const rows = results.map(({ case: one, equal, note }) => [
    ...[one.runbook, one.step, one.where, one.blow],
    equal ? `equal${note === '' ? '' : ` (${note})`}` : (note.split('\n')[0] ?? '').slice(0, 100),
  ])
  const widths = [0, 1, 2, 3].map((at) => Math.max(0, ...rows.map((row) => (row[at] ?? '').length)))
  console.log('')
  for (const row of rows) console.log(row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join('  '))
}

try {
  const wish = readWish()
  if (wish === null) console.log(HELP)
  else process.exitCode = await main(wish)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  if (error instanceof TypeError && 'code' in error) console.error(`\n${HELP}`)
  process.exitCode = 1
}
