import { statfs } from 'node:fs/promises'
import { availableParallelism, loadavg, tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { secondsBetween, type StepProgress } from '../../domain/progress.ts'
import { run } from '../../lab/hosts/commands.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { labPaths, type LabHosts, type LabProfile } from '../../lab/hosts/lab-hosts.ts'
import { seedKeyspace } from '../../lab/hosts/keyspace.ts'
import type { Lab } from '../../lab/lab.ts'
import type { Operator } from '../../lab/operator.ts'
import { fillUntil } from '../lab/big-keyspace.ts'
import { restoreBare, stopBare, type FloorOrder } from './bare-floor.ts'
import { onBenchLab } from './bench-lab.ts'
import { layOutSnapshot, restoreInput } from './restore-input.ts'
import { untilSettled, untilSilent, watchMarks } from './service-marks.ts'
import { speedResult, stepsBetween, type Round, type ServiceMarks, type SpeedResult } from './speed-result.ts'

const PLAIN_RUNBOOK = fileURLToPath(new URL('plain-runbook.sh', import.meta.url))
const RESTORE_LIMIT_MS = 1_200_000
/** Keys of a Kubernetes-shaped keyspace where there is no Kubernetes to make its own. */
const SEEDED_KEYS = 2_000
const MIB = 1024 ** 2
const GIB = 1024 ** 3
/**
 * What a host may come to hold, in snapshots of the largest size: data and log, the same set aside, the staged file,
 * the bench's own and its copy, the backups of the sizes before; and one fresh backup more for each round.
 */
const COPIES_A_HOST = 9

export interface RestoreSpeed {
  readonly profile: LabProfile
  readonly cpus: number
  /** How long the cluster lay dead before each restore. */
  readonly deadSeconds: number
  /** In the order in which they were asked for. */
  readonly sizes: readonly SizedSpeed[]
}

export interface SizedSpeed extends SpeedResult {
  /** Of the snapshot that all restore. */
  readonly bytes: number
  readonly keys: number
  /** Processes that wanted a CPU, over the last minute, before each restore. Above `cpus` others were at work too. */
  readonly loads: readonly number[]
}

export interface RestoreSpeedRequest {
  readonly profile: LabProfile
  /** About how large the snapshots are, in MiB, from small to large; 0 adds nothing to what the cluster holds. */
  readonly sizes: readonly number[]
  readonly rounds: number
  readonly deadSeconds: number
  readonly say: (line: string) => void
}

/**
 * How long a cluster that lost its quorum is away once somebody has decided to restore it: with Requorum, with the
 * source runbook done by a script, and at the least that it can take. One lab, one snapshot for each size, the same
 * destruction before each; all are timed from outside (`watchMarks`), and none of them has to fetch the snapshot first.
 *
 * - Requorum: from the approval at the checkpoint `destroy`, by Signal.
 * - The plain runbook: from the start of plain-runbook.sh.
 * - The floor: bare copy, restore and start (bare-floor.ts), from the moment when nothing runs any more.
 *
 * Brings its own lab up and down.
 *
 * @throws Error when there is no room for the lab's disks
 */
export async function restoreSpeed(request: RestoreSpeedRequest): Promise<RestoreSpeed> {
  const { profile, say } = request
  const largest = Math.max(...request.sizes) * MIB
  const diskBytes = (profile === 'kubeadm' ? 6 : 2) * GIB + (COPIES_A_HOST + request.rounds) * largest
  await refuseWithoutRoom(tmpdir(), 3 * COPIES_A_HOST * largest)
  return onBenchLab({ profile, diskBytes, say }, (lab, operator) => measureOn(lab, operator, request))
}

async function refuseWithoutRoom(dir: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dir)
  const [free, needed] = [bavail * bsize, bytes].map((each) => `${Math.ceil(each / GIB)} GiB`)
  if (bavail * bsize < bytes) throw new Error(`${dir} has ${free ?? ''} free; ${needed ?? ''} are needed.`)
}

/** The measuring alone, on a healthy lab that is up. */
async function measureOn(
  lab: Lab,
  operator: Operator,
  { sizes, rounds, deadSeconds, say }: RestoreSpeedRequest,
): Promise<RestoreSpeed> {
  const { profile } = lab.hosts
  // What is seeded is no object that an API server could read.
  if (profile === 'etcd') await seedKeyspace(lab.hosts, { keys: SEEDED_KEYS, seed: 1 })
  const measured: SizedSpeed[] = []
  for (const size of sizes) {
    say(`Filling etcd to about ${size} MiB`)
    await fillUntil(lab.hosts, size * MIB, `/bench/bulk-${size}`)
    measured.push(await measureSize({ lab, operator, deadSeconds, rounds, say }))
  }
  return { profile, cpus: availableParallelism(), deadSeconds, sizes: measured }
}

async function measureSize(
  given: Pick<Bench, 'lab' | 'operator' | 'deadSeconds' | 'say'> & { readonly rounds: number },
): Promise<SizedSpeed> {
  const { lab, operator, rounds, say } = given
  const backup = await operator.backup()
  if (!('verdict' in backup)) throw new Error(`The backup failed: ${backup.message}`)
  const { key, totalKeys: keys, sizeBytes: bytes } = backup.verdict
  const bench: Bench = { ...given, snapshot: await layOutSnapshot(lab.hosts, backup.verdict), loads: [] }
  say(`${key}: ${keys} keys, ${bytes} bytes`)

  const measured: Round[] = []
  for (let round = 1; round <= rounds; round++) {
    if (rounds > 1) say(`Round ${round} of ${rounds}`)
    measured.push({
      plain: await byPlainRunbook(bench),
      floorAtOnce: await byFloor(bench, 'at once'),
      floorInOrder: await byFloor(bench, 'in order'),
      // Last: it records the new cluster's ID, without which the next size's backup would be a stranger's.
      ...(await byRequorum(bench)),
    })
  }
  return { bytes, keys, loads: bench.loads, ...speedResult(measured) }
}

interface Bench {
  readonly lab: Lab
  readonly operator: Operator
  readonly snapshot: string
  readonly deadSeconds: number
  readonly loads: number[]
  readonly say: (line: string) => void
}

type ByRequorum = Pick<Round, 'requorum' | 'steps' | 'checkedSeconds' | 'stagedBeforeSeconds'>

async function byRequorum(bench: Bench): Promise<ByRequorum> {
  const { lab, operator, say } = bench
  const dead = await destroyed(bench)
  await operator.startRestore()
  const waiting = await operator.untilCheckpoint('destroy', RESTORE_LIMIT_MS)
  if (waiting === undefined) throw await endedEarly(operator)
  await dead()
  const watch = await watchMarks(lab.hosts, RESTORE_LIMIT_MS)
  await operator.decide(waiting, 'approve')
  const requorum = await Promise.race([watch.marks, failure(operator)])
  tell(bench, 'Requorum', requorum)

  const after = await operator.untilCheckpoint('accept', RESTORE_LIMIT_MS)
  if (after === undefined) throw await endedEarly(operator)
  const { steps } = await operator.progress()
  await operator.decide(after, 'approve')
  await operator.result()
  const written = new Date(watch.startedAt.getTime() + 1_000 * requorum.firstWrite)
  const timed = stepsBetween(steps, watch.startedAt, written)
  for (const { title, seconds } of timed) say(`  ${title}: ${seconds} s`)
  const checkedSeconds = secondsBetween(
    watch.startedAt.toISOString(),
    stepOf(steps, 'Hold it against').endedAt,
  )
  const staging = stepOf(steps, 'Stage ')
  const stagedBeforeSeconds = secondsBetween(staging.startedAt, staging.endedAt)
  say(
    `  checked and open after ${checkedSeconds.toFixed(1)} s; ${staging.title}, before: ${stagedBeforeSeconds} s`,
  )
  return { requorum, steps: timed, checkedSeconds, stagedBeforeSeconds }
}

function stepOf(steps: readonly StepProgress[], title: string): StepProgress & { readonly endedAt: string } {
  const found = steps.find((step) => step.title.startsWith(title))
  if (found?.endedAt == null) throw new Error(`The restore has no finished step "${title}".`)
  return { ...found, endedAt: found.endedAt }
}

async function byPlainRunbook(bench: Bench): Promise<ServiceMarks> {
  const { lab, say } = bench
  const dead = await destroyed(bench)
  await dead()
  const { sshKey, knownHosts } = labPaths(lab.hosts)
  const { snapshot, token } = restoreInput(lab.hosts, bench.snapshot)
  const nodes = lab.hosts.hosts.map(({ name, sshUser, address }) => `${name}=${sshUser}@${address}`)
  const watch = await watchMarks(lab.hosts, RESTORE_LIMIT_MS)
  await run('/bin/sh', [PLAIN_RUNBOOK, sshKey, knownHosts, snapshot, token, ...nodes], {
    timeoutMs: RESTORE_LIMIT_MS,
    onLine: (line) => {
      say(`  ${line}`)
    },
  })
  const marks = await watch.marks
  tell(bench, 'Plain runbook', marks)
  return marks
}

async function byFloor(bench: Bench, order: FloorOrder): Promise<ServiceMarks> {
  const { lab } = bench
  const dead = await destroyed(bench)
  await dead()
  await stopBare(lab.hosts)
  const watch = await watchMarks(lab.hosts, RESTORE_LIMIT_MS)
  await restoreBare(lab.hosts, restoreInput(lab.hosts, bench.snapshot), order)
  const marks = await watch.marks
  tell(bench, `Floor, etcd ${order}`, marks)
  return marks
}

/**
 * A healthy cluster destroyed. What it returns waits until it has lain dead for as long as the others did: kubelets
 * put off what keeps crashing for longer and longer.
 */
async function destroyed({ lab, deadSeconds, loads, say }: Bench): Promise<() => Promise<void>> {
  await untilSettled(lab.hosts)
  await forgetOldData(lab.hosts)
  loads.push(Math.round((loadavg()[0] ?? 0) * 10) / 10)
  const { at } = await destroyQuorum(lab.hosts)
  say('The quorum is lost')
  return async () => {
    await sleep(Math.max(0, at.getTime() + 1_000 * deadSeconds - Date.now()))
    await untilSilent(lab.hosts)
  }
}

/** The disks would not hold what every restore so far set aside. */
async function forgetOldData(lab: LabHosts): Promise<void> {
  await Promise.all(lab.hosts.map(({ name }) => atConsole(lab, name, 'rm -rf /var/lib/etcd.corrupt.*; sync')))
}

function tell({ say }: Bench, way: string, { firstWrite, readyz }: ServiceMarks): void {
  const ready = readyz === null ? '' : `, all API servers ready after ${readyz.toFixed(1)} s`
  say(`${way}: first write after ${firstWrite.toFixed(1)} s${ready}`)
}

/** Rejects when the recovery ends, so that nobody waits for a service that will not come. */
async function failure(operator: Operator): Promise<never> {
  await operator.result()
  throw await endedEarly(operator)
}

async function endedEarly(operator: Operator): Promise<Error> {
  const end = await operator.result()
  return new Error(
    `The restore ended before it was measured: ${'message' in end ? end.message : end.verdict.outcome}`,
  )
}
