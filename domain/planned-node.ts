import { nodeOf, type ClusterConfig } from './cluster-config.ts'
import { readEtcdFlags, type EtcdFlags } from './etcd-manifest.ts'
import { RequorumError } from './failures.ts'
import { hostPathOf } from './static-pod-flags.ts'
import type { ReachedNode } from './survey.ts'

export const ETCD = 'etcd'
export const API_SERVER = 'kube-apiserver'
/** Programs of the control plane that keep nothing of their own: all they know is in etcd. */
export const STATELESS = [API_SERVER, 'kube-controller-manager', 'kube-scheduler']

/** A node as a plan takes it: with an etcd manifest that can be put back, and one plain data directory. */
export interface PlannedNode {
  readonly name: string
  readonly address: string
  readonly found: ReachedNode
  readonly manifest: string
  readonly flags: EtcdFlags
  readonly pods: readonly string[]
}

/** @throws RequorumError `step-refused` when nothing that follows would fit this node; it says that nothing was touched. */
export function describeNode(config: ClusterConfig, found: ReachedNode): PlannedNode {
  const { etcdManifest } = found
  if (etcdManifest !== null) return describeWith(config, found, etcdManifest)
  throw unfit(
    found,
    `there is no etcd.yaml in ${config.etcd.manifests}.`,
    'If somebody moved it away, move it back; the restore stops etcd by itself.',
  )
}

/** What a plan would do fits no such node. */
export function unfit(found: ReachedNode, what: string, todo: string): RequorumError {
  return new RequorumError('step-refused', { what: `${found.node}: ${what} Nothing was touched.`, todo })
}

/** The same with a manifest that its etcd has, or will have. @throws as describeNode */
export function describeWith(config: ClusterConfig, found: ReachedNode, manifest: string): PlannedNode {
  const refuse = (what: string, todo: string): RequorumError => unfit(found, what, todo)
  const strays = found.strayManifests ?? []
  if (strays.length > 0) {
    throw refuse(
      `the kubelet also loads ${strays.join(', ')} from ${config.etcd.manifests}, whatever the ending.`,
      'Move what is no manifest out of that directory; what is one needs the ending .yaml.',
    )
  }
  const flags = readEtcdFlags(manifest)
  const peerUrl = nodeOf(config, found.node)?.peerUrl
  if (peerUrl !== flags.peerUrl) {
    throw refuse(
      `its etcd advertises ${flags.peerUrl}, the cluster's file says ${peerUrl ?? 'nothing'}.`,
      'Correct peerUrl in the cluster file, or check that this is the right node.',
    )
  }
  const odd = notPlain(found, flags, manifest)
  if (odd !== null) {
    throw refuse(
      odd,
      'This version restores one plain data directory. Restore by hand with docs/restore-by-hand.md.',
    )
  }
  return {
    name: found.node,
    address: nodeOf(config, found.node)?.address ?? '',
    found,
    manifest,
    flags,
    pods: found.staticPods,
  }
}

/** What keeps a data directory from being renamed and made anew as one; null when it is plain. */
function notPlain({ dataDir }: ReachedNode, flags: EtcdFlags, manifest: string): string | null {
  if (dataDir.path !== flags.dataDir)
    return `${dataDir.path} was looked at, and etcd works on ${flags.dataDir}.`
  if (dataDir.isMount) return 'the data directory is a mount point.'
  if (dataDir.isLink === true) return 'the data directory is a symbolic link.'
  if (flags.walDir !== null) return `etcd keeps its WAL apart, in ${flags.walDir}.`
  const onHost = hostPathOf(manifest, flags.dataDir)
  return onHost === flags.dataDir
    ? null
    : `etcd's ${flags.dataDir} is ${onHost ?? 'no directory of the node'} outside its container.`
}
