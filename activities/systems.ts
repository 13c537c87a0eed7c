import type { ClusterConfig } from '../domain/cluster-config.ts'
import { nodeOf } from '../domain/cluster-config.ts'
import { RequorumError } from '../domain/failures.ts'
import type { ManifestTrust } from '../domain/snapshot.ts'
import type { Identity } from '../systems/identity/identity.ts'
import type { ControlPlaneNode } from '../systems/node/control-plane-node.ts'
import type { ObjectStore } from '../systems/object-store/object-store.ts'
import type { Alarms } from '../systems/alarms/alarms.ts'
import type { BackupSchedule } from '../systems/schedules/backup-schedule.ts'
import type { LiveRuns } from '../systems/schedules/live-runs.ts'
import type { OwnHost } from '../systems/etcd/rehearsal/rehearsal-host.ts'
import type { NodeShell } from '../systems/ssh/node-shell.ts'

/** What the hands work on. Made once by the worker; the only way in which an activity reaches anything. */
export interface Systems {
  /** @throws RequorumError `cluster-unknown`, `config-invalid` */
  loadCluster(cluster: string): Promise<ClusterConfig>
  shellFor(config: ClusterConfig): NodeShell
  storeFor(config: ClusterConfig): ObjectStore
  identityFor(config: ClusterConfig): Identity
  trustFor(config: ClusterConfig): ManifestTrust
  /** The worker's own machine, as snapshots are rehearsed there. */
  rehearsalHost(config: ClusterConfig): OwnHost
  readonly schedules: BackupSchedule
  readonly runs: LiveRuns
  readonly alarms: Alarms
  readonly now: () => Date
}

/** A node, as workflows name it. */
export interface NodeRef {
  readonly cluster: string
  readonly node: string
  /** Where a consented plan says that the node is. Somewhere else nothing of that plan is done. */
  readonly address?: string
}

/** Every node of a cluster, in the cluster file's order. */
export async function everyNode(systems: Systems, cluster: string): Promise<ControlPlaneNode[]> {
  const config = await systems.loadCluster(cluster)
  const shell = systems.shellFor(config)
  return config.nodes.map((node) => ({ shell, config, node }))
}

export async function nodeAt(systems: Systems, ref: NodeRef): Promise<ControlPlaneNode> {
  const config = await systems.loadCluster(ref.cluster)
  const node = nodeOf(config, ref.node)
  if (node === undefined) {
    throw new RequorumError('config-invalid', {
      what: `${ref.cluster} has no node ${ref.node} any more.`,
      why: 'the cluster file was changed while this run was under way',
      todo: `Put ${ref.node} back into the cluster file until the run has ended.`,
    })
  }
  if (ref.address !== undefined && ref.address !== node.address) {
    throw new RequorumError('config-invalid', {
      what: `${ref.node} of ${ref.cluster} is at ${node.address} in the cluster file and at ${ref.address} in the plan.`,
      why: 'the cluster file was changed while this run was under way',
      todo: 'Put the address back until the run has ended. Consent was given to the plan.',
    })
  }
  return { shell: systems.shellFor(config), config, node }
}
