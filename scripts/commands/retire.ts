import type { Command } from 'commander'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { reasonOf, RequorumError } from '../../domain/failures.ts'
import { recoveryWorkflowId, SCHEDULE_IDS } from '../../domain/messages.ts'
import { keptUntil } from '../../domain/retention.ts'
import type { EngineConnection } from '../../workers/connection.ts'
import { loadCluster } from '../../workers/home.ts'
import { age, utcWithAge } from '../terminal/times.ts'
import { clusterOf, examples, type Act, type Call, type Outcome } from './command.ts'

export function registerRetire(program: Command, act: Act): void {
  const retire = program
    .command('retire')
    .description(
      'a cluster that is gone for good: ends its schedules, and says until when its snapshots are kept; deletes none of them',
    )
    .argument('<cluster>')
    .option('--confirm <cluster>', 'its name once more; without it, this only says what would be done')
  act(examples(retire, ['requorum retire prod', 'requorum retire prod --confirm prod']), retireCluster)
}

async function retireCluster(call: Call): Promise<Outcome> {
  const { describeSchedule } = await import('./schedule-view.ts')
  const config = await loadCluster(call.home, clusterOf(call))
  const { cluster } = config
  const confirmed = call.text('confirm')
  if (confirmed !== undefined && confirmed !== cluster) {
    throw new RequorumError('input-invalid', {
      what: `--confirm says ${confirmed}, and the cluster is ${cluster}. Nothing was changed.`,
      todo: `If it is gone for good: requorum retire ${cluster} --confirm ${cluster}`,
    })
  }
  const engine = await call.engine()
  const ids = Object.values(SCHEDULE_IDS).map((of) => of(cluster))
  const there: string[] = []
  for (const id of ids) if ((await describeSchedule(engine, id)) !== null) there.push(id)
  if (confirmed !== undefined) await removeSchedules(engine, cluster, there)

  const bucket = await lookAtBucket(call.home, config)
  const named = there.length === 0 ? 'has no schedules' : there.join(', ')
  return {
    exit: 'done',
    text: [
      confirmed === undefined
        ? `${cluster}: ${named}. Nothing was changed. To end them: requorum retire ${cluster} --confirm ${cluster}`
        : `${cluster}: ${there.length === 0 ? named : `ended ${named}. What runs still goes to its end`}.`,
      bucket.text,
    ].join('\n'),
    json: { cluster, retired: confirmed !== undefined, schedules: there, ...bucket.json },
  }
}

/** Suspended first, so that nothing starts between the look and the end. */
async function removeSchedules(
  engine: EngineConnection,
  cluster: string,
  schedules: readonly string[],
): Promise<void> {
  const { lookAtRun } = await import('./runs.ts')
  const recovery = recoveryWorkflowId(cluster)
  if ((await lookAtRun(engine, recovery)).state === 'running') {
    throw new RequorumError('recovery-running', {
      what: `${recovery} is running. A cluster in recovery is not retired; nothing was changed.`,
      todo: `See where it stands: requorum status ${cluster}`,
    })
  }
  for (const id of schedules) await engine.client.schedule.getHandle(id).pause('requorum: retired')
  for (const id of schedules) await engine.client.schedule.getHandle(id).delete()
}

/** Whether the bucket may go, which is another question than whether the schedules may. */
async function lookAtBucket(home: string, config: ClusterConfig): Promise<{ text: string; json: object }> {
  const { openVersions } = await import('../../workers/wiring.ts')
  const where = `s3://${config.store.bucket}/${config.store.prefix}`
  let objects
  try {
    objects = await openVersions(home, config.cluster)
  } catch (error) {
    const text = `${where} must not be deleted: it could not be read. ${reasonOf(error)}`
    return { text, json: { objects: null, keptUntil: null, deletable: false } }
  }
  const now = new Date()
  const until = keptUntil(config, objects)
  const deletable = until === null || until <= now.toISOString()
  const text =
    until === null
      ? `${where} holds no snapshot of it.`
      : deletable
        ? `The retention of all ${objects.length} objects in ${where} is over (${age(until, now)}); for Requorum they may go.`
        : `${where} must not be deleted: it holds ${objects.length} objects, and their retention runs until ${utcWithAge(until, now)}.`
  return { text, json: { objects: objects.length, keptUntil: until, deletable } }
}
