import { CancelledFailure } from '@temporalio/common'
import type { ActivityInterceptorsFactory } from '@temporalio/worker'
import type { Activities } from '../activities/index.ts'
import { quotaOf } from '../domain/etcd-manifest.ts'
import { RequorumError } from '../domain/failures.ts'
import { METRICS } from '../domain/metrics.ts'
import type { ProvedSnapshot } from '../domain/snapshot.ts'
import type { Metrics } from '../systems/metrics/metrics.ts'

/** How long each activity took and why it failed. Belongs inside the interceptor that makes failures for the engine. */
export function measuringInterceptor(metrics: Metrics): ActivityInterceptorsFactory {
  return ({ info }) => ({
    inbound: {
      async execute(input, next) {
        const labels = { cluster: clusterIn(input.args), activity: info.activityType }
        const began = performance.now()
        try {
          return await next(input)
        } catch (error) {
          if (!(error instanceof CancelledFailure)) {
            const code = error instanceof RequorumError ? error.code : 'unexpected'
            metrics.add(METRICS.failures, { ...labels, code }, 1)
          }
          throw error
        } finally {
          metrics.record(METRICS.activitySeconds, labels, (performance.now() - began) / 1_000)
        }
      },
    },
  })
}

/** Activities name their cluster first, by itself or in what they are given. */
function clusterIn([first]: readonly unknown[]): string {
  if (typeof first === 'string') return first
  const named = typeof first === 'object' && first !== null && 'cluster' in first ? first.cluster : ''
  return typeof named === 'string' ? named : ''
}

/** The same hands; what their results say is exported at once, and not only at the next look. */
export function measured(hands: Activities, metrics: Metrics): Activities {
  const moved = (cluster: string, direction: 'get' | 'put', by: string, bytes: number): void =>
    metrics.add(METRICS.transferred, { cluster, direction, by }, bytes)
  return {
    ...hands,
    async commitSnapshot(manifest) {
      const proved = await hands.commitSnapshot(manifest)
      exportNewest(metrics, proved.cluster, proved)
      return proved
    },
    async storeSnapshot(saved, key) {
      const stored = await hands.storeSnapshot(saved, key)
      moved(saved.cluster, 'put', stored.way?.by ?? 'worker', saved.sizeBytes)
      return stored
    },
    async rehearseSnapshot(cluster, snapshot) {
      const facts = await hands.rehearseSnapshot(cluster, snapshot)
      moved(cluster, 'get', 'worker', snapshot.sizeBytes)
      return facts
    },
    async surveyNode(ref) {
      const found = await hands.surveyNode(ref)
      if (found.reached && found.member.answers) {
        const labels = { cluster: ref.cluster, node: ref.node }
        metrics.set(METRICS.databaseSize, labels, found.member.dbSizeBytes)
        const quota = quotaOf(found.etcdManifest)
        if (quota !== null) metrics.set(METRICS.databaseQuota, labels, quota)
      }
      return found
    },
    async attest(attestation) {
      const key = await hands.attest(attestation)
      const { cluster, outcome, rehearsedAt } = attestation
      if (outcome === 'restored') metrics.set(METRICS.rehearsed, { cluster }, Date.parse(rehearsedAt) / 1_000)
      return key
    },
  }
}

/** The newest proved snapshot of a cluster. */
export function exportNewest(
  metrics: Metrics,
  cluster: string,
  newest: Pick<ProvedSnapshot, 'takenAt' | 'sizeBytes' | 'totalKeys' | 'revision'>,
): void {
  metrics.set(METRICS.snapshotTaken, { cluster }, Date.parse(newest.takenAt) / 1_000)
  metrics.set(METRICS.snapshotSize, { cluster }, newest.sizeBytes)
  metrics.set(METRICS.snapshotKeys, { cluster }, newest.totalKeys)
  metrics.set(METRICS.snapshotRevision, { cluster }, Number(newest.revision))
}
