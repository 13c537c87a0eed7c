import type { ClusterConfig } from './cluster-config.ts'
import { withFullMemberList } from './etcd-manifest.ts'
import { etcdctlWords } from './etcdctl-words.ts'
import { RequorumError } from './failures.ts'
import { fencedNodes, refuseUnfenced, type FencedNode } from './fence.ts'
import type { NodeAction } from './node-actions.ts'
import { recoveryDir, stagedSnapshotPath } from './node-paths.ts'
import { API_SERVER, describeNode, ETCD, STATELESS, type PlannedNode } from './planned-node.ts'
import type { ProvedSnapshot } from './snapshot.ts'
import type { Check } from './verdict.ts'
import { bestKnownRevision, reachedNodes, type NodeSurvey } from './survey.ts'
import { stepsBack } from './way-back.ts'
import { digestOfWhole, sha256OfText, type PlanStep } from './plan-step.ts'
import { addToRevision, type PlanDigest, type Revision, type Sha256 } from './values.ts'

/**
 * What a restore will do, whole. The digest that people consent to is over this object and nothing else:
 * leader, lag and age are shown beside it and are not in it, or a flapping cluster could never be approved.
 */
export interface RestorePlan {
  readonly cluster: string
  readonly recovery: string
  readonly snapshot: {
    readonly key: string
    readonly versionId: string
    readonly sha256: Sha256
    readonly sizeBytes: number
    readonly revision: Revision
  }
  readonly targets: readonly { readonly node: string; readonly address: string }[]
  /** Nodes that it goes on without; not there when there is none. Whoever approves states that they are off. */
  readonly fence?: readonly FencedNode[]
  readonly initialCluster: string
  /** Unique to this restore and the same on all members: an old member can't mix with the new ones. */
  readonly token: string
  /** Added to the snapshot's revision, so that no client sees a revision twice. */
  readonly bump: string
  readonly stop: PlanStep
  readonly setAside: PlanStep
  readonly restore: PlanStep
  readonly startEtcd: PlanStep
  /** Only where there are API servers. */
  readonly removeLeases?: PlanStep
  readonly startApiServers: PlanStep
  readonly startControllers: PlanStep
}

const LEAST_BUMP = 1_000_000_000n

export function planSteps(plan: RestorePlan): PlanStep[] {
  return [
    ...stepsBeforeOpen(plan),
    ...(plan.removeLeases === undefined ? [] : [plan.removeLeases]),
    plan.startApiServers,
    plan.startControllers,
  ].filter((step) => step.actions.length > 0)
}

export function fenceOf(plan: Pick<RestorePlan, 'fence'>): readonly FencedNode[] {
  return plan.fence ?? []
}

/** Whether the cluster has API servers, as its nodes' manifests say, or is an etcd for itself. */
export function hasApiServers(plan: RestorePlan): boolean {
  return plan.startApiServers.actions.length > 0
}

export function stepsBeforeOpen(plan: RestorePlan): PlanStep[] {
  return [plan.stop, plan.setAside, plan.restore, plan.startEtcd]
}

export function digestOf(plan: RestorePlan): PlanDigest {
  return digestOfWhole(plan)
}

/** What an acceptance is given to: this restore, with these checks as they came out. */
export function acceptDigest(plan: RestorePlan, checks: readonly Check[]): PlanDigest {
  const what = { restore: digestOf(plan), checks: checks.map(({ name, verdict }) => ({ name, verdict })) }
  return digestOfWhole(what)
}

/** At least 1e9, and twice what the cluster is known to be ahead of the snapshot. */
export function revisionBump(snapshot: Revision, live: Revision | null): bigint {
  const gap = live === null ? 0n : BigInt(live) - BigInt(snapshot)
  return 2n * gap > LEAST_BUMP ? 2n * gap : LEAST_BUMP
}

export function expectedRevision(plan: RestorePlan): Revision {
  return addToRevision(plan.snapshot.revision, BigInt(plan.bump))
}

/**
 * The plan for this cluster as it stands now. Pure: the same survey, snapshot and recovery give the same
 * plan and digest, which is how a stale consent is noticed.
 *
 * @param off - nodes that are stated to be off; nothing is done on them
 * @throws RequorumError `nodes-missing`, `not-fenced`, `step-refused`, `config-invalid` when the cluster isn't one
 *   that a restore can handle.
 */
export function planRestore(
  config: ClusterConfig,
  recovery: string,
  survey: readonly NodeSurvey[],
  snapshot: ProvedSnapshot,
  off: readonly string[] = [],
): RestorePlan {
  refuseUnfenced(config, survey, off)
  refuseUnknownMembers(config, snapshot)
  const fence = fencedNodes(config, off)
  const nodes = reachedNodes(survey)
    .filter(({ node }) => !off.includes(node))
    .map((found) => describeNode(config, found))
  const members = nodes.map((node) => `${node.flags.name}=${node.flags.peerUrl}`).sort()
  const initialCluster = members.join(',')
  const token = `requorum-${config.cluster}-${recovery}`
  const bump = revisionBump(snapshot.revision, bestKnownRevision(survey)).toString()
  const directory = recoveryDir(recovery)
  const time = recovery.slice(0, recovery.indexOf('-'))

  const everywhere = (title: string, of: (node: PlannedNode) => NodeAction | null): PlanStep => ({
    title,
    actions: nodes.flatMap((node) => {
      const action = of(node)
      return action === null ? [] : [{ node: node.name, action }]
    }),
  })
  const start = (title: string, podsOf: (node: PlannedNode) => string[]): PlanStep =>
    everywhere(title, (node) => {
      const pods = podsOf(node)
      return pods.length === 0
        ? null
        : { kind: 'start-pods', pods, from: `${directory}/manifests`, to: config.etcd.manifests }
    })
  // What else is static comes back with the API server, which may need it (a KMS plugin); controllers need the API.
  const apiServers = (node: PlannedNode): string[] =>
    node.pods.includes(API_SERVER)
      ? [...node.pods.filter((pod) => pod !== ETCD && !STATELESS.includes(pod)), API_SERVER]
      : []
  const controllers = (node: PlannedNode): string[] =>
    node.pods.filter((pod) => pod !== ETCD && !apiServers(node).includes(pod))
  const somethingElse = nodes.some(({ pods }) => pods.some((pod) => pod !== ETCD))

  return {
    cluster: config.cluster,
    recovery,
    snapshot: {
      key: snapshot.key,
      versionId: snapshot.versionId,
      sha256: snapshot.sha256,
      sizeBytes: snapshot.sizeBytes,
      revision: snapshot.revision,
    },
    targets: nodes.map((node) => ({ node: node.name, address: node.address })),
    ...(fence.length === 0 ? {} : { fence }),
    initialCluster,
    token,
    bump,
    // What writes is ended before what stores. One barrier for all of it: nothing is written without a quorum.
    stop: everywhere(somethingElse ? 'Stop the control plane' : 'Stop etcd', (node) => {
      const kill = node.pods.filter((pod) => STATELESS.includes(pod))
      return {
        kind: 'stop-pods',
        pods: [...apiServers(node).toReversed(), ...controllers(node), ETCD],
        from: config.etcd.manifests,
        to: `${directory}/manifests`,
        dataDir: node.flags.dataDir,
        ...(kill.length === 0 ? {} : { kill }),
      }
    }),
    setAside: everywhere('Set the old data aside', (node) => ({
      kind: 'set-aside',
      from: node.flags.dataDir,
      to: `${node.flags.dataDir}.corrupt.${time}`,
    })),
    restore: everywhere('Restore the snapshot', (node) => ({
      kind: 'restore',
      file: stagedSnapshotPath(config.backup.directory, snapshot.sha256),
      sha256: snapshot.sha256,
      staging: `${node.flags.dataDir}.restore.${time}`,
      dataDir: node.flags.dataDir,
      name: node.flags.name,
      peerUrl: node.flags.peerUrl,
      initialCluster,
      token,
      bump,
      owner: node.found.dataDir.owner || '0:0',
      mode: node.found.dataDir.mode || '700',
      etcdutl: config.etcd.etcdutl,
    })),
    startEtcd: everywhere('Start etcd', (node) => ({
      kind: 'start-etcd',
      kept: `${directory}/manifests/etcd.yaml`,
      to: config.etcd.manifests,
      manifestSha256: sha256OfText(withFullMemberList(node.manifest, initialCluster)),
      initialCluster,
    })),
    ...removalOfLeases(config, nodes),
    startApiServers: start('Start API servers', apiServers),
    startControllers: start('Start controllers and what else was stopped', controllers),
  }
}

/**
 * Leases in a snapshot name API servers as they were: until they run out, clients would be sent to some that are gone
 * (`masterleases`), and so would what migrates stored objects (the identity leases).
 */
function removalOfLeases(
  config: ClusterConfig,
  nodes: readonly PlannedNode[],
): Pick<RestorePlan, 'removeLeases'> {
  const first = nodes.find((node) => node.pods.includes(API_SERVER))
  if (first === undefined) return {}
  const action: NodeAction = {
    kind: 'remove-leases',
    prefixes: ['/registry/masterleases/', '/registry/leases/kube-system/apiserver-'],
    etcdctl: etcdctlWords(config.etcd),
  }
  return {
    removeLeases: {
      title: 'Remove leases of the API servers that were',
      actions: [{ node: first.name, action }],
    },
  }
}

/**
 * The way back, for as long as the cluster isn't open: in reverse, and each action harmless where its
 * counterpart never happened. Nothing that was restored is deleted either.
 */
export function undoSteps(
  plan: Pick<RestorePlan, 'recovery' | 'startEtcd' | 'setAside' | 'stop'>,
): PlanStep[] {
  return stepsBack(plan.recovery, [plan.stop, plan.setAside, plan.startEtcd], {
    'start-pods': 'Put the old manifests back',
    'put-back': 'Put the old data back',
    'withdraw-etcd': 'Stop the restored etcd',
  })
}

/** A member that the cluster file doesn't know would be neither stopped nor fenced, and could form the old quorum. */
function refuseUnknownMembers(config: ClusterConfig, snapshot: ProvedSnapshot): void {
  const known = new Set(config.nodes.map((node) => node.peerUrl))
  const unknown = snapshot.etcd.members.filter((member) => !member.peerUrls.some((url) => known.has(url)))
  if (unknown.length === 0) return
  throw new RequorumError('config-invalid', {
    what: `The cluster file of ${config.cluster} doesn't name all of its members. Nothing was touched.`,
    why: `${snapshot.key} knows ${unknown.map((member) => `${member.name} at ${member.peerUrls.join(', ')}`).join('; ')}`,
    todo: 'Add the nodes to the cluster file (peerUrl as etcd has it), then start the restore again.',
  })
}
