import { CancellationScope, isCancellation } from '@temporalio/workflow'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError } from '../../domain/failures.ts'
import {
  copyPath,
  reasonsAgainstFreeing,
  roomForCopy,
  tooTightToDefragment,
  type ReliefPlan,
} from '../../domain/relief-plan.ts'
import { humanBytes } from '../../domain/progress.ts'
import { chooseSource, type NodeSurvey } from '../../domain/survey.ts'
import { whyOf } from './failure.ts'
import { look, save } from './hands.ts'
import { utcNow, type Run } from './run.ts'

/** One member is away while it is defragmented: all others have to be there, and its disk has to have the room. */
export function refuseUnlessAllWell(config: ClusterConfig, found: readonly NodeSurvey[]): void {
  const unwell = reasonsAgainstFreeing(config, found)
  if (unwell.length > 0) {
    throw new RequorumError('cluster-unhealthy', {
      what: `Not every member of ${config.cluster} is well, so none is defragmented. Nothing was touched.`,
      why: unwell.join('; '),
      todo: `Mend that first: requorum diagnose ${config.cluster}`,
    })
  }
  const tight = tooTightToDefragment(found)
  if (tight.length === 0) return
  throw new RequorumError('no-space', {
    what: `A defragmentation writes a new file beside the old one, and there is no room for it: ${tight.map(({ node, freeBytes, neededBytes }) => `${node} has ${humanBytes(freeBytes)} free and needs ${humanBytes(neededBytes)}`).join(', ')}. Nothing was touched.`,
    todo: `Make room on the disk that holds ${config.etcd.dataDir}.`,
  })
}

/**
 * Saves everything as it is into a file on a node: from the best source, and when that fails, from the next. It is
 * etcd's own snapshot, checked like a backup, and no backup: it is in no catalogue, and no store has it. A backup
 * takes no member that raises an alarm, which under NOSPACE are all.
 *
 * @throws RequorumError `no-source` with why each node could not give one
 */
export async function saveCopy(
  run: Run,
  config: ClusterConfig,
  recovery: string,
  found: readonly NodeSurvey[],
): Promise<ReliefPlan['copy']> {
  const failed: string[] = []
  const reasons: string[] = []
  for (;;) {
    const source = chooseSource(found, failed)
    if (source === null || !source.member.answers) {
      throw new RequorumError('no-source', {
        what: `No member of ${config.cluster} could give a copy of what is there, and without one nothing is thrown away.`,
        why: reasons.join('; '),
        todo: `Mend one of them: room in ${config.backup.directory}, etcdctl and etcdutl on the node, its disk.`,
      })
    }
    const { node, snapshotRoomBytes, tools } = source
    const needed = roomForCopy(source.member)
    failed.push(node)
    if (tools.etcdutl === null) {
      reasons.push(`${node} has no etcdutl, which checks the copy`)
      continue
    }
    if (snapshotRoomBytes < needed) {
      reasons.push(
        `${node} has ${humanBytes(snapshotRoomBytes)} free for it, ${humanBytes(needed)} are needed`,
      )
      continue
    }
    try {
      return await run.step(
        `Save a copy of everything on ${node}`,
        () =>
          save.saveSnapshot({
            cluster: config.cluster,
            node,
            step: `${recovery.toLowerCase()}.copy`,
            path: copyPath(config, recovery),
            takenAt: utcNow(),
          }),
        (file) => `revision ${file.revision}, ${humanBytes(file.sizeBytes)}, ${file.path}`,
      )
    } catch (error) {
      if (isCancellation(error)) throw error
      reasons.push(`${node}: ${whyOf(error)}`)
      // Saved and not good, it would only take the room that is short.
      await discardCopy(run, config, recovery, node)
    }
  }
}

/** Removes the copy again unless `work` says, before it throws anything away, that it is needed from then on. */
export async function discardUnlessNeeded<Result>(
  run: Run,
  config: ClusterConfig,
  recovery: string,
  copy: ReliefPlan['copy'],
  work: (needed: () => void) => Promise<Result>,
): Promise<Result> {
  let isNeeded = false
  try {
    return await work(() => {
      isNeeded = true
    })
  } finally {
    if (!isNeeded) {
      await CancellationScope.nonCancellable(() =>
        run.step('Remove the copy again', () => discardCopy(run, config, recovery, copy.node)),
      )
    }
  }
}

async function discardCopy(run: Run, config: ClusterConfig, recovery: string, node: string): Promise<void> {
  try {
    await look.discardCopy({ cluster: config.cluster, node }, recovery)
  } catch (error) {
    if (isCancellation(error)) throw error
    run.warn([`${copyPath(config, recovery)} on ${node} is not needed any more and may still be there`])
  }
}
