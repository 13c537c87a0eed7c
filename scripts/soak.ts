import { parseArgs } from 'node:util'
import { markdownTable, recordResult } from './results/record.ts'
import { soak, type SoakFigures, type SoakedRun } from '../test/soak/soak.ts'

const HELP = `npm run soak [-- options]

Backup after backup on a lab of its own, under a steady load of writes, each disturbed in one way: the worker killed, the
store busy, requests reset, answers lost. At the end every snapshot whose run said "proved" has to be listed and in the
store byte for byte, and nothing else may be there. The last line is JSON: runs, proved, lost, orphans, secrets; exit code 0
when every run had a verdict and the last three are 0.

  --minutes <n>   how long (60)
  --every <s>     seconds from the start of one backup to the start of the next (60)
  --seed <n>      which disturbances and when; printed, so that the same can be had again
  --record        writes what came of it to docs/results/soak.md
  --help`

class UsageError extends Error {}

function read(args: string[]) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        minutes: { type: 'string', default: '60' },
        every: { type: 'string', default: '60' },
        seed: { type: 'string', default: String(Date.now() % 1_000_000) },
        record: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
    return values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function number(name: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new UsageError(`--${name} is a number above 0, not ${text}`)
  return value
}

async function main(args: string[]): Promise<number> {
  const values = read(args)
  if (values.help) {
    console.log(HELP)
    return 0
  }
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  const seed = number('seed', values.seed)
  say(`seed ${seed}`)
  const { figures, runs } = await soak({
    ...{ minutes: number('minutes', values.minutes), everyMs: number('every', values.every) * 1_000 },
    ...{ seed, say, stop: stop.signal },
  })
  if (values.record) say(`recorded in ${record(args, seed, figures, runs)}`)
  console.log(JSON.stringify(figures))
  const { lost, orphans, secrets } = figures
  return figures.runs > 0 && lost + orphans + secrets === 0 ? 0 : 1
}

function record(args: string[], seed: number, figures: SoakFigures, runs: readonly SoakedRun[]): string {
  const groups = [...Map.groupBy(runs, ({ disturbance }) => disturbance)].sort(([one], [other]) =>
    one < other ? -1 : 1,
  )
  return recordResult({
    ...{ name: 'soak', title: 'Soak of backups' },
    command: ['npm run soak --', ...args].join(' '),
    verdict: `${figures.proved} of ${figures.runs} runs proved, ${figures.lost} lost, ${figures.orphans} orphans, ${figures.secrets} secrets found; seed ${seed}`,
    body: markdownTable(
      ['disturbance', 'runs', 'proved', 'other verdicts', 'longest'],
      groups.map(([disturbance, of]) => {
        const others = of.flatMap(({ verdict }) => (verdict === 'proved' ? [] : [verdict]))
        const longest = Math.max(...of.map(({ seconds }) => seconds))
        return [
          ...[disturbance, String(of.length), String(of.length - others.length)],
          ...[others.length === 0 ? 'none' : others.join(', '), `${longest.toFixed(1)} s`],
        ]
      }),
    ),
  })
}

function say(line: string): void {
  console.error(`  ${line}`)
}

try {
  // Connections to engines that are gone would keep it alive.
  process.exit(await main(process.argv.slice(2)))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  if (error instanceof UsageError) console.error(`\n${HELP}`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
