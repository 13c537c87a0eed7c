import { nodeOf, type ClusterConfig } from './cluster-config.ts'
import { etcdctlWords } from './etcdctl-words.ts'
import type { BackupBefore } from './backup-before.ts'
import { RequorumError } from './failures.ts'
import type { NodeAction } from './node-actions.ts'
import { recoveryDir } from './node-paths.ts'
import { digestOfWhole, sha256OfText, type PlannedRecovery, type PlanStep } from './plan-step.ts'
import { joiningNode, type JoiningNode } from './joining-node.ts'
import { leavingMember, oldNode, type WhoJoins } from './leaving-member.ts'
import { othersHoldQuorum } from './others.ts'
import { ETCD, STATELESS } from './planned-node.ts'
import { isFenced } from './fence.ts'
import { reachedNodes, type Member, type NodeSurvey, type ReachedNode } from './survey.ts'
import { typedId, type PlanDigest } from './values.ts'

/**
 * What the replacement of one member will do, whole; the digest that people consent to is over this object.
 *
 * Removing the member is the point of no return: before it everything is undone, after it there is only forward,
 * since the data of a removed member can never rejoin.
 */
export interface ReplacePlan extends PlannedRecovery {
  readonly node: string
  /** Who goes; the ID is null when its peers have removed it before. */
  readonly leaves: { readonly id: string | null; readonly name: string; readonly peerUrl: string }
  /** Who comes: under the same name and address, or others. */
  readonly comes: { readonly name: string; readonly peerUrl: string }
  /** Where the manifest is from that its etcd is started with. */
  readonly manifest: JoiningNode['origin']
  /** Whose etcd nobody could look at or stop: whoever approves says that it is off. */
  readonly fence: readonly { readonly name: string; readonly peerUrl: string }[]
  /** Other nodes that are fenced and have no member: the cluster is not whole without them, and that is known. */
  readonly without?: readonly string[]
  readonly initialCluster: string
  readonly backup: BackupBefore
  readonly stop: PlanStep
  readonly setAside: PlanStep
  /** By one of these nodes, and so are `add` and `promote`: each stands in the quorum. No action when it is gone. */
  readonly remove: PlanStep
  readonly add: PlanStep
  readonly makeDataDir: PlanStep
  readonly startEtcd: PlanStep
  readonly promote: PlanStep
  readonly startApiServer: PlanStep
}

export function replaceSteps(plan: ReplacePlan): PlanStep[] {
  const { stop, setAside, remove, add, makeDataDir, startEtcd, promote, startApiServer } = plan
  return [stop, setAside, remove, add, makeDataDir, startEtcd, promote, startApiServer].filter(
    (step) => step.actions.length > 0,
  )
}

export function replaceDigest(plan: ReplacePlan): PlanDigest {
  return digestOfWhole(plan)
}

/** A consent to try again is given to this plan, this failure and this many tries. */
export function retryDigest(plan: ReplacePlan, tries: number, why: string): PlanDigest {
  return digestOfWhole({ replace: replaceDigest(plan), tries, why })
}

/**
 * The plan for this node as it stands now. Pure: the same survey and recovery give the same plan and digest.
 *
 * @throws RequorumError `nodes-missing`, `quorum-missing`, `config-invalid`, `input-invalid`, `step-refused`,
 *   `etcd-output-unreadable`; nothing was touched
 */
export function planReplacement(
  config: ClusterConfig,
  recovery: string,
  survey: readonly NodeSurvey[],
  who: WhoJoins,
  backup: BackupBefore,
): ReplacePlan {
  const name = who.node
  const { helpers, members } = othersHoldQuorum(config, survey, who)
  const found = survey.find(({ node }) => node === name)
  if (found?.reached !== true) {
    throw new RequorumError('nodes-missing', {
      what: `${name} of ${config.cluster} can't be reached. Nothing was touched.`,
      why: found?.reason ?? 'it was not looked at',
      todo: `Its etcd has to be stopped before its member is removed. Bring the node back to where SSH answers, or a fresh machine under its address, then start again. If it is gone for good and another node takes its place: requorum replace ${config.cluster} NEW-NODE --instead-of ${name}`,
    })
  }
  const leaving = leavingMember(config, members, who)
  refuseStrangers(
    config,
    members.filter((member) => member !== leaving),
  )
  const at = nodeOf(config, name)?.peerUrl ?? ''
  // Under another name or address it is its node's; a node that was made anew takes over the name that it had.
  const joins =
    who.insteadOf !== undefined
      ? { name, peerUrl: at }
      : hasManifest(found)
        ? null
        : { name: leaving?.name || name, peerUrl: at }
  const initialClusterWith = (own: { readonly name: string; readonly peerUrl: string }): string =>
    [
      ...members
        .filter((member) => member !== leaving && !member.peerUrls.includes(own.peerUrl))
        .flatMap((member) => member.peerUrls.map((url) => `${member.name}=${url}`)),
      `${own.name}=${own.peerUrl}`,
    ]
      .sort()
      .join(',')
  const node = joiningNode(config, survey, found, helpers, joins, initialClusterWith)
  const initialCluster = initialClusterWith(node.flags)
  const { peerUrl } = node.flags
  const old = oldNode(config, survey, name, leaving)
  const fenced = fencedWithout(config, survey, members, name)
  const directory = recoveryDir(recovery)
  const time = recovery.slice(0, recovery.indexOf('-'))

  const here = (title: string, ...actions: readonly NodeAction[]): PlanStep => ({
    title,
    actions: actions.map((action) => ({ node: name, action })),
  })
  const byHelpers = (title: string, action: NodeAction): PlanStep => ({
    title,
    actions: helpers.map((helper) => ({ node: helper, action })),
  })
  const etcdctl = etcdctlWords(config.etcd)
  const to = `${directory}/manifests`
  const stop = (at: string, from: string, pods: readonly string[], dataDir: string): PlanStep['actions'] => {
    const kill = pods.filter((pod) => STATELESS.includes(pod))
    const action = {
      kind: 'stop-pods',
      pods,
      from,
      to,
      dataDir,
      ...(kill.length === 0 ? {} : { kill }),
    } as const
    return pods.length === 0 ? [] : [{ node: at, action }]
  }
  const stops = [
    ...stop(name, node.from, node.stopped, node.flags.dataDir),
    ...(old.stop === null ? [] : stop(old.stop.node, config.etcd.manifests, old.stop.pods, old.stop.dataDir)),
  ]
  const starts = node.stopped.filter((pod) => pod !== ETCD)
  const aside = `${node.flags.dataDir}.corrupt.${time}`
  const touched = [name, ...helpers, ...(old.stop === null ? [] : [old.stop.node])]

  return {
    cluster: config.cluster,
    recovery,
    targets: config.nodes
      .filter((one) => touched.includes(one.name))
      .map((one) => ({ node: one.name, address: one.address })),
    node: name,
    leaves: {
      id: leaving === undefined ? null : typedId(leaving.id),
      name: leaving?.name || node.flags.name,
      peerUrl: leaving?.peerUrls[0] ?? peerUrl,
    },
    comes: { name: node.flags.name, peerUrl },
    manifest: node.origin,
    fence: old.fence,
    ...(fenced.length === 0 ? {} : { without: fenced }),
    initialCluster,
    backup,
    stop: {
      title: `Stop etcd on ${[...new Set([name, ...stops.map((one) => one.node)])].join(', ')}`,
      actions: stops,
    },
    setAside: here('Set its data aside', { kind: 'set-aside', from: node.flags.dataDir, to: aside }),
    remove:
      leaving === undefined
        ? { title: 'Remove the member', actions: [] }
        : byHelpers('Remove the member', {
            kind: 'remove-member',
            id: typedId(leaving.id),
            peerUrl: leaving.peerUrls[0] ?? peerUrl,
            etcdctl,
          }),
    add: byHelpers('Add it as a learner', { kind: 'add-learner', name: node.flags.name, peerUrl, etcdctl }),
    makeDataDir: here('Make an empty data directory', {
      kind: 'make-data-dir',
      path: node.flags.dataDir,
      aside,
      owner: found.dataDir.owner || '0:0',
      mode: found.dataDir.mode || '700',
    }),
    startEtcd: here(`Start etcd on ${name}`, {
      kind: 'start-etcd',
      kept: `${to}/etcd.yaml`,
      to: config.etcd.manifests,
      manifestSha256: sha256OfText(node.manifest),
      initialCluster,
      ...(node.written === null ? {} : { manifest: node.written }),
    }),
    promote: byHelpers('Wait until it has caught up, and promote it', {
      kind: 'promote-member',
      peerUrl,
      etcdctl,
    }),
    startApiServer: {
      title: `Start the API server on ${name}`,
      actions:
        starts.length === 0
          ? []
          : [
              {
                node: name,
                action: { kind: 'start-pods', pods: starts, from: to, to: config.etcd.manifests },
              },
            ],
    },
  }
}

/** Where a restore went on without several nodes, they come back one after the other. */
function fencedWithout(
  config: ClusterConfig,
  survey: readonly NodeSurvey[],
  members: readonly Member[],
  joining: string,
): string[] {
  return reachedNodes(survey)
    .filter((found) => found.node !== joining && isFenced(found))
    .map(({ node }) => node)
    .filter((node) => {
      const peerUrl = nodeOf(config, node)?.peerUrl ?? ''
      return !members.some(({ peerUrls }) => peerUrls.includes(peerUrl))
    })
}

/** The cluster file still lists the node of the member that went. */
export function stillInFile(config: ClusterConfig, { node, leaves }: ReplacePlan): boolean {
  return config.nodes.some(({ name, peerUrl }) => name !== node && peerUrl === leaves.peerUrl)
}

/** A member that the cluster file doesn't know, or that was added and never started, is somebody's unfinished work. */
function refuseStrangers(config: ClusterConfig, members: readonly Member[]): void {
  const urls = new Set(config.nodes.map(({ peerUrl }) => peerUrl))
  const strangers = members.filter((member) => !member.peerUrls.some((url) => urls.has(url)))
  if (strangers.length === 0) return
  throw new RequorumError('config-invalid', {
    what: `The cluster file of ${config.cluster} doesn't name all of its members. Nothing was touched.`,
    why: strangers.map(({ id, name, peerUrls }) => `${name || id} at ${peerUrls.join(', ')}`).join('; '),
    todo: 'Add the node to the cluster file (peerUrl as etcd has it), or remove a member that nobody runs: etcdctl member remove.',
  })
}

function hasManifest({ etcdManifest, fenced }: ReachedNode): boolean {
  return etcdManifest !== null || (fenced?.etcdManifest ?? null) !== null
}
