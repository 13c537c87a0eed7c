import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readAll } from '../../lab/hosts/keyspace.ts'
import type { LabProfile } from '../../lab/hosts/lab-hosts.ts'
import { destroyQuorum, type Destruction } from '../../lab/hosts/destroy-quorum.ts'
import { findLab, labDown, labUp, type Lab } from '../../lab/lab.ts'
import { Operator } from '../../lab/operator.ts'
import { killWorker, startWorker, stopWorker } from '../../lab/services/worker.ts'
import { readLock } from '../../lab/parts/parts.mjs'
import { backupScheduleId } from '../../domain/messages.ts'
import type { Progress, WaitingCheckpoint } from '../../domain/progress.ts'
import { humanSeconds, secondsBetween } from '../../domain/progress.ts'
import type { RestoreVerdict } from '../../domain/verdict.ts'
import { recordResult } from '../results/record.ts'
import { askPerson } from './ask.ts'
import { EtcdWorld } from './etcd-world.ts'
import { KubeadmWorld } from './kubeadm-world.ts'
import { drillReport, type DrillFindings } from './report.ts'
import { requorum } from './requorum.ts'
import type { World } from './world.ts'

const RESTORE_STEP = 'Restore the snapshot'

export interface DrillOptions {
  readonly profile: LabProfile
  readonly approve: boolean
  readonly killWorker: boolean
  readonly down: boolean
  readonly record: boolean
}

const say = (line: string): void => console.log(`  ${line}`)
const chapter = (title: string): void => console.log(`\n\x1b[1m${title}\x1b[0m`)

/** The main job, whole and on real parts. Returns the exit code. */
export async function runDrill(options: DrillOptions): Promise<number> {
  const started = Date.now()
  chapter('1. The lab comes up')
  const lab = await readyLab(options.profile)
  const operator = await Operator.of(lab)
  const world = worldOf(lab)
  try {
    console.log(`  Temporal UI: ${lab.engine.uiUrl}`)

    chapter('2. A backup is taken and proved')
    await world.fill()
    await requorum(['schedule', 'apply', lab.name], 'quiet')
    await world.remember()
    await requorum(['backup', 'now', lab.name, '--wait'])

    chapter('3. The cluster is written on, and then destroyed')
    const destruction = await writeOnAndDestroy(lab, world)

    chapter('4. The restore waits for consent')
    const verdict = await restore(lab, operator, options)

    chapter('5. Is it true?')
    const findings = await verify(lab, operator, world, destruction, verdict)
    const report = drillReport(lab.name, destruction, verdict, findings)
    const file = await writeReport(lab, report)
    console.log(`\n${report}`)
    console.log(`Report: ${file}`)
    console.log(
      options.down
        ? ''
        : `The lab stays up: requorum status ${lab.name}, requorum lab down. UI: ${lab.engine.uiUrl}\n`,
    )
    const failed = findings.filter((finding) => !finding.holds)
    const last =
      failed.length === 0
        ? `DRILL PASSED: ${lab.name} was destroyed and restored, and every check is true (${humanSeconds((Date.now() - started) / 1_000)} in all)`
        : `DRILL FAILED: ${failed.map((finding) => finding.claim).join('; ')}`
    if (options.record) say(`recorded in ${recordDrill(lab.hosts.profile, options, report, last)}`)
    console.log(last)
    return failed.length === 0 ? 0 : 1
  } finally {
    await world.close()
    await operator.close()
    if (options.down) await labDown({ name: lab.name, say })
  }
}

/**
 * The lab, healthy. One that an earlier drill left broken, or that has another profile, is taken down first: it has
 * nothing that anybody needs.
 */
async function readyLab(profile: LabProfile): Promise<Lab> {
  const started = Date.now()
  const left = await findLab()
  if (left !== undefined) {
    const other = left.hosts.profile !== profile
    if (other || !(await isHealthy(left))) {
      say(
        `the lab that is up ${other ? `has the profile ${left.hosts.profile}` : 'is not healthy'}: taking it down`,
      )
      await labDown({ name: left.name, say })
    }
    // A worker runs the code that it started with: the drill is of the code that is here now.
    await stopWorker(left.dir)
  }
  const lab = await labUp({ profile, say })
  say(`up after ${humanSeconds((Date.now() - started) / 1_000)}`)
  return lab
}

async function isHealthy(lab: Lab): Promise<boolean> {
  const operator = await Operator.of(lab)
  try {
    const recovery = await operator.client.workflow
      .getHandle(`recovery/${lab.name}`)
      .describe()
      .catch(() => null)
    if (recovery?.status.name === 'RUNNING') return false
    await readAll(lab.hosts)
    return true
  } catch {
    return false
  } finally {
    await operator.close()
  }
}

function worldOf(lab: Lab): World {
  return lab.hosts.profile === 'kubeadm' ? new KubeadmWorld(lab) : new EtcdWorld(lab)
}

async function writeOnAndDestroy(lab: Lab, world: World): Promise<Destruction> {
  say(`${await world.writeOn()} after the backup: lost soon, and the plan has to say so`)
  const destruction = await destroyQuorum(lab.hosts)
  say(
    `data directories of ${destruction.wiped.join(' and ')} gone, database and log of ${destruction.damaged} damaged under load`,
  )
  return destruction
}

async function restore(lab: Lab, operator: Operator, options: DrillOptions): Promise<RestoreVerdict> {
  await requorum(['restore', lab.name, '--detach'], 'quiet')
  const tell = narrator()
  await pass(operator, 'destroy', options, tell)
  if (options.killWorker) await killInTheMiddle(lab, operator, tell)
  await pass(operator, 'accept', options, tell)
  const end = await operator.result()
  tell(await operator.progress())
  if ('verdict' in end) return end.verdict
  throw new Error(`The restore failed: ${end.message} [${end.code}]`)
}

/** Waits for a checkpoint, shows what is asked, and sends the decision of whoever decides. */
async function pass(
  operator: Operator,
  name: string,
  options: DrillOptions,
  tell: (progress: Progress) => void,
): Promise<void> {
  const waiting = await operator.untilCheckpoint(name, 600_000, tell)
  if (waiting === undefined) return
  console.log(`\n${indent(waiting.shows)}\n`)
  const decision = options.approve ? await readBack(operator, waiting) : await askPerson(waiting, operator)
  if (decision !== 'elsewhere')
    await operator.decide(waiting, decision, options.approve ? 'drill' : undefined)
}

/** Nothing is bypassed: the plan that is approved is the one that a second look still finds waiting. */
async function readBack(operator: Operator, waiting: WaitingCheckpoint): Promise<'approve'> {
  const { waiting: again } = await operator.progress()
  if (again?.digest !== waiting.digest)
    throw new Error('The plan changed while it was read. Start the drill again.')
  say(`approving plan ${waiting.plan} by the Signal "decide"`)
  return 'approve'
}

async function killInTheMiddle(
  lab: Lab,
  operator: Operator,
  tell: (progress: Progress) => void,
): Promise<void> {
  for (;;) {
    const progress = await operator.progress()
    tell(progress)
    if (progress.steps.some((step) => step.title === RESTORE_STEP)) break
    await sleep(50)
  }
  await killWorker(lab.dir)
  say('the worker was killed (SIGKILL) in the middle of the restore; starting another')
  await startWorker(lab.dir, say)
}

/** One line for each step as it ends. */
function narrator(): (progress: Progress) => void {
  let told = 0
  return (progress) => {
    for (const step of progress.steps.slice(told)) {
      if (step.endedAt === null) return
      told += 1
      const took = humanSeconds(secondsBetween(step.startedAt, step.endedAt))
      say(
        `${step.state === 'done' ? '✓' : '✗'} ${step.title} (${took})${step.note === null ? '' : `: ${step.note}`}`,
      )
    }
  }
}

/** What has to be true of every restore; whether the world is what it was, the world says. */
async function verify(
  lab: Lab,
  operator: Operator,
  world: World,
  destruction: Destruction,
  verdict: RestoreVerdict,
): Promise<DrillFindings> {
  const schedule = await operator.client.schedule.getHandle(backupScheduleId(lab.name)).describe()
  const badChecks = verdict.checks.filter((one) => one.verdict !== 'pass')
  return [
    { claim: 'the restore ended as restored', holds: verdict.outcome === 'restored', saw: verdict.outcome },
    {
      claim: 'every check of the validation was made, and passed',
      holds: verdict.checks.length > 0 && badChecks.length === 0,
      saw:
        badChecks.map((one) => `${one.name} (${one.verdict}): ${one.evidence}`).join('; ') ||
        `${verdict.checks.length} checks`,
    },
    ...(await world.findings(destruction)),
    {
      claim: 'a fresh backup is proved',
      holds: verdict.freshBackup !== null,
      saw: verdict.freshBackup ?? verdict.warnings.join('; '),
    },
    {
      claim: 'the backup schedule goes on',
      holds: !schedule.state.paused,
      saw: schedule.state.note ?? 'not paused',
    },
  ]
}

function recordDrill(
  profile: LabProfile,
  { killWorker }: DrillOptions,
  report: string,
  verdict: string,
): string {
  // Its own title stands above it already.
  const [, ...body] = report.split('\n')
  return recordResult({
    name: killWorker ? `drill-${profile}-worker-killed` : `drill-${profile}`,
    title: `The drill, profile ${profile}${killWorker ? ', its worker killed on the way' : ''}`,
    verdict,
    command: ['npm run drill --', ...process.argv.slice(2)].join(' '),
    ...(profile === 'kubeadm' ? { beside: `Kubernetes ${readLock().kubernetes.version}` } : {}),
    body: body.join('\n'),
  })
}

async function writeReport(lab: Lab, report: string): Promise<string> {
  const directory = join(lab.dir, 'reports')
  await mkdir(directory, { recursive: true })
  const file = join(directory, `drill-${new Date().toISOString().replaceAll(/[:.]/g, '')}.md`)
  await writeFile(file, `${report}\n`)
  return file
}

function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n')
}
