import { isCancellation, workflowInfo } from '@temporalio/workflow'
import type { ClusterConfig } from '../domain/cluster-config.ts'
import {
  ageOfNewest,
  alarmOf,
  judgeStore,
  judgeUpkeep,
  previousAlarm,
  type FreshnessVerdict,
  type SeenLock,
  type SeenStore,
} from '../domain/freshness.ts'
import type { FreshnessRequest } from '../domain/messages.ts'
import { reachedNodes, unreachedNodes, type NodeSurvey } from '../domain/survey.ts'
import { whyOf } from './steps/failure.ts'
import { look } from './steps/hands.ts'
import { clusterOf } from './steps/request.ts'
import { Run, utcNow } from './steps/run.ts'
import { surveyWhatAnswers } from './steps/survey.ts'

/**
 * Looks whether the newest proved snapshot is young enough, whether backups go on, and whether a dead run holds a node.
 * What it finds is an alarm and no failure of the run: raised once, and cleared once when nothing is left of it. The
 * schedule hands each look the result of the one before, which is how it knows what is open.
 */
export async function watchFreshness(request: FreshnessRequest): Promise<FreshnessVerdict> {
  const run = new Run('watchFreshness', clusterOf(request))
  return run.through(async () => {
    const before = previousAlarm(workflowInfo().lastResult)
    const config = await run.step('Read the cluster file', () => look.loadCluster(run.cluster))
    const store = await seeStore(run, config)
    const schedule = await run.step(
      'Look at the backup schedule',
      () => look.seeBackupSchedule(config.cluster),
      (seen) => (seen === null ? 'there is none' : seen.paused ? `paused: ${seen.note}` : 'on'),
    )
    const found = await surveyWhatAnswers(run, config)
    const locks = await seeLocks(run, found)

    const now = utcNow()
    const findings = [
      ...judgeStore(config, store, new Date(now)),
      ...judgeUpkeep(config.cluster, schedule, locks),
    ]
    const judged = alarmOf(config.cluster, before, findings, now)
    // What it says may have changed meanwhile; by its key it stays the one that is open.
    const { alarm } = judged
    if (alarm !== null) await run.step('Raise the alarm', () => look.raiseAlarm(alarm, before !== null))
    else if (before !== null)
      await run.step('Clear the alarm', () => look.clearAlarm(before.key, config.cluster))
    return {
      ...judged,
      cluster: config.cluster,
      newest: 'newest' in store ? store.newest : null,
      // A node that nobody reaches is no matter of freshness; but its lock was not seen.
      warnings: unreachedNodes(found).map(({ node, reason }) => `${node} could not be looked at: ${reason}`),
    }
  })
}

async function seeStore(run: Run, config: ClusterConfig): Promise<SeenStore> {
  try {
    return await run.step(
      'Look at the newest snapshot',
      () => look.seeFreshness(config.cluster),
      ({ newest }) => (newest === null ? 'there is none' : ageOfNewest(newest, config.freshness, new Date())),
    )
  } catch (error) {
    if (isCancellation(error)) throw error
    return { silent: whyOf(error) }
  }
}

function seeLocks(run: Run, found: readonly NodeSurvey[]): Promise<SeenLock[]> {
  const held = reachedNodes(found).flatMap(({ node, lock }) => (lock === null ? [] : [{ node, ...lock }]))
  return run.step(
    'Look for locks without a run',
    async () => {
      const owners = [...new Set(held.map(({ owner }) => owner))]
      const alive = owners.length === 0 ? [] : await look.ownersAlive(owners)
      return held.map((lock) => ({ ...lock, alive: alive.includes(lock.owner) }))
    },
    (locks) => `${locks.length} held, ${locks.filter(({ alive }) => !alive).length} of them by nobody`,
  )
}
