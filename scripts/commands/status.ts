import type { Command } from 'commander'
import { recoveryWorkflowId } from '../../domain/messages.ts'
import { listClusters, loadCluster } from '../../workers/home.ts'
import { failureJson } from '../terminal/failure.ts'
import { clusterLines } from '../terminal/status.ts'
import { clusterStatus, learn, type ClusterStatus, type RecoveryStatus } from './cluster-status.ts'
import { examples, missing, type Act, type Call, type Outcome } from './command.ts'
import { exitOf, type Exit } from './exit-codes.ts'

export function registerStatus(program: Command, act: Act): void {
  const status = program
    .command('status')
    .description('engine, running recovery and backup, who is waited for, schedule, last good snapshot')
    .argument('[cluster]', 'all of them when none is named')
    .option('--watch', 'follow the recovery of this cluster to its end')
  act(
    examples(status, ['requorum status', 'requorum status prod', 'requorum status prod --watch']),
    showStatus,
  )
}

async function showStatus(call: Call): Promise<Outcome> {
  const [named] = call.args
  if (call.flag('watch')) return watch(call, named)
  // A name that isn't known is wrong use; a file that is wrong is part of the picture.
  if (named !== undefined) await loadCluster(call.home, named)
  const clusters = named === undefined ? await listClusters(call.home) : [named]
  const engine = await learn(() => call.engine())
  const statuses = await Promise.all(clusters.map((cluster) => clusterStatus(call.home, cluster, engine)))

  const now = new Date()
  const place = 'known' in engine ? engine.known : null
  const engineLine =
    'unknown' in engine
      ? `engine  ${engine.unknown.what}`
      : `engine  ${engine.known.address}, namespace ${engine.known.namespace}${engine.known.uiUrl === null ? '' : `, UI ${engine.known.uiUrl}`}`
  const blocks = statuses.map((one) => clusterLines(one, now, named !== undefined).join('\n'))
  return {
    exit: worst('unknown' in engine ? exitOf(engine.unknown.code) : 'done', statuses),
    text: [
      engineLine,
      ...(blocks.length === 0 ? [`There are no cluster files in ${call.home}/clusters.`] : blocks),
    ].join('\n\n'),
    json: {
      home: call.home,
      engine:
        place === null ? engine : { address: place.address, namespace: place.namespace, uiUrl: place.uiUrl },
      clusters: statuses.map(statusJson),
    },
  }
}

async function watch(call: Call, cluster: string | undefined): Promise<Outcome> {
  if (cluster === undefined) throw missing('With --watch, the cluster')
  const { watchRecovery } = await import('./recovery.ts')
  await loadCluster(call.home, cluster)
  const engine = await call.engine()
  return watchRecovery(call, engine, { cluster, workflowId: recoveryWorkflowId(cluster) }, 'end')
}

/** What one does not know is worse than what is wrong, because it may be anything. */
function worst(engine: Exit, statuses: readonly ClusterStatus[]): Exit {
  const exits = statuses.flatMap(({ config, snapshot }) =>
    [config, snapshot].map((learned) => ('unknown' in learned ? exitOf(learned.unknown.code) : 'done')),
  )
  const ranked: Exit[] = ['unreachable', 'wrong-use', 'failed']
  return ranked.find((exit) => exit === engine || exits.includes(exit)) ?? 'done'
}

function statusJson({
  cluster,
  config,
  recovery,
  fence,
  drill,
  schedule,
  snapshot,
  warnings,
}: ClusterStatus): unknown {
  return {
    cluster,
    nodes: 'known' in config ? config.known.nodes.map(({ name, address }) => ({ name, address })) : config,
    recovery:
      'known' in recovery
        ? {
            ...recovery.known,
            failure: failed(recovery.known),
            waiting: recovery.known.progress?.waiting ?? null,
          }
        : recovery,
    ...(fence === undefined ? {} : { fence }),
    drill: 'known' in drill ? drill.known : drill,
    schedule: 'known' in schedule ? schedule.known : schedule,
    snapshot: 'known' in snapshot ? snapshot.known : snapshot,
    warnings,
  }
}

function failed({ failure }: RecoveryStatus): unknown {
  return failure === null ? null : failureJson(failure).error
}
