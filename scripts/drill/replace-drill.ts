import { setTimeout as sleep } from 'node:timers/promises'
import { backupScheduleId, recoveryWorkflowId } from '../../domain/messages.ts'
import type { ReplaceVerdict } from '../../domain/verdict.ts'
import { leader } from '../../lab/hosts/etcdctl.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import { readAll, seedKeyspace } from '../../lab/hosts/keyspace.ts'
import { writeLoad, type WriteLoadResult } from '../../lab/hosts/write-load.ts'
import type { Lab } from '../../lab/lab.ts'
import type { Operator } from '../../lab/operator.ts'
import { pass } from './consent.ts'
import { killWorkerAt } from './kill-worker.ts'
import { goodChecks, scheduleGoesOn, type Drilled, type DrillFindings, type Wishes } from './report.ts'
import { requorum } from './requorum.ts'
import { chapter, narrator, say } from './telling.ts'

const KEYS = 2_000
const PER_SECOND = 100
/** The first step behind the point of no return. */
const FORWARD_STEP = 'Add it as a learner'

/**
 * An election begins within twice the election timeout (kubeadm leaves etcd's 1 s), and once more where votes split;
 * the writer needs a moment to ask the next member.
 */
const ELECTION_MS = 4_500

/** Under steady writes the leader's data is damaged; it is replaced with consent, and every write is accounted for. */
export async function replaceDrill(lab: Lab, operator: Operator, wishes: Wishes): Promise<Drilled> {
  chapter('2. A backup is taken and proved')
  await seedKeyspace(lab.hosts, { keys: KEYS, seed: Date.now() % 1_000_000 })
  await requorum(['schedule', 'apply', lab.name], 'quiet')
  await requorum(['backup', 'now', lab.name, '--wait'])

  chapter('3. Under steady writes the leader is damaged')
  const load = await writeLoad(lab.hosts, { perSecond: PER_SECOND })
  let writes: WriteLoadResult
  let broken: string
  let verdict: ReplaceVerdict
  try {
    await sleep(1_000)
    broken = await leader(lab.hosts)
    await findFault('corrupt-database').inject(lab.hosts, broken)
    say(`${broken} led; its database and log are damaged, under ${PER_SECOND} writes a second`)
    await requorum(['diagnose', lab.name])

    chapter('4. The replacement waits for consent')
    verdict = await replace(lab, operator, wishes)
    // A while longer, with the new member in it.
    await sleep(1_000)
  } finally {
    writes = await load.stop()
  }

  chapter('5. Is it true?')
  const pause = `${Math.round(writes.longestPauseMs)} ms`
  return {
    title: 'The drill of a replacement',
    sentence: `${broken} was damaged and replaced while ${writes.acknowledged.length} writes went on`,
    story: [
      `Database and log of ${broken}, which led, were damaged under ${PER_SECOND} writes a second.`,
      `Member ${verdict.removed ?? 'that was gone already'} went; the new one joined as a learner. Backup before: ${verdict.backup}.`,
      `Writes: ${writes.acknowledged.length} acknowledged, ${writes.unknown} without an answer, ${writes.refused} refused; the longest pause between two was ${pause}.`,
    ],
    findings: await verify(lab, operator, broken, writes, verdict),
    verdict,
  }
}

async function replace(lab: Lab, operator: Operator, wishes: Wishes): Promise<ReplaceVerdict> {
  await requorum(['replace', lab.name, '--detach'], 'quiet')
  const tell = narrator()
  await pass(operator, 'replace', wishes, tell)
  if (wishes.killWorker) await killWorkerAt(FORWARD_STEP, lab, operator, tell)
  const end = await operator.ended<ReplaceVerdict>(recoveryWorkflowId(lab.name))
  tell(await operator.progress())
  if ('verdict' in end) return end.verdict
  throw new Error(`The replacement failed: ${end.message} [${end.code}]`)
}

async function verify(
  lab: Lab,
  operator: Operator,
  broken: string,
  { acknowledged, longestPauseMs }: WriteLoadResult,
  verdict: ReplaceVerdict,
): Promise<DrillFindings> {
  const schedule = await operator.client.schedule.getHandle(backupScheduleId(lab.name)).describe()
  const there = new Set((await readAll(lab.hosts)).keys.map(({ key }) => key))
  const lost = acknowledged.filter(({ key }) => !there.has(Buffer.from(key).toString('base64')))
  return [
    {
      claim: 'the member that was damaged was found, and replaced',
      holds: verdict.outcome === 'replaced' && verdict.node === broken,
      saw: `${verdict.outcome}: ${verdict.node}`,
    },
    goodChecks(verdict.checks),
    {
      claim: 'every write that was acknowledged is there',
      holds: lost.length === 0 && acknowledged.length > 0,
      saw: `${acknowledged.length - lost.length} of ${acknowledged.length}`,
    },
    {
      claim: 'writes were never refused for longer than an election takes',
      holds: longestPauseMs <= ELECTION_MS,
      saw: `${Math.round(longestPauseMs)} ms at most between two, of ${ELECTION_MS} ms`,
    },
    {
      claim: 'a backup was proved before the member was removed',
      holds: verdict.backup.startsWith('daily/'),
      saw: verdict.backup,
    },
    scheduleGoesOn(schedule.state),
  ]
}
