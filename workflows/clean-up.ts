import { CancellationScope } from '@temporalio/workflow'
import {
  cleanUpDigest,
  judgeAside,
  olderThanOf,
  planCleanUp,
  reasonsAgainstCleanUp,
  removesNothing,
  type CleanUpPlan,
  type JudgedAside,
} from '../domain/clean-up-plan.ts'
import {
  asideLine,
  cleanUpJournal,
  cleanUpMarkdown,
  sum,
  type CleanUpVerdict,
} from '../domain/clean-up-text.ts'
import type { ClusterConfig } from '../domain/cluster-config.ts'
import { RequorumError } from '../domain/failures.ts'
import { cleanUpCommand, type CleanUpRequest } from '../domain/messages.ts'
import { humanBytes } from '../domain/progress.ts'
import { reachedNodes } from '../domain/survey.ts'
import { approvalOf, checkpoint, type Consent } from './steps/checkpoint.ts'
import { everywhere } from './steps/everywhere.ts'
import { change, look, transfer } from './steps/hands.ts'
import { withoutBackups } from './steps/held-backups.ts'
import { recoveryIdentity } from './steps/identity.ts'
import { markEnded } from './steps/journal.ts'
import { holdingNodes } from './steps/lock.ts'
import { clusterOf } from './steps/request.ts'
import { Run, utcNow } from './steps/run.ts'
import { refuseDuringRecovery, survey } from './steps/survey.ts'

/**
 * Removes what earlier recoveries set aside: the only runbook that deletes etcd data, and the last step of each of the
 * others, weeks later.
 *
 * While a person is waited for nothing is locked. After the approval everything is looked at again, with the nodes
 * locked: what is removed is what was seen, or nothing is.
 */
export async function cleanUp(request: CleanUpRequest): Promise<CleanUpVerdict> {
  const run = new Run('cleanUp', clusterOf(request))
  return run.through(async () => {
    const { recovery, owner } = recoveryIdentity(run.cluster, cleanUpCommand(run.cluster))

    const config = await run.step('Read the cluster file', () =>
      look.loadCluster(run.cluster, { consent: true }),
    )
    const olderThanMs = olderThanOf(request) ?? config.cleanUp.olderThan
    const lookAround = (title?: string): Promise<Aside> =>
      findAside(run, config, recovery, owner, olderThanMs, title)

    let now = await lookAround()
    for (;;) {
      const { plan, judged } = now
      if (removesNothing(plan)) return verdictOf(run, now, { outcome: 'nothing' })
      const shows = cleanUpMarkdown(plan, judged, utcNow())
      const consent = await checkpoint(run, config, 'cleanup', cleanUpDigest(plan), shows)
      if (consent.outcome !== 'approved') return verdictOf(run, now, { outcome: consent.outcome })

      const ended = await holdingNodes(run, config, owner, () =>
        withoutBackups(run, config, recovery, async () => {
          const again = await lookAround('Look again before anything is removed')
          if (cleanUpDigest(again.plan) !== cleanUpDigest(plan)) return { again, removed: null }
          return { again, removed: await removeAside(run, config, again) }
        }),
      )
      if (ended.removed !== null)
        return verdictOf(run, ended.again, { outcome: 'cleaned', consent, removed: ended.removed })
      now = ended.again
    }
  })
}

interface Aside {
  readonly plan: CleanUpPlan
  readonly judged: readonly JudgedAside[]
}

/** @throws RequorumError `recovery-running`, `cluster-unhealthy` */
async function findAside(
  run: Run,
  config: ClusterConfig,
  recovery: string,
  owner: string,
  olderThanMs: number,
  title?: string,
): Promise<Aside> {
  const found = await survey(run, config, title)
  refuseDuringRecovery(config, found, owner)
  const unwell = reasonsAgainstCleanUp(config, found)
  if (unwell.length > 0) {
    throw new RequorumError('cluster-unhealthy', {
      what: `Not every member of ${config.cluster} is well, and what was set aside may be the last good copy. Nothing was removed.`,
      why: unwell.join('; '),
      todo: `Mend that first: requorum diagnose ${config.cluster}`,
    })
  }
  const { proved } = await run.step('Read the snapshot catalogue', () =>
    transfer.readCatalogue(config.cluster),
  )
  const lists = await run.step(
    'List what was set aside',
    () =>
      Promise.all(
        reachedNodes(found).map(({ node, dataDir }) =>
          look.listAside({ cluster: config.cluster, node }, dataDir.path),
        ),
      ),
    (listed) => {
      const all = listed.flatMap(({ entries }) => entries)
      return `${all.length} things, ${humanBytes(sum(all))}`
    },
  )
  const judged = judgeAside(config, recovery, lists, { now: utcNow(), olderThanMs, proved, survey: found })
  return { plan: planCleanUp(config, recovery, lists, judged), judged }
}

/**
 * Removes data first, on all nodes, and then what was kept for a way back that is none without it. Each step may be
 * done again; a cancellation waits for the end of a step.
 *
 * @returns what is not there any more.
 */
async function removeAside(run: Run, config: ClusterConfig, { plan, judged }: Aside): Promise<JudgedAside[]> {
  const scope = CancellationScope.current()
  return CancellationScope.nonCancellable(async () => {
    await run.step('Write the journal on every node', () => {
      const text = cleanUpJournal(plan, utcNow())
      return Promise.all(
        plan.targets.map(({ node }) =>
          change.writeJournal({ cluster: config.cluster, node }, plan.recovery, text),
        ),
      )
    })
    try {
      for (const step of [plan.remove, plan.forget]) {
        if (scope.consideredCancelled) {
          throw new RequorumError('cancelled', {
            what: `The clean-up of ${plan.cluster} was cancelled between two steps. What is not removed stays.`,
            todo: `Start again for the rest: requorum cleanup ${plan.cluster}`,
          })
        }
        await everywhere(run, plan, step, change)
      }
    } finally {
      await markEnded(run, plan, 'cleaned up')
    }
    return judged.filter(({ keep }) => keep === null)
  })
}

function verdictOf(
  run: Run,
  { plan, judged }: Aside,
  end: Pick<CleanUpVerdict, 'outcome'> & { consent?: Consent; removed?: readonly JudgedAside[] },
): CleanUpVerdict {
  const removed = end.removed ?? []
  return {
    runbook: 'cleanUp',
    outcome: end.outcome,
    cluster: plan.cluster,
    recovery: plan.recovery,
    removed: removed.map(asideLine),
    freedBytes: sum(removed),
    kept: judged.flatMap((one) =>
      removed.includes(one) ? [] : [{ ...asideLine(one), why: one.keep ?? 'nobody approved its removal' }],
    ),
    steps: run.timings(),
    checks: [],
    approvals: end.consent === undefined ? [] : [approvalOf('cleanup', end.consent)],
    warnings: run.warnings(),
  }
}
