import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { seedKeyspace } from '../../lab/hosts/keyspace.ts'
import { writeLoad } from '../../lab/hosts/write-load.ts'
import { labDown, labUp } from '../../lab/lab.ts'
import { Operator } from '../../lab/operator.ts'
import type { ProvedSnapshot } from '../../domain/snapshot.ts'
import { openCatalogue } from '../../workers/wiring.ts'
import { startBackup } from '../lab/backup-runs.ts'
import { BucketAdmin } from '../lab/bucket-admin.ts'
import { isWhole, unexplained } from '../lab/nothing-amiss.ts'
import { StoreDoor } from '../lab/store-door.ts'
import { searchLab } from '../secrets/search.ts'
import { DISTURBANCES, type Disturbed } from './disturbances.ts'

export interface Soak {
  readonly minutes: number
  /** From the start of one backup to the start of the next. */
  readonly everyMs: number
  readonly seed: number
  readonly say: (line: string) => void
  readonly stop: AbortSignal
}

export interface SoakedRun {
  readonly disturbance: string
  /** `proved`, or the failure's code. */
  readonly verdict: string
  readonly seconds: number
  readonly key: string | null
}

export interface SoakFigures {
  readonly runs: number
  readonly proved: number
  /** Proved by its verdict, and not listed, or not there byte for byte, at the end. */
  readonly lost: number
  /** Objects of snapshots that no manifest and no reason belongs to. */
  readonly orphans: number
  /** Places where a secret was found at the end. */
  readonly secrets: number
}

const KEYS = 400
const WRITES_PER_SECOND = 5

/** Backup after backup, each disturbed in one way, under a steady load; then the catalogue is held against the store. */
export async function soak(wish: Soak): Promise<{ figures: SoakFigures; runs: readonly SoakedRun[] }> {
  const dir = await mkdtemp(join(tmpdir(), 'requorum-soak-'))
  const name = `soak${process.pid.toString(36)}`
  try {
    const lab = await labUp({ name, dir, say: wish.say })
    const operator = await Operator.of(lab)
    await seedKeyspace(lab.hosts, { keys: KEYS, seed: 1 })
    const load = await writeLoad(lab.hosts, { perSecond: WRITES_PER_SECOND })
    const door = await StoreDoor.before(lab, 'nodes')
    const runs = await disturbedRuns(wish, { lab, operator, door })
    await load.stop()
    await door.close()
    const figures = await compared({ lab, operator, door }, runs)
    await operator.close()
    return { figures, runs }
  } finally {
    await labDown({ name, dir, say: () => undefined })
    await rm(dir, { recursive: true, force: true })
  }
}

async function disturbedRuns(wish: Soak, own: Disturbed): Promise<SoakedRun[]> {
  const random = numbers(wish.seed)
  const runs: SoakedRun[] = []
  const end = Date.now() + wish.minutes * 60_000
  while (Date.now() < end && !wish.stop.aborted) {
    const began = Date.now()
    const disturbance = DISTURBANCES[Math.floor(random() * DISTURBANCES.length)] ?? DISTURBANCES[0]
    if (disturbance === undefined) break
    const run = await startBackup(own)
    const [ended] = await Promise.all([run.ended, disturbance.happen(own, random())])
    const verdict = 'verdict' in ended ? ended.verdict.outcome : ended.code
    const seconds = (Date.now() - began) / 1_000
    runs.push({
      ...{ disturbance: disturbance.name, verdict, seconds },
      key: 'verdict' in ended ? ended.verdict.key : null,
    })
    wish.say(`${runs.length}: ${disturbance.name}: ${verdict} in ${seconds.toFixed(1)} s`)
    await sleep(Math.max(0, Math.min(began + wish.everyMs, end) - Date.now()), undefined, {
      signal: wish.stop,
    }).catch(() => undefined)
  }
  return runs
}

async function compared(own: Disturbed, runs: readonly SoakedRun[]): Promise<SoakFigures> {
  const bucket = await BucketAdmin.of(own.lab)
  const keys = runs.flatMap(({ key }) => (key === null ? [] : [key]))
  const { proved } = await openCatalogue(own.lab.dir, own.lab.name)
  const lost: string[] = []
  for (const key of keys) {
    // The catalogue has the newest fifty by itself, and an older one when it is asked for.
    const listed = proved.find((one) => one.key === key) ?? (await named(own, key))
    if (listed === undefined || !(await isWhole(bucket, listed))) lost.push(key)
  }
  return {
    ...{ runs: runs.length, proved: keys.length, lost: lost.length },
    ...{ orphans: unexplained(await bucket.keys('')).length, secrets: (await searchLab(own)).found.length },
  }
}

async function named({ lab }: Disturbed, key: string): Promise<ProvedSnapshot | undefined> {
  const { proved } = await openCatalogue(lab.dir, lab.name, key)
  return proved.find((one) => one.key === key)
}

/** mulberry32: the same numbers for the same seed. */
function numbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
