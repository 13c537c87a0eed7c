import { backupScheduleId } from '../../domain/messages.ts'
import { humanSeconds, secondsBetween } from '../../domain/progress.ts'
import type { RestoreVerdict } from '../../domain/verdict.ts'
import { destroyQuorum, type Destruction } from '../../lab/hosts/destroy-quorum.ts'
import type { Lab } from '../../lab/lab.ts'
import type { Operator } from '../../lab/operator.ts'
import { pass } from './consent.ts'
import { EtcdWorld } from './etcd-world.ts'
import { killWorkerAt } from './kill-worker.ts'
import { KubeadmWorld } from './kubeadm-world.ts'
import { goodChecks, scheduleGoesOn, type Drilled, type DrillFindings, type Wishes } from './report.ts'
import { requorum } from './requorum.ts'
import { chapter, narrator, say } from './telling.ts'
import type { World } from './world.ts'

const RESTORE_STEP = 'Restore the snapshot'

/** The main job: a backup, the quorum destroyed under load, a restore with consent, and whether it is true. */
export async function restoreDrill(lab: Lab, operator: Operator, wishes: Wishes): Promise<Drilled> {
  const world = worldOf(lab)
  try {
    chapter('2. A backup is taken and proved')
    await world.fill()
    await requorum(['schedule', 'apply', lab.name], 'quiet')
    await world.remember()
    await requorum(['backup', 'now', lab.name, '--wait'])

    chapter('3. The cluster is written on, and then destroyed')
    const destruction = await writeOnAndDestroy(lab, world)

    chapter('4. The restore waits for consent')
    const verdict = await restore(lab, operator, wishes)

    chapter('5. Is it true?')
    return {
      ...{ title: 'The drill of a restore', sentence: `${lab.name} was destroyed and restored`, verdict },
      story: storyOf(destruction, verdict),
      findings: await verify(lab, operator, world, destruction, verdict),
    }
  } finally {
    await world.close()
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

async function restore(lab: Lab, operator: Operator, wishes: Wishes): Promise<RestoreVerdict> {
  await requorum(['restore', lab.name, '--detach'], 'quiet')
  const tell = narrator()
  await pass(operator, 'destroy', wishes, tell)
  if (wishes.killWorker) await killWorkerAt(RESTORE_STEP, lab, operator, tell)
  await pass(operator, 'accept', wishes, tell)
  const end = await operator.result()
  tell(await operator.progress())
  if ('verdict' in end) return end.verdict
  throw new Error(`The restore failed: ${end.message} [${end.code}]`)
}

function storyOf({ at, wiped, damaged, load }: Destruction, { candidate }: RestoreVerdict): string[] {
  const lastWrite = load.acknowledged.at(-1)
  const lostRevisions =
    lastWrite === undefined || candidate === null ? '?' : lastWrite.revision - BigInt(candidate.revision)
  const lostSeconds =
    candidate === null ? '?' : humanSeconds(secondsBetween(candidate.takenAt, at.toISOString()))
  return [
    `Destroyed ${at.toISOString()}: data of ${wiped.join(', ')} gone, database and log of ${damaged} damaged under load.`,
    `Restored from ${candidate?.key ?? 'nothing'} (revision ${candidate?.revision ?? '?'}).`,
    `Lost: ${lostRevisions} revisions, ${lostSeconds} of writes.`,
  ]
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
  return [
    { claim: 'the restore ended as restored', holds: verdict.outcome === 'restored', saw: verdict.outcome },
    goodChecks(verdict.checks),
    ...(await world.findings(destruction)),
    {
      claim: 'a fresh backup is proved',
      holds: verdict.freshBackup !== null,
      saw: verdict.freshBackup ?? verdict.warnings.join('; '),
    },
    scheduleGoesOn(schedule.state),
  ]
}
