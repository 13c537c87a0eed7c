import { parseArgs } from 'node:util'
import type { BackupSpeed } from '../test/bench/backup-speed.ts'
import type { RestoreSpeed } from '../test/bench/restore-speed.ts'
import { runSetUp } from './setup/run-set-up.ts'

const HELP = `Measures Requorum against real systems. Needs root; installs what else it needs, as the drill does.

  npm run bench -- lab                          how long the lab takes to come up and to go down (profile etcd)
  npm run bench -- lab --rounds 9               medians of nine rounds instead of five
  npm run bench -- backup                       backups of 100 MiB, 1 GiB and 4 GiB, by the node and through the worker,
                                                against save, status and aws s3 cp in a shell
  npm run bench -- backup --sizes 100           of about 100 MiB alone
  npm run bench -- fleet                        backups of 50, 100 and 200 cluster definitions at once, through one worker
  npm run bench -- fleet --clusters 10,20       of 10 and 20
  npm run bench -- parts                        a file of 6 GiB to the store and onto another node, both ways
  npm run bench -- parts --mib 512              of another size
  npm run bench -- relay                        the worker's memory while it relays a snapshot of 1 GiB
  npm run bench -- relay --mib 256              of another size
  npm run bench -- restore                      restores of 100 MiB and 1 GiB against the same by hand and against the
                                                least that they can take, to the first write. Builds Kubernetes once
  npm run bench -- restore --sizes 10,500       of about 10 and 500 MiB
  npm run bench -- restore --profile etcd       on etcd alone, without API servers: quick, and no measure of what is
                                                gained
  npm run bench -- restore --rounds 3           medians of three rounds
  npm run bench -- restore --dead 300           the cluster lies dead for 300 s (60 by default) before each restore

  --record                                      writes what was found to docs/results

What goes on is on standard error; the last line of standard output is one JSON object. A figure never ends it
with a failure: 0 when it was measured, 1 when it could not be, 2 for wrong use. What the figures mean is in
docs/benchmarks.md.`

const OPTIONS = {
  mib: { type: 'string' },
  profile: { type: 'string' },
  sizes: { type: 'string' },
  clusters: { type: 'string' },
  rounds: { type: 'string' },
  dead: { type: 'string' },
  record: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

type Values = ReturnType<typeof read>['values']
const MIB = 1024 ** 2

type Say = (line: string) => void

interface Figures {
  readonly figures: object
  /** What they come to, in one line for a record. */
  readonly verdict: string
}

/** One thing that can be measured: what it is measured with, or undefined when it was asked for wrongly. */
interface Bench {
  readonly options: readonly string[]
  readonly prepare: (values: Values) => Measurement | undefined
}

interface Measurement {
  /** As the set-up has it (`--for`). */
  readonly needs: 'drill' | 'test-lab' | 'kubeadm'
  /** The figures. What it needs is loaded only now: before the set-up it may not be there. */
  readonly measure: (say: Say) => Promise<Figures>
}

const BENCHES: Readonly<Record<string, Bench>> = {
  lab: {
    options: ['rounds'],
    prepare: (values) => {
      const rounds = wholeNumber(values.rounds ?? '5', 1, 100)
      return rounds === undefined
        ? undefined
        : {
            needs: 'drill',
            measure: async (say) => {
              const { labSpeed } = await import('../test/bench/lab-speed.ts')
              const figures = await labSpeed(rounds, say)
              return { figures, verdict: `up ${figures.upSeconds} s, down ${figures.downSeconds} s` }
            },
          }
    },
  },
  backup: {
    options: ['sizes', 'rounds'],
    prepare: (values) => {
      const sizes = growing(values.sizes ?? '100,1024,4096', 6_000)
      const rounds = wholeNumber(values.rounds ?? '1', 1, 100)
      if (sizes === undefined || rounds === undefined) return undefined
      return {
        needs: 'test-lab',
        measure: async (say) => {
          const { backupSpeed } = await import('../test/bench/backup-speed.ts')
          const figures = await backupSpeed(sizes, rounds, say)
          return { figures, verdict: backupVerdict(figures) }
        },
      }
    },
  },
  fleet: {
    options: ['clusters'],
    prepare: (values) => {
      const sizes = growing(values.clusters ?? '50,100,200', 1_000)
      return sizes === undefined
        ? undefined
        : {
            needs: 'test-lab',
            measure: async (say) => {
              const { fleetSpeed } = await import('../test/bench/fleet.ts')
              const figures = await fleetSpeed(sizes, say)
              const { clusters, backupsPerMinute, bytesPerCluster } = figures
              const each = `${Math.round(bytesPerCluster / 1e3)} kB each`
              return {
                figures,
                verdict: `${backupsPerMinute} backups a minute of ${clusters} clusters, ${each}`,
              }
            },
          }
    },
  },
  parts: {
    options: ['mib'],
    prepare: (values) => {
      const mib = wholeNumber(values.mib ?? '6144', 1, 16_384)
      return mib === undefined
        ? undefined
        : {
            needs: 'drill',
            measure: async (say) => {
              const { largeFile } = await import('../test/bench/large-file.ts')
              const figures = await largeFile(mib * 1024 ** 2, say)
              const each = figures.ways.map(
                ({ transfer, storeSeconds, fetchSeconds }) =>
                  `${transfer} stored in ${storeSeconds} s and fetched in ${fetchSeconds} s`,
              )
              return { figures, verdict: `${mib} MiB: ${each.join(', ')}` }
            },
          }
    },
  },
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
              const figures = await relayMemory(mib * 1024 ** 2, say)
              const added = Math.round((figures.peakBytes - figures.idleBytes) / 1e6)
              return { figures, verdict: `${added} MB above the worker's idle size, for ${mib} MiB` }
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
          const figures = await restoreSpeed({ profile, sizes, rounds, deadSeconds, say })
          return { figures, verdict: speedVerdict(figures) }
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
  const { record, ...wish } = values
  const measurement = asked(wish, positionals)
  if (measurement === undefined) {
    process.stderr.write(`${HELP}\n`)
    return 2
  }
  const began = performance.now()
  try {
    await runSetUp(measurement.needs, 'stderr')
    const say = (line: string): void => {
      process.stderr.write(`${((performance.now() - began) / 1_000).toFixed(1).padStart(7)} s  ${line}\n`)
    }
    const measured = await measurement.measure(say)
    if (record === true) say(`recorded in ${await keep(positionals[0] ?? '', measured)}`)
    process.stdout.write(`${JSON.stringify(measured.figures)}\n`)
    return 0
  } catch (error) {
    process.stderr.write(
      `It could not be measured. ${error instanceof Error ? reasons(error) : String(error)}\n`,
    )
    return 1
  }
}

async function keep(bench: string, { figures, verdict }: Figures): Promise<string> {
  const { recordResult } = await import('./results/record.ts')
  return recordResult({
    ...{ name: `bench-${bench}`, title: `Benchmark: ${bench}`, verdict },
    command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
    body: `What the figures mean: [docs/benchmarks.md](../benchmarks.md).\n\n\`\`\`json\n${JSON.stringify(figures, null, 2)}\n\`\`\``,
  })
}

function speedVerdict({ sizes }: RestoreSpeed): string {
  return sizes
    .map(
      ({ bytes, oursSeconds, ratioToPlain, ratioToFloor }) =>
        `${Math.round(bytes / 1e6)} MB in ${oursSeconds} s (${ratioToPlain} times as fast as the plain runbook, ${ratioToFloor} times the floor)`,
    )
    .join('; ')
}

function backupVerdict({ sizes, workerSpreadBytes }: BackupSpeed): string {
  const each = sizes.map(
    ({ bytes, transfer, oursSeconds, plainSeconds }) =>
      `${Math.round(bytes / 1e6)} MB, ${transfer}: ${oursSeconds} s (in a shell ${plainSeconds} s)`,
  )
  return `${each.join('; ')}; the worker's memory within ${Math.round(workerSpreadBytes / MIB)} MiB`
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
function growing(text: string, most = 1_800): number[] | undefined {
  const sizes = text.split(',').map((one) => wholeNumber(one, 0, most))
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
