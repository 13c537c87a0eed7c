import { join } from 'node:path'
import type { Client } from '@temporalio/client'
import type { Logger } from '@temporalio/common'
import type { Systems } from '../activities/systems.ts'
import type { ClusterConfig } from '../domain/cluster-config.ts'
import { METRICS } from '../domain/metrics.ts'
import type { Attestation } from '../domain/rehearsal.ts'
import type { Catalogue } from '../domain/snapshot.ts'
import { readAttestations, readFreshness } from '../systems/object-store/attestations.ts'
import { monthlyCopies, readCatalogue } from '../systems/object-store/catalogue.ts'
import type { ObjectStore, ObjectVersion } from '../systems/object-store/object-store.ts'
import { createS3Store } from '../systems/object-store/s3-store.ts'
import { createAlarms } from '../systems/alarms/alarms.ts'
import type { Metrics } from '../systems/metrics/metrics.ts'
import { createBackupSchedule } from '../systems/schedules/backup-schedule.ts'
import { createLiveRuns } from '../systems/schedules/live-runs.ts'
import { OwnHost } from '../systems/etcd/rehearsal/rehearsal-host.ts'
import { createNodeShell, type NodeShell } from '../systems/ssh/node-shell.ts'
import { fromHome, identityFor, loadCluster, trustFor } from './home.ts'

/**
 * The systems of one worker. Connections are kept for each cluster as long as its file says the same; a
 * changed file gives new ones, so that a run never goes on with yesterday's addresses.
 */
export function wire(
  home: string,
  engine: Client,
  telemetry: { readonly logger: Logger },
  metrics: Metrics,
): { systems: Systems; close: () => Promise<void> } {
  // Only the worker reads the environment; the agent's socket is part of it.
  const agentSocket = process.env['SSH_AUTH_SOCK']
  const searchPath = process.env['PATH'] ?? '/usr/bin:/bin'
  const shells = new Map<string, NodeShell>()
  const stores = new Map<string, ObjectStore>()
  const kept = <Value>(cache: Map<string, Value>, key: string, make: () => Value): Value => {
    const known = cache.get(key) ?? make()
    cache.set(key, known)
    return known
  }
  return {
    systems: {
      loadCluster: (cluster) => loadCluster(home, cluster),
      shellFor: (config) =>
        kept(shells, JSON.stringify(config.ssh), () =>
          createNodeShell({
            home,
            config: config.ssh,
            ...(agentSocket === undefined ? {} : { agentSocket }),
          }),
        ),
      storeFor: (config) =>
        kept(stores, JSON.stringify([config.store, config.retention]), () =>
          createS3Store({ home, config: config.store, retention: config.retention }),
        ),
      identityFor: (config) => identityFor(home, config),
      trustFor: (config) => trustFor(home, config),
      rehearsalHost: (config) =>
        new OwnHost(join(fromHome(home, config.rehearsal.directory), config.cluster), searchPath),
      schedules: createBackupSchedule(engine),
      runs: createLiveRuns(engine),
      alarms: createAlarms(telemetry, (cluster, finding, open) =>
        metrics.set(METRICS.alarmOpen, { cluster, finding }, open ? 1 : 0),
      ),
      now: () => new Date(),
    },
    close: async () => {
      await Promise.all([...shells.values()].map((shell) => shell.close()))
    },
  }
}

/** How fresh a cluster's snapshots are, from the store alone. */
export async function openFreshness(home: string, cluster: string) {
  const config = await loadCluster(home, cluster)
  return readFreshness(createS3Store({ home, config: config.store }), config, {
    now: new Date(),
    trust: trustFor(home, config),
  })
}

/** When which snapshots were restored by a machine, newest first, from the store alone. */
export async function openAttestations(home: string, cluster: string): Promise<Attestation[]> {
  const { store } = await loadCluster(home, cluster)
  return readAttestations(createS3Store({ home, config: store }), cluster, store.prefix)
}

/** The catalogue of a cluster, from the store alone: no engine and no node is needed. One that is named is in it. */
export async function openCatalogue(home: string, cluster: string, named?: string): Promise<Catalogue> {
  const config: ClusterConfig = await loadCluster(home, cluster)
  const { prefix } = config.store
  const asked = { cluster: config.cluster, prefix, now: new Date(), trust: trustFor(home, config) }
  return readCatalogue(createS3Store({ home, config: config.store }), asked, named)
}

/** The keys of the copies that are kept for their month, newest first. */
export async function openMonthly(home: string, cluster: string): Promise<string[]> {
  const { store } = await loadCluster(home, cluster)
  return monthlyCopies(createS3Store({ home, config: store }), store.prefix)
}

/** Every version of every object that the store holds of a cluster, without delete markers. */
export async function openVersions(home: string, cluster: string): Promise<ObjectVersion[]> {
  const { store } = await loadCluster(home, cluster)
  const found: ObjectVersion[] = []
  for await (const version of createS3Store({ home, config: store }).versions(store.prefix))
    if (!version.deleteMarker) found.push(version)
  return found
}
