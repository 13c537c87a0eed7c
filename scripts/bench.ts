import { parseArgs } from 'node:util'
import { runSetUp } from './setup/run-set-up.ts'

const HELP = `Measures Requorum against real systems. Needs root; installs what else it needs, as the drill does.

  npm run bench -- relay                        the worker's memory while it relays a snapshot of 1 GiB
  npm run bench -- relay --mib 256              of another size
  npm run bench -- restore                      restores of 100 MiB and 1 GiB against the same by hand and against the
                                                least that they can take, to the first write. Builds Kubernetes once
  npm run bench -- restore --sizes 10,500       of about 10 and 500 MiB
  npm run bench -- restore --profile etcd       on etcd alone, without API servers: quick, and no measure of what is
                                                gained
  npm run bench -- restore --rounds 3           medians of three rounds
  npm run bench -- restore --dead 300           the cluster lies dead for 300 s (60 by default) before each restore

What goes on is on standard error; the last line of standard output is one JSON object. A figure never ends it
with a failure: 0 when it was measured, 1 when it could not be, 2 for wrong use. What the figures mean is in
docs/benchmarks.md.`

const OPTIONS = {
  mib: { type: 'string' },
  profile: { type: 'string' },
  sizes: { type: 'string' },
  rounds: { type: 'string' },
  dead: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const

type Values = ReturnType<typeof read>['values']
type Say = (line: string) => void

/** One thing that can be measured: what it is measured with, or undefined when it was asked for wrongly. */
interface Bench {
  readonly options: readonly string[]
  readonly prepare: (values: Values) => Measurement | undefined
}

interface Measurement {
  /** As the set-up has it (`--for`). */
  readonly needs: 'drill' | 'kubeadm'
  /** The figures. What it needs is loaded only now: before the set-up it may not be there. */
  readonly measure: (say: Say) => Promise<object>
}

const BENCHES: Readonly<Record<string, Bench>> = {
  relay: {
    options: ['mib'],
    prepare: (values) => {
      const mib = wholeNumber(values.mib ?? '1024', 1, 1_800)
      return mib === undefined
        ? undefined
        : {
            needs: 'drill',
            measure: async (say) => {
              const { relayMemory } = await import('../test/bench/relay-memory.ts')
              return relayMemory(mib * 1024 ** 2, say)
            },
          }
    },
  },
  restore: {
    options: ['profile', 'sizes', 'rounds', 'dead'],
    prepare: (values) => {
      const profile = values.profile ?? 'kubeadm'
      const sizes = growing(values.sizes ?? '100,1024')
      const rounds = wholeNumber(values.rounds ?? '1', 1, 100)
      const deadSeconds = wholeNumber(values.dead ?? '60', 0, 86_400)
      if (profile !== 'etcd' && profile !== 'kubeadm') return undefined
      if (sizes === undefined || rounds === undefined || deadSeconds === undefined) return undefined
      return {
        needs: profile === 'kubeadm' ? 'kubeadm' : 'drill',
        measure: async (say) => {
          const { restoreSpeed } = await import('../test/bench/restore-speed.ts')
          return restoreSpeed({ profile, sizes, rounds, deadSeconds, say })
        },
      }
    },
  },
}

async function main(): Promise<number> {
  const { values, positionals } = read(process.argv.slice(2))
  if (values.help === true) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const measurement = asked(values, positionals)
  if (measurement === undefined) {
    process.stderr.write(`${HELP}\n`)
    return 2
  }
  const began = performance.now()
  try {
    await runSetUp(measurement.needs, 'stderr')
    const figures = await measurement.measure((line) => {
      process.stderr.write(`${((performance.now() - began) / 1_000).toFixed(1).padStart(7)} s  ${line}\n`)
    })
    process.stdout.write(`${JSON.stringify(figures)}\n`)
    return 0
  } catch (error) {
    process.stderr.write(
      `It could not be measured. ${error instanceof Error ? reasons(error) : String(error)}\n`,
    )
    return 1
  }
}

function asked(values: Values, positionals: readonly string[]): Measurement | undefined {
  const bench = positionals.length === 1 ? BENCHES[positionals[0] ?? ''] : undefined
  // An option of another bench would be ignored in silence.
  return bench !== undefined && Object.keys(values).every((name) => bench.options.includes(name))
    ? bench.prepare(values)
    : undefined
}

function read(args: string[]) {
  try {
    return parseArgs({ args, allowPositionals: true, options: OPTIONS })
  } catch {
    return { values: {}, positionals: [] }
  }
}

function wholeNumber(text: string, least: number, most: number): number | undefined {
  const number = Number(text)
  return /^\d+$/.test(text) && number >= least && number <= most ? number : undefined
}

/** Sizes in MiB, each larger than the one before: a keyspace is only ever added to. */
function growing(text: string): number[] | undefined {
  const sizes = text.split(',').map((one) => wholeNumber(one, 0, 1_800))
  return sizes.every(
    (size, index): size is number => size !== undefined && (index === 0 || size > (sizes[index - 1] ?? 0)),
  )
    ? sizes
    : undefined
}

function reasons(error: Error): string {
  return error.cause instanceof Error ? `${error.message} ${reasons(error.cause)}` : error.message
}

process.exitCode = await main()
