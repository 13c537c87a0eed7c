import { CancellationScope, executeChild } from '@temporalio/workflow'
import { nodeNames, type ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError } from '../../domain/failures.ts'
import { fencedCheck } from '../../domain/fence-text.ts'
import { backupWorkflowId } from '../../domain/messages.ts'
import { journalPath } from '../../domain/node-paths.ts'
import { acceptMarkdown, journalText } from '../../domain/plan-text.ts'
import {
  acceptDigest,
  expectedRevision,
  fenceOf,
  hasApiServers,
  stepsBeforeOpen,
  undoSteps,
  type RestorePlan,
} from '../../domain/restore-plan.ts'
import type { RestoreRecord } from '../../domain/recovery-record.ts'
import type { ProvedSnapshot } from '../../domain/snapshot.ts'
import { etcdId } from '../../domain/values.ts'
import { tally } from '../../domain/validation/verdict.ts'
import { failedChecks, type Check, type RestoredExpectation } from '../../domain/verdict.ts'
import type { backup } from '../backup.ts'
import type { validate } from '../validate.ts'
import { checkpointAfterwards, type Consent } from './checkpoint.ts'
import { everywhere, startOneByOne } from './everywhere.ts'
import { whyOf } from './failure.ts'
import { change, transfer, undo } from './hands.ts'
import { mark, markEnded, writeJournals } from './journal.ts'
import { keep } from './keep.ts'
import { utcNow, type Run } from './run.ts'
import { startFence } from './start-fence.ts'
import { whatNow } from './what-now.ts'

/** A restored cluster at the moment when clients may write to it again. */
export interface Opened {
  readonly clusterId: string
  readonly at: string
  readonly checks: readonly Check[]
}

/** A person wants another snapshot to be restored; everything is put back. */
export interface GivenUp {
  readonly another: true
  readonly why: string
}

/** What a restore is that is tried, beside its record. */
export interface Try {
  /** Whether there is an older snapshot to take instead. */
  readonly another: boolean
  /** Whether another run did a part of it: then there is something to take back, whatever fails first. */
  readonly begun: boolean
}

/**
 * From the consent to a healthy etcd that holds what the snapshot promised and takes writes. A step that failed for
 * good waits for a person; where nobody wants it tried again, everything is undone by itself: the old data and
 * manifests are back before this ends. A cancellation asks nobody.
 *
 * @throws RequorumError `restore-undone`, `cancelled`, `undo-incomplete`
 */
export async function restoreUntilOpen(
  run: Run,
  config: ClusterConfig,
  record: RestoreRecord,
  { another, begun: before }: Try,
): Promise<Opened | GivenUp> {
  const { plan } = record
  const scope = CancellationScope.current()
  const heed = (): void => {
    if (!scope.consideredCancelled) return
    throw new RequorumError('cancelled', { what: 'The restore was cancelled.', todo: 'It is undone.' })
  }
  let begun = before
  const begin = (): void => {
    begun = true
  }
  for (let tries = 1; ; tries += 1) {
    try {
      // A step is never cut in the middle; a cancellation is heard between steps.
      return await CancellationScope.nonCancellable(() => attempt(run, config, record, heed, begin))
    } catch (error) {
      const why = whyOf(error)
      const ask = begun && !scope.consideredCancelled
      const wish = ask ? await whatNow(run, config, plan, { tries, why, another }) : 'back'
      if (wish === 'again') continue
      await CancellationScope.nonCancellable(() =>
        begun ? undoRestore(run, plan, why) : markEnded(run, plan, 'undone'),
      )
      if (wish === 'another') return { another: true, why }
      throw new RequorumError(scope.consideredCancelled ? 'cancelled' : 'restore-undone', {
        what: `The restore of ${plan.cluster} was undone: data and manifests are what they were.`,
        why,
        todo: `Mend the cause and start again: requorum restore ${plan.cluster}`,
      })
    }
  }
}

async function attempt(
  run: Run,
  config: ClusterConfig,
  record: RestoreRecord,
  heed: () => void,
  begin: () => void,
): Promise<Opened> {
  const { plan, snapshot } = record
  await writeJournals(run, record, (node, started) => journalText(plan, node, started))
  for (const step of stepsBeforeOpen(plan)) {
    heed()
    begin()
    if (step === plan.startEtcd) await startOneByOne(run, plan)
    else await everywhere(run, plan, step, change)
  }
  heed()
  const { clusterId } = await awaitEtcd(run, config, record)
  await run.step(
    'Disarm alarms and probe with a write',
    () => change.disarmAndProbe(anyNode(config), `requorum/probe-${plan.recovery}`),
    (seen) => seen,
  )
  const checks = await run.step(
    'Hold it against the snapshot',
    () => transfer.validateCluster(config.cluster, expectation(plan, snapshot)),
    (seen) => `${seen.length - failedChecks(seen).length} of ${seen.length} checks without a failure`,
  )
  run.showChecks(checks)
  refuseFailed(checks)
  heed()
  if (plan.removeLeases !== undefined) await everywhere(run, plan, plan.removeLeases, change)
  await mark(plan, 'opened', `revision ${expectedRevision(plan)}, cluster ${clusterId}`)
  return { clusterId, at: utcNow(), checks }
}

function refuseFailed(checks: readonly Check[]): void {
  const failed = failedChecks(checks)
  if (failed.length === 0) return
  throw new RequorumError('validation-failed', {
    what: 'The restored cluster is not what the snapshot promised.',
    why: failed.map((one) => `${one.name}: ${one.evidence}`).join('; '),
    todo: 'It is undone before any client sees it. Try another snapshot.',
  })
}

/**
 * The way back on every node, for as long as no client could write.
 *
 * @param why - what is undone for; it stands before what fails now
 * @throws RequorumError `undo-incomplete`
 */
export async function undoRestore(run: Run, plan: RestorePlan, why: string): Promise<void> {
  // A node that can't be put back keeps its journal and its lock, and keeps no other node from its way back.
  const stuck = new Map<string, unknown>()
  for (const step of undoSteps(plan)) await everywhere(run, plan, step, undo, stuck)
  if (stuck.size > 0) {
    throw new RequorumError('undo-incomplete', {
      what: `The restore of ${plan.cluster} failed, and ${[...stuck.keys()].join(', ')} could not be put back. The nodes stay locked.`,
      why: `${why} Then: ${[...stuck].map(([node, failure]) => `${node}: ${whyOf(failure)}`).join('; ')}`,
      todo: `Nothing was deleted. Go on by hand there, as ${journalPath(plan.recovery)} says.`,
    })
  }
  await markEnded(run, plan, 'undone')
}

/** The cluster that another run restored and had begun to open. @throws RequorumError `cluster-unhealthy` */
export async function openAgain(run: Run, config: ClusterConfig, record: RestoreRecord): Promise<Opened> {
  const { clusterId } = await awaitEtcd(run, config, record)
  return { clusterId, at: utcNow(), checks: [] }
}

function awaitEtcd(run: Run, config: ClusterConfig, { plan, snapshot }: RestoreRecord) {
  return run.step(
    'Wait for etcd',
    () => change.awaitRestoredCluster(config.cluster, expectation(plan, snapshot)),
    ({ evidence }) => evidence,
  )
}

/** The restored cluster is open and stays, whatever is said here. */
export function accept(
  run: Run,
  config: ClusterConfig,
  plan: RestorePlan,
  checks: readonly Check[],
): Promise<Consent> {
  const shows = acceptMarkdown(plan, checks)
  return checkpointAfterwards(run, config, 'accept', acceptDigest(plan, checks), shows)
}

/**
 * Clients come back, the lineage is recorded, and a fresh backup is taken: the restored cluster is open and has
 * none of its own yet. From here on a failure is a failed check, and nothing is swapped back.
 */
export async function openCluster(
  run: Run,
  config: ClusterConfig,
  { plan, snapshot }: RestoreRecord,
  owner: string,
  opened: Opened,
): Promise<{ checks: Check[]; freshBackup: string | null }> {
  const checks = [...opened.checks, ...fencedCheck(plan)]
  await keep(checks, 'Old members are kept from starting', () => startFence(run, plan, snapshot))
  await keep(checks, plan.startApiServers.title, () => everywhere(run, plan, plan.startApiServers, change))
  if (hasApiServers(plan)) {
    await keep(checks, 'API servers', () =>
      run.step(
        'Wait for the API servers',
        () => change.awaitApiServers(config.cluster, nodeNames(config)),
        (evidence) => evidence,
      ),
    )
  }
  await keep(checks, plan.startControllers.title, () => everywhere(run, plan, plan.startControllers, change))
  await keep(checks, 'Record where the cluster comes from', () =>
    run.step('Record where the cluster comes from', () =>
      transfer.recordLineage({
        version: 1,
        cluster: plan.cluster,
        recovery: plan.recovery,
        openedAt: opened.at,
        restoredFrom: { key: snapshot.key, versionId: snapshot.versionId, sha256: snapshot.sha256 },
        previousClusterId: snapshot.etcd.clusterId,
        clusterId: etcdId.parse(opened.clusterId),
      }),
    ),
  )
  const fresh = await keep(checks, 'Take a fresh backup', () =>
    run.step(
      'Take a fresh backup',
      () =>
        executeChild<typeof backup>('backup', {
          workflowId: `${backupWorkflowId(config.cluster)}/after-${plan.recovery}`,
          args: [{ cluster: config.cluster, onBehalfOf: owner }],
          staticSummary: `Backup of ${config.cluster} after its restore`,
        }),
      ({ key }) => key,
    ),
  )
  if (hasApiServers(plan)) {
    const validated = await keep(checks, 'Validate the cluster', () =>
      run.step(
        'Validate the cluster',
        () =>
          executeChild<typeof validate>('validate', {
            workflowId: `validate/${config.cluster}/after-${plan.recovery}`,
            args: [
              {
                ...{ cluster: config.cluster, against: snapshot.key, onBehalfOf: owner },
                ...(plan.fence === undefined ? {} : { without: fenceOf(plan).map(({ node }) => node) }),
              },
            ],
            staticSummary: `Validation of ${config.cluster} after its restore`,
          }),
        (verdict) => tally(verdict.checks),
      ),
    )
    checks.push(...(validated?.checks ?? []))
  }
  run.showChecks(checks)
  await markEnded(run, plan, 'opened')
  return { checks, freshBackup: fresh?.key ?? null }
}

function anyNode(config: ClusterConfig): { cluster: string; node: string } {
  return { cluster: config.cluster, node: config.nodes[0]?.name ?? '' }
}

function expectation(plan: RestorePlan, snapshot: ProvedSnapshot): RestoredExpectation {
  return {
    members: plan.initialCluster.split(',').map((member) => {
      const at = member.indexOf('=')
      return { name: member.slice(0, at), peerUrl: member.slice(at + 1) }
    }),
    revision: expectedRevision(plan),
    previousClusterId: snapshot.etcd.clusterId,
    inventory: snapshot.inventory,
  }
}
