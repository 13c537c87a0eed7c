import { CancellationScope } from '@temporalio/workflow'
import type { AdoptVerdict } from '../../domain/adopt-verdict.ts'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError } from '../../domain/failures.ts'
import { journalPath } from '../../domain/node-paths.ts'
import { setAsideOf } from '../../domain/plan-step.ts'
import type {
  Mark,
  RecoveryRecord,
  ReplaceRecord,
  RestoreRecord,
  RollBackRecord,
} from '../../domain/recovery-record.ts'
import { digestOf } from '../../domain/restore-plan.ts'
import { failedChecks } from '../../domain/verdict.ts'
import { look, transfer } from './hands.ts'
import { joinAgain, removeOldMember, stillListed, undoReplacement } from './replace.ts'
import { bringRestoredBack, finishRollBack, rollBackUntilOld } from './roll-back.ts'
import { accept, openAgain, openCluster, restoreUntilOpen, undoRestore } from './restore.ts'
import type { Run } from './run.ts'
import { approvalOf } from './checkpoint.ts'

type Marks = Readonly<Partial<Record<Mark, string>>>

/** What the verdict says of the work that was adopted. */
export interface Finished extends Partial<
  Pick<AdoptVerdict, 'checks' | 'approvals' | 'setAside' | 'freshBackup'>
> {
  readonly outcome: AdoptVerdict['outcome']
  /** What is asked when the nodes are free again. */
  readonly accept?: () => Promise<Pick<AdoptVerdict, 'outcome' | 'approvals'>>
}

/** Goes on with the plan that was approved, from wherever it came to: what was done is found, not repeated. */
export function finish(
  run: Run,
  config: ClusterConfig,
  record: RecoveryRecord,
  owner: string,
  marks: Marks,
): Promise<Finished> {
  switch (record.runbook) {
    case 'restoreQuorum':
      return finishRestore(run, config, record, owner, marks)
    case 'replaceMember':
      return finishReplacement(run, config, record, owner, marks)
    case 'rollBack':
      return completeRollBack(run, record, marks)
  }
}

/** The way back, as the recovery itself would have gone it. @throws RequorumError `undo-incomplete`, `input-invalid` */
export async function takeBack(run: Run, record: RecoveryRecord): Promise<void> {
  if (record.runbook === 'restoreQuorum') return undoRestore(run, record.plan, 'it was given up.')
  if (record.runbook === 'rollBack') return bringRestoredBack(run, record.plan, 'it was given up.')
  // The member may have been removed and nobody lived to say so.
  if (!(await stillListed(run, record.plan))) {
    throw new RequorumError('input-invalid', {
      what: `The replacement on ${record.plan.node} can't be undone: its old member is out of the list, or nobody can tell.`,
      todo: `Go on with it: requorum adopt ${record.cluster}`,
    })
  }
  await undoReplacement(run, record.plan, 'it was given up.')
}

async function finishRestore(
  run: Run,
  config: ClusterConfig,
  record: RestoreRecord,
  owner: string,
  marks: Marks,
): Promise<Finished> {
  const { plan, snapshot } = record
  const everyTarget = <Result>(work: (ref: { cluster: string; node: string }) => Promise<Result>) =>
    Promise.all(plan.targets.map(({ node }) => work({ cluster: plan.cluster, node })))
  if (marks.opened === undefined) {
    await run.step(`Stage ${snapshot.key} on every node`, () =>
      everyTarget((ref) => transfer.stageSnapshot(ref, snapshot)),
    )
  }
  const opened =
    marks.opened === undefined
      ? await restoreUntilOpen(run, config, record, { another: false, begun: true })
      : await openAgain(run, config, record)
  // Another snapshot is a restore of its own; here none was offered.
  if ('another' in opened) return { outcome: 'undone' }
  const restored = await CancellationScope.nonCancellable(async () => {
    const done = await openCluster(run, config, record, owner, opened)
    await run.step('Remove the staged copies', () =>
      everyTarget((ref) => look.unstageSnapshot(ref, snapshot.sha256)),
    )
    return done
  })
  return {
    outcome: 'unaccepted',
    ...restored,
    setAside: setAsideOf(plan.setAside),
    accept: async () => {
      const consent = await accept(run, config, plan, restored.checks)
      return {
        outcome: consent.outcome === 'approved' ? 'restored' : 'unaccepted',
        approvals: [approvalOf('accept', consent)],
      }
    },
  }
}

async function finishReplacement(
  run: Run,
  config: ClusterConfig,
  record: ReplaceRecord,
  owner: string,
  marks: Marks,
): Promise<Finished> {
  const { plan } = record
  // The member may have been removed and nobody lived to say so.
  const gone = marks.removed !== undefined || (plan.leaves.id !== null && !(await stillListed(run, plan)))
  const removed = gone ? { failed: null, byAnotherRun: true as const } : await removeOldMember(run, record)
  const { joined, retries, checks } = await joinAgain(run, config, plan, owner, removed)
  return {
    outcome: joined ? 'replaced' : 'unfinished',
    checks,
    setAside: setAsideOf(plan.setAside),
    approvals: retries.map(({ consent }) => approvalOf('retry', consent)),
  }
}

async function completeRollBack(run: Run, record: RollBackRecord, marks: Marks): Promise<Finished> {
  const { plan } = record
  const [first] = plan.targets
  const restore = await run.step('Read the restore that it takes back', () =>
    look.readRecoveryRecord({ cluster: plan.cluster, node: first?.node ?? '' }, plan.of.recovery),
  )
  if (restore.runbook !== 'restoreQuorum' || digestOf(restore.plan) !== plan.of.digest) {
    throw new RequorumError('record-unreadable', {
      what: `The record of the restore ${plan.of.recovery} is not the one that the roll-back was planned for. Nothing was touched.`,
      todo: `Go on by hand, as ${journalPath(plan.recovery)} on each node says.`,
    })
  }
  if (marks.opened === undefined) await rollBackUntilOld(run, record, true)
  const checks = await CancellationScope.nonCancellable(() => finishRollBack(run, plan, restore, []))
  return {
    outcome: failedChecks(checks).length === 0 ? 'rolled-back' : 'unfinished',
    checks,
    setAside: setAsideOf(plan.setAside),
  }
}
