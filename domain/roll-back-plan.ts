import type { ClusterConfig } from './cluster-config.ts'
import { RequorumError } from './failures.ts'
import type { NodeAction } from './node-actions.ts'
import { recoveryDir } from './node-paths.ts'
import { describeNode, ETCD, STATELESS, type PlannedNode } from './planned-node.ts'
import { digestOfWhole, type PlannedRecovery, type PlanStep } from './plan-step.ts'
import type { BackupBefore } from './backup-before.ts'
import { digestOf, type RestorePlan } from './restore-plan.ts'
import { reachedNodes, unreachedNodes, type NodeSurvey } from './survey.ts'
import { stepsBack } from './way-back.ts'
import type { PlanDigest } from './values.ts'

/** A manifest as it lies somewhere on a node. */
export interface ManifestFound {
  readonly pod: string
  readonly sha256: string
  /** `uid:gid`, and the octal mode. */
  readonly owner: string
  readonly mode: string
}

/** What one node still has of the time before a restore, and what it has now. */
export interface BeforeRestore {
  readonly node: string
  /** Of the data directory that was set aside; null when nothing lies there. */
  readonly asideInode: string | null
  /** The restore noted that there was no data directory to set aside. */
  readonly wasAbsent: boolean
  /** Of the data directory as it is now. */
  readonly dataInode: string | null
  readonly kept: readonly ManifestFound[]
  readonly manifests: readonly ManifestFound[]
}

/**
 * What giving up a restored cluster does, whole; the digest that people consent to is over this object. What is lost by
 * it grows until the restored cluster is stopped, so it is shown beside the plan and is not in it.
 */
export interface RollBackPlan extends PlannedRecovery {
  /** The restore that is taken back. */
  readonly of: { readonly recovery: string; readonly digest: string; readonly opened: string }
  readonly backup: BackupBefore
  readonly stop: PlanStep
  readonly setAside: PlanStep
  readonly takeBack: PlanStep
  readonly startEtcd: PlanStep
  readonly startRest: PlanStep
  /** Static pods that came after the restore and are none of it: they come back as they are now. */
  readonly startAdded: PlanStep
}

export function rollBackDigest(plan: RollBackPlan): PlanDigest {
  return digestOfWhole(plan)
}

/** Until the old etcd is started on every node, whatever fails is undone by itself. */
export function stepsBeforeOld(plan: RollBackPlan): PlanStep[] {
  return [plan.stop, plan.setAside, plan.takeBack, plan.startEtcd]
}

export function rollBackSteps(plan: RollBackPlan): PlanStep[] {
  return [...stepsBeforeOld(plan), plan.startRest, plan.startAdded].filter(
    ({ actions }) => actions.length > 0,
  )
}

/** A restore as its record on the nodes tells of it. */
interface RecordedRestore {
  readonly recovery: string
  readonly plan: RestorePlan
}

/**
 * The plan for this cluster as it stands now. Pure: the same survey, record and facts give the same plan and digest.
 *
 * @throws RequorumError `nodes-missing`, `step-refused`, `nothing-to-roll-back` when what was set aside is not there any more
 */
export function planRollBack(
  config: ClusterConfig,
  recovery: string,
  { record, opened }: { readonly record: RecordedRestore; readonly opened: string },
  survey: readonly NodeSurvey[],
  facts: readonly BeforeRestore[],
  backup: BackupBefore,
): RollBackPlan {
  refuseUnreached(config.cluster, survey)
  const time = recovery.slice(0, recovery.indexOf('-'))
  const directory = recoveryDir(recovery)
  const old = recoveryDir(record.recovery)
  const nodes = reachedNodes(survey).map((found) => {
    const node = describeNode(config, found)
    return { ...node, ...before(config, record, node, facts) }
  })
  const everywhere = (title: string, of: (node: (typeof nodes)[number]) => NodeAction | null): PlanStep => ({
    title,
    actions: nodes.flatMap((node) => {
      const action = of(node)
      return action === null ? [] : [{ node: node.name, action }]
    }),
  })
  const returned = (title: string, wanted: (pod: string) => boolean): PlanStep =>
    everywhere(title, ({ kept }) => {
      const pods = kept.filter(({ pod }) => wanted(pod)).map(({ pod, sha256 }) => ({ pod, sha256 }))
      return pods.length === 0
        ? null
        : {
            kind: 'return-pods',
            pods,
            from: `${old}/manifests`,
            to: config.etcd.manifests,
            started: `${directory}/etcd-started`,
          }
    })
  return {
    cluster: config.cluster,
    recovery,
    targets: nodes.map(({ name, address }) => ({ node: name, address })),
    of: { recovery: record.recovery, digest: digestOf(record.plan), opened: opened.split(' ')[0] ?? '' },
    backup,
    stop: everywhere('Stop the restored cluster', ({ pods, flags }) => {
      const kill = pods.filter((pod) => STATELESS.includes(pod))
      return {
        kind: 'stop-pods',
        // What writes is ended before what stores.
        pods: [...pods.filter((pod) => pod !== ETCD), ETCD],
        from: config.etcd.manifests,
        to: `${directory}/manifests`,
        dataDir: flags.dataDir,
        ...(kill.length === 0 ? {} : { kill }),
      }
    }),
    setAside: everywhere('Set the restored data aside', ({ flags }) => ({
      kind: 'set-aside',
      from: flags.dataDir,
      to: `${flags.dataDir}.rolledback.${time}`,
    })),
    takeBack: everywhere('Take the old data back', ({ flags, aside, inode }) => ({
      kind: 'take-back',
      aside,
      dataDir: flags.dataDir,
      inode,
    })),
    startEtcd: returned('Start the old etcd', (pod) => pod === ETCD),
    startRest: returned('Start all else as it was', (pod) => pod !== ETCD),
    startAdded: everywhere('Start what was added since', ({ pods, kept }) => {
      const added = pods.filter((pod) => !kept.some((one) => one.pod === pod))
      return added.length === 0
        ? null
        : { kind: 'start-pods', pods: added, from: `${directory}/manifests`, to: config.etcd.manifests }
    }),
  }
}

/** What a node still has of the time before the restore, all of it, or the refusal. */
function before(
  config: ClusterConfig,
  { recovery, plan }: RecordedRestore,
  { name, flags }: PlannedNode,
  facts: readonly BeforeRestore[],
): { aside: string; inode: string | null; kept: readonly ManifestFound[] } {
  const refuse = (what: string): RequorumError =>
    new RequorumError('nothing-to-roll-back', {
      what: `${what} The restore ${recovery} of ${config.cluster} can't be rolled back. Nothing was touched.`,
      todo: 'Either it was rolled back before, or what it set aside was removed. A restore from an older snapshot may do: requorum snapshots.',
    })
  const seen = facts.find(({ node }) => node === name)
  const setAside = plan.setAside.actions.find(({ node }) => node === name)?.action
  const stop = plan.stop.actions.find(({ node }) => node === name)?.action
  if (seen === undefined || setAside?.kind !== 'set-aside' || stop?.kind !== 'stop-pods')
    throw refuse(`${name} was no part of it.`)
  if (setAside.from !== flags.dataDir || stop.from !== config.etcd.manifests)
    throw refuse(`${name} keeps its data or its manifests elsewhere now.`)
  if (seen.asideInode === null && !seen.wasAbsent) throw refuse(`${setAside.to} is not on ${name} any more.`)
  const kept = seen.kept.filter(({ pod }) => stop.pods.includes(pod))
  const lost = stop.pods.filter((pod) => !kept.some((one) => one.pod === pod))
  if (lost.length > 0) throw refuse(`The manifests of ${lost.join(', ')} are not kept on ${name} any more.`)
  return { aside: setAside.to, inode: seen.asideInode, kept }
}

/**
 * The way back to the restored cluster, with all that was written to it, for as long as the old etcd is not started
 * everywhere. In reverse, and each action harmless where its counterpart never happened.
 */
export function backToRestored(plan: RollBackPlan): PlanStep[] {
  // The old data goes where it lay. What an etcd made where there was none is set aside by a name of its own.
  const lay = (at: string): string | null => {
    const action = plan.takeBack.actions.find(({ node }) => node === at)?.action
    return action?.kind === 'take-back' && action.inode !== null ? action.aside : null
  }
  const titles = {
    'start-pods': 'Put the restored manifests back',
    'put-back': 'Put the restored data back',
    'withdraw-etcd': 'Stop the old etcd',
  }
  return stepsBack(plan.recovery, stepsBeforeOld(plan), titles, lay)
}

/** What is not as it was before the restore, per node; empty when all of it is. Whether it is well is another question. */
export function differencesFromBefore(plan: RollBackPlan, facts: readonly BeforeRestore[]): string[] {
  return plan.takeBack.actions.flatMap(({ node, action }) => {
    const seen = facts.find((one) => one.node === node)
    if (seen === undefined) return [`${node} was not looked at`]
    // Where there was no data the old etcd may have made some by now.
    const data =
      action.kind === 'take-back' && action.inode !== null && action.inode !== seen.dataInode
        ? [`the data directory of ${node} is not the one that was set aside`]
        : []
    const returned = [...plan.startEtcd.actions, ...plan.startRest.actions].flatMap((one) =>
      one.node === node && one.action.kind === 'return-pods' ? one.action.pods.map(({ pod }) => pod) : [],
    )
    const manifests = returned.filter((pod) => {
      const [was, is] = [seen.kept, seen.manifests].map((found) => found.find((one) => one.pod === pod))
      return was === undefined || is?.sha256 !== was.sha256 || is.owner !== was.owner || is.mode !== was.mode
    })
    return [...data, ...manifests.map((pod) => `the manifest ${pod} of ${node} is not what was kept`)]
  })
}

/** @throws RequorumError `nodes-missing`: half of a cluster rolled back would be two clusters */
export function refuseUnreached(cluster: string, survey: readonly NodeSurvey[]): void {
  const missing = unreachedNodes(survey)
  if (missing.length === 0) return
  throw new RequorumError('nodes-missing', {
    what: `${missing.map((node) => node.node).join(', ')} of ${cluster} can't be reached. Nothing was touched.`,
    why: missing.map((node) => `${node.node}: ${node.reason.split('\n').join(' ')}`).join('; '),
    todo: `Bring the node back to where SSH answers, then start again: requorum roll-back ${cluster}`,
  })
}
