import type { ClusterConfig } from './cluster-config.ts'
import { RequorumError } from './failures.ts'
import { recoveryDir } from './node-paths.ts'
import type { RecordedRecovery, RestoreRecord } from './recovery-record.ts'
import type { Lineage } from './snapshot.ts'
import type { EtcdId } from './values.ts'

/**
 * The restore to take back: the named one, or that which was opened last.
 *
 * @param known - what each node of the cluster has recorded, newest first
 * @throws RequorumError `nothing-to-roll-back` when there is none, when it is not open, or when nodes know it differently
 */
export function chooseRestore(
  config: ClusterConfig,
  known: readonly { readonly node: string; readonly recorded: readonly RecordedRecovery[] }[],
  named?: string,
): { recovery: string; digest: string; opened: string } {
  const refuse = (what: string, todo: string, why?: string): RequorumError =>
    new RequorumError('nothing-to-roll-back', {
      what: `${what} Nothing was touched.`,
      ...(why === undefined ? {} : { why }),
      todo,
    })
  const restores = known.flatMap(({ node, recorded }) =>
    recorded.flatMap((one) => (one.runbook === 'restoreQuorum' ? [{ node, ...one }] : [])),
  )
  // Undone, there is nothing to take back; ended without being opened is the same.
  const wanted = restores
    .filter(({ recovery, marks }) =>
      named === undefined ? marks.opened !== undefined || marks.ended === undefined : recovery === named,
    )
    .map(({ recovery }) => recovery)
    .sort()
    .at(-1)
  if (wanted === undefined) {
    throw refuse(
      named === undefined
        ? `No restore of ${config.cluster} was opened, as far as its nodes know.`
        : `No node of ${config.cluster} has a record of a restore ${named}.`,
      `See which there were: ls /var/lib/requorum/recoveries on each node.`,
    )
  }
  const of = restores.filter(({ recovery }) => recovery === wanted)
  const opened = of.find(({ marks }) => marks.opened !== undefined)?.marks.opened
  if (opened === undefined) {
    const undone = of.some(({ marks }) => marks.ended !== undefined)
    throw refuse(
      `The restore ${wanted} of ${config.cluster} was never opened to clients${undone ? ', and it was undone' : ''}.`,
      undone
        ? 'Data and manifests are what they were before it.'
        : `Finish it or have it undone: requorum adopt ${config.cluster}`,
    )
  }
  const missing = config.nodes.filter(({ name }) => !of.some(({ node }) => node === name))
  const digests = new Set(of.map(({ digest }) => digest))
  const [digest] = digests
  if (missing.length > 0 || digests.size !== 1 || digest === undefined) {
    throw refuse(
      `The nodes of ${config.cluster} do not know the same of the restore ${wanted}.`,
      `Go back by hand there, as ${recoveryDir(wanted)}/journal.md says.`,
      missing.length > 0
        ? `${missing.map(({ name }) => name).join(', ')} has no record of it`
        : of.map(({ node, digest: plan }) => `${node}: plan ${plan.slice(0, 8)}`).join(', '),
    )
  }
  return { recovery: wanted, digest, opened }
}

/**
 * The ID of the cluster whose data a restore set aside: that of the last restore or roll-back before it, if the snapshot
 * is older than that; else the snapshot's own.
 */
export function clusterIdBefore(record: RestoreRecord, lineages: readonly Lineage[]): EtcdId {
  const last = lineages
    .filter((one) => one.recovery !== record.recovery && one.openedAt < record.startedAt)
    .sort((a, b) => (a.openedAt < b.openedAt ? -1 : 1))
    .at(-1)
  return last !== undefined && last.openedAt > record.snapshot.takenAt
    ? last.clusterId
    : record.snapshot.etcd.clusterId
}
