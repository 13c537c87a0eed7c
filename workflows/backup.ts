import { isCancellation, workflowInfo } from '@temporalio/workflow'
import type { Way } from '../activities/transfer.ts'
import type { ClusterConfig } from '../domain/cluster-config.ts'
import { RequorumError } from '../domain/failures.ts'
import { relieveCommand, type BackupRequest } from '../domain/messages.ts'
import { reasonsAgainst } from '../domain/plausibility.ts'
import { humanBytes } from '../domain/progress.ts'
import { firstOfMonth, supersededBefore } from '../domain/retention.ts'
import {
  savedKeysText,
  snapshotKey,
  type ProvedSnapshot,
  type SavedSnapshot,
  type SnapshotManifest,
} from '../domain/snapshot.ts'
import {
  chooseSource,
  membersNamedBy,
  reasonsAgainstSources,
  unreachedNodes,
  type MemberStatus,
  type NodeSurvey,
} from '../domain/survey.ts'
import { compactUtc } from '../domain/values.ts'
import type { BackupVerdict } from '../domain/verdict.ts'
import { whyOf } from './steps/failure.ts'
import { look, save, transfer } from './steps/hands.ts'
import { clusterOf } from './steps/request.ts'
import { Run, utcNow } from './steps/run.ts'
import { refuseDuringRecovery, surveyWhatAnswers } from './steps/survey.ts'

const MIB = 1_048_576

/**
 * Saves a snapshot, checks it, stores it and proves it. Without a manifest beside it there is no backup: a
 * run that dies anywhere before that leaves the catalogue as it was.
 */
export async function backup(request: BackupRequest): Promise<BackupVerdict> {
  const run = new Run('backup', clusterOf(request))
  return run.through(async () => {
    const config = await run.step('Read the cluster file', () => look.loadCluster(run.cluster))
    const found = await surveyWhatAnswers(run, config)
    refuseDuringRecovery(config, found, request.onBehalfOf)

    const { saved, member } = await saveFromBestSource(run, config, found)
    const ref = { cluster: config.cluster, node: saved.node }
    const keyFingerprints = await look.keyFingerprints(ref)

    const catalogue = await run.step(
      'Hold it against the catalogue',
      () => transfer.readCatalogue(config.cluster),
      ({ proved }) => `${proved.length} proved snapshots`,
    )
    const against = reasonsAgainst(saved, member.clusterId, catalogue, config.plausibility)
    if (against.length > 0) return quarantine(run, config, saved, against)

    const key = snapshotKey(config.store.prefix, 'daily', new Date(saved.takenAt))
    // At once, because each takes minutes where there are gigabytes: the one waits for the line, the other for etcd.
    const [stored, inventory] = await Promise.all([
      run.step(
        'Store it',
        () => transfer.storeSnapshot({ ...saved, cluster: config.cluster }, key),
        (object) => `${object.key}, version ${object.versionId}, by ${broughtBy(saved.node, object.way)}`,
      ),
      run.step(
        'Read what it holds',
        () => transfer.takeInventory(ref, saved.revision),
        (counted) =>
          'skipped' in counted
            ? counted.skipped
            : `${counted.keys} keys of ${Object.keys(counted.kinds).length} kinds`,
      ),
    ])
    const manifest: SnapshotManifest = {
      version: 1,
      cluster: config.cluster,
      takenAt: saved.takenAt,
      key: stored.key,
      versionId: stored.versionId,
      sha256: saved.sha256,
      sizeBytes: saved.sizeBytes,
      ...(stored.packed === undefined ? {} : { packed: stored.packed }),
      ...(stored.hashOfParts === undefined ? {} : { hashOfParts: stored.hashOfParts }),
      source: { node: saved.node, memberId: member.memberId },
      etcd: {
        version: member.version,
        clusterId: member.clusterId,
        members: member.members.map(({ id, name, peerUrls }) => ({ id, name, peerUrls: [...peerUrls] })),
      },
      revision: saved.revision,
      totalKeys: saved.totalKeys,
      hash: saved.hash,
      inventory,
      keyFingerprints,
    }
    const proved = await run.step(
      'Prove it and commit',
      () => transfer.commitSnapshot(manifest),
      () => 'the store holds what was saved',
    )
    await keepAndRelease(run, config, [proved, ...catalogue.proved])
    const pruned = await run.step(
      'Prune local copies',
      () => look.pruneLocal(ref, [proved.key, ...catalogue.proved.map((snapshot) => snapshot.key)]),
      (gone) => (gone.length === 0 ? 'none to prune' : gone.join(', ')),
    )
    return {
      outcome: 'proved',
      cluster: config.cluster,
      key: stored.key,
      versionId: stored.versionId,
      revision: saved.revision,
      sizeBytes: saved.sizeBytes,
      totalKeys: saved.totalKeys,
      liveKeys: saved.liveKeys,
      source: saved.node,
      broughtBy: broughtBy(saved.node, stored.way),
      pruned,
      warnings: [
        ...unreachedNodes(found).map((node) => `${node.node} could not be reached: ${node.reason}`),
        ...spaceWarnings(config, found),
        ...('skipped' in inventory ? [`no inventory: ${inventory.skipped}`] : []),
        ...run.warnings(),
      ],
    }
  })
}

/** A snapshot is whole under NOSPACE; but nothing that should be in the next one can be written. */
function spaceWarnings({ cluster }: ClusterConfig, found: readonly NodeSurvey[]): string[] {
  if (membersNamedBy('NOSPACE', found).length === 0) return []
  return [`etcd refuses every write (NOSPACE): ${relieveCommand(cluster)}`]
}

function broughtBy(node: string, way: Way | undefined): string {
  return way?.by === 'node' ? node : `the worker${way === undefined ? '' : `: ${way.because}`}`
}

/** What keeps the store in order. */
async function keepAndRelease(
  run: Run,
  config: ClusterConfig,
  proved: readonly ProvedSnapshot[],
): Promise<void> {
  const first = firstOfMonth(proved, proved[0]?.takenAt ?? utcNow())
  if (first !== null) {
    await housekeeping(
      run,
      'Keep the first of the month',
      () => transfer.keepMonth(first),
      (key) => key ?? 'the month has one',
    )
  }
  const before = supersededBefore(proved, config.retention.keep)
  if (before === null) return
  await housekeeping(
    run,
    'Let superseded ones expire',
    () => transfer.releaseSuperseded(config.cluster, before),
    (count) => `${count} objects of before ${before}`,
  )
}

/** The verdict stands whatever comes of it: a failure is a warning, and the next backup sees to what is left. */
async function housekeeping<Result>(
  run: Run,
  title: string,
  work: () => Promise<Result>,
  note?: (result: Result) => string,
): Promise<void> {
  try {
    await run.step(title, work, note)
  } catch (error) {
    if (isCancellation(error)) throw error
    run.warn([`${title}: ${whyOf(error)}`])
  }
}

/** From the best source; when that one fails, from the next. */
async function saveFromBestSource(
  run: Run,
  config: ClusterConfig,
  found: readonly NodeSurvey[],
): Promise<{ saved: SavedSnapshot; member: MemberStatus }> {
  const failed: string[] = []
  const reasons = reasonsAgainstSources(found)
  for (;;) {
    const source = chooseSource(found, failed)
    if (source === null || !source.member.answers) {
      throw new RequorumError('no-source', {
        what: `No member of ${config.cluster} could give a snapshot.`,
        why: reasons.join('; '),
        todo: `See what is wrong: requorum plan restore ${config.cluster}. If quorum is lost: requorum restore ${config.cluster}`,
      })
    }
    const { node, member } = { node: source.node, member: source.member }
    try {
      const saved = await run.step(
        `Save a snapshot on ${node}`,
        () => {
          refuseWithoutRoom(node, source.snapshotRoomBytes, member.dbSizeBytes)
          const takenAt = new Date().toISOString()
          return save.saveSnapshot({
            cluster: config.cluster,
            node,
            // The end of the ID: its beginning is the time and the same for all runs of a minute (UUIDv7).
            step: `backup-${workflowInfo().originalExecutionRunId.slice(-12)}.save`,
            path: `${config.backup.directory}/snapshot-${compactUtc(new Date())}.db`,
            takenAt,
          })
        },
        (file) => `revision ${file.revision}, ${savedKeysText(file)}, ${humanBytes(file.sizeBytes)}`,
      )
      return { saved, member }
    } catch (error) {
      if (isCancellation(error)) throw error
      failed.push(node)
      reasons.push(`${node}: ${whyOf(error)}`)
    }
  }
}

function refuseWithoutRoom(node: string, roomBytes: number, databaseBytes: number): void {
  // etcd itself mostly lives on the same disk and must not meet its end: room for it to grow as much again.
  const needed = 2 * databaseBytes + 64 * MIB
  if (roomBytes >= needed) return
  throw new RequorumError('no-space', {
    what: `${node} has ${humanBytes(roomBytes)} free for a snapshot of up to ${humanBytes(databaseBytes)}.`,
    todo: `Make ${humanBytes(needed)} free where the snapshots are kept.`,
  })
}

/** An implausible snapshot is kept for study, raises the alarm by failing the run, and replaces nothing. */
async function quarantine(
  run: Run,
  config: ClusterConfig,
  saved: SavedSnapshot,
  reasons: readonly string[],
): Promise<never> {
  const key = await run.step(
    'Put it into quarantine',
    async () => {
      const area = snapshotKey(config.store.prefix, 'quarantine', new Date(saved.takenAt))
      const stored = await transfer.storeSnapshot({ ...saved, cluster: config.cluster }, area)
      await transfer.noteQuarantine(config.cluster, stored.key, reasons, saved)
      return stored.key
    },
    () => reasons.join('; '),
  )
  await housekeeping(run, 'Let it expire in its time', () => transfer.releaseQuarantined(config.cluster, key))
  throw new RequorumError('snapshot-implausible', {
    what: `The snapshot from ${saved.node} isn't plausible. It is kept as ${key} and replaces nothing.`,
    why: reasons.join('; '),
    todo:
      'Find out whether this is the right cluster and whether its data is whole, before the good snapshots grow old. ' +
      'If it is, say so in the cluster file under plausibility (leastKeys, leastSize, acceptClusterId).',
  })
}
