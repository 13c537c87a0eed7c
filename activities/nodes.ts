import { neededFiles } from '../domain/joining-certificates.ts'
import type { NodeAction } from '../domain/node-actions.ts'
import { stagedSnapshotPath } from '../domain/node-paths.ts'
import type { ProvedSnapshot } from '../domain/snapshot.ts'
import type { NodeSurvey } from '../domain/survey.ts'
import { typedId } from '../domain/values.ts'
import type { Check, RestoredExpectation } from '../domain/verdict.ts'
import { checkSnapshotFile } from '../systems/etcd/snapshot-file.ts'
import { compareHashes } from '../systems/etcd/keyspace-hash.ts'
import { readMember, readMembers } from '../systems/etcd/member.ts'
import { awaitPeerPort } from '../systems/etcd/peer-port.ts'
import type { ControlPlaneNode } from '../systems/node/control-plane-node.ts'
import { acquireLock, performAction, releaseLock } from '../systems/node/node.ts'
import { fileFaults } from '../systems/node/needed-files.ts'
import { surveyNode } from '../systems/node/survey.ts'
import { awaitRestoredCluster, disarmAndProbe, validateCluster } from '../systems/etcd/validation.ts'
import { everyNode, nodeAt, type NodeRef, type Systems } from './systems.ts'
import { damaged, fetchOnto } from './transfer.ts'
import { watched } from './watched.ts'

export function createNodeActivities(systems: Systems) {
  return {
    async surveyNode(ref: NodeRef, options: { probeApiServer?: boolean } = {}): Promise<NodeSurvey> {
      const at = await nodeAt(systems, ref)
      return watched(() => surveyNode(at, systems.now, readMember, options))
    },

    /** @throws RequorumError `lock-held` */
    async lockNode(ref: NodeRef, owner: string): Promise<void> {
      const at = await nodeAt(systems, ref)
      await watched(() => acquireLock(at, owner))
    },

    async unlockNode(ref: NodeRef, owner: string): Promise<void> {
      const at = await nodeAt(systems, ref)
      await watched(() => releaseLock(at, owner))
    },

    /** Does one action of a plan on one node; called again, it finds what was done. */
    async performAction(ref: NodeRef, recovery: string, step: string, action: NodeAction): Promise<string> {
      const at = await nodeAt(systems, ref)
      return watched((watching) => performAction(at, recovery, step, action, watching))
    },

    /**
     * Puts the snapshot on the node and checks it there: the bytes against the manifest's SHA-256 on the way
     * and on the disk, etcd's trailer, and revision and keys as etcdutl reads them. Touches nothing else.
     *
     * @throws RequorumError `snapshot-damaged`, `store-object-missing` (another candidate is needed), `no-space`
     */
    async stageSnapshot(ref: NodeRef, snapshot: ProvedSnapshot): Promise<string> {
      const at = await nodeAt(systems, ref)
      const path = stagedSnapshotPath(at.config.backup.directory, snapshot.sha256)
      return watched(async (watching) => {
        const { signal } = watching
        const there = await at.shell.run(at.node, ['sha256sum', '--', path], {
          timeoutMs: at.config.limits.transfer,
          signal,
        })
        const known = there.code === 0 && there.stdout.startsWith(snapshot.sha256)
        const way = known ? null : await fetchOnto(at, systems.storeFor(at.config), snapshot, path, watching)
        const facts = await checkSnapshotFile(at, path, signal)
        if (
          facts.revision !== snapshot.revision ||
          facts.totalKeys !== snapshot.totalKeys ||
          facts.hash !== snapshot.hash
        ) {
          throw damaged(
            snapshot,
            `etcdutl reads revision ${facts.revision} and ${facts.totalKeys} keys out of it`,
          )
        }
        if (way === null) return `was there: ${path}`
        return way.by === 'node' ? path : `${path}, through the worker: ${way.because}`
      })
    },

    /** Removes the staged copy of a snapshot that the store holds. */
    async unstageSnapshot(ref: NodeRef, digest: string): Promise<void> {
      const at = await nodeAt(systems, ref)
      const path = stagedSnapshotPath(at.config.backup.directory, digest)
      // With what came of it when a transfer broke off.
      const remove = ['sh', '-c', 'rm -f -- "$1" "$1".*.partial', 'sh', path]
      await watched(() => at.shell.run(at.node, remove))
    },

    /** Waits until etcd serves its peers, as long as it is worth waiting for: a matter of pace. Never fails for it. */
    async awaitPeerPort(ref: NodeRef): Promise<string> {
      const at = await nodeAt(systems, ref)
      return watched((watching) => awaitPeerPort(at, watching))
    },

    /** Waits until the restored members form one cluster that takes a write. @throws `cluster-unhealthy` */
    async awaitRestoredCluster(
      cluster: string,
      expected: RestoredExpectation,
    ): Promise<{ clusterId: string; evidence: string }> {
      const nodes = await restoredNodes(cluster, expected)
      return watched((watching) => awaitRestoredCluster(nodes, expected, watching))
    },

    /** Disarms what the snapshot brought along and proves that a write goes through. */
    async disarmAndProbe(ref: NodeRef, key: string): Promise<string> {
      const at = await nodeAt(systems, ref)
      return watched(() => disarmAndProbe(at, key))
    },

    /** Whether the members of these nodes hold the same keyspace, by their hashes at one revision. */
    async compareMembers(
      cluster: string,
      names: readonly string[],
    ): Promise<{ equal: boolean; evidence: string }> {
      const nodes = await someNodes(cluster, names)
      return watched(() => compareHashes(nodes))
    },

    /** What is wrong with the files that an etcd of this manifest would read on a node, a line each. Keys are not read. */
    async certificateFaults(ref: NodeRef, manifest: string): Promise<string[]> {
      const at = await nodeAt(systems, ref)
      return watched(() => fileFaults(at, neededFiles(at.config, manifest)))
    },

    /** The IDs of all members, as etcdctl types them, told by the first of these nodes that can. */
    async memberIds(cluster: string, names: readonly string[]): Promise<string[]> {
      const [first, ...others] = await someNodes(cluster, names)
      if (first === undefined) return []
      const ask = async (at: ControlPlaneNode): Promise<string[]> =>
        (await readMembers(at)).map(({ id }) => typedId(id))
      return others.reduce((asked, next) => asked.catch(() => ask(next)), ask(first))
    },

    /** The checks of the validation at etcd's level. A check that fails is a finding and not an error. */
    async validateCluster(cluster: string, expected: RestoredExpectation): Promise<Check[]> {
      const nodes = await restoredNodes(cluster, expected)
      return watched(({ signal }) => validateCluster(nodes, expected, signal))
    },
  }

  /** Those that a restore gave a member; it may have gone on without others. */
  async function restoredNodes(cluster: string, { members }: RestoredExpectation) {
    const nodes = await everyNode(systems, cluster)
    return nodes.filter(({ node }) => members.some(({ peerUrl }) => peerUrl === node.peerUrl))
  }

  async function someNodes(cluster: string, names: readonly string[]) {
    return (await everyNode(systems, cluster)).filter(({ node }) => names.includes(node.name))
  }
}
