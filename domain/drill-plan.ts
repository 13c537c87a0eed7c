import { z } from 'zod'
import type { ClusterConfig } from './cluster-config.ts'
import {
  DRILL_FAULT_NAMES,
  DRILL_FAULTS,
  DRILL_RUNBOOKS,
  faultsOf,
  type DrillFault,
  type DrillRunbook,
} from './drill-faults.ts'
import { RequorumError } from './failures.ts'
import { reasonsAgainstFreeing } from './relief-plan.ts'
import type { NodeAction } from './node-actions.ts'
import { DRILL_MARK, NODE_STATE, recoveryDir } from './node-paths.ts'
import { digestOfWhole, type PlannedRecovery, type PlanStep } from './plan-step.ts'
import { describeNode, ETCD, type PlannedNode } from './planned-node.ts'
import { membersNamedBy, quorumSize, reachedNodes, type NodeSurvey } from './survey.ts'
import { stepsBack } from './way-back.ts'
import type { PlanDigest } from './values.ts'

/** What a drill will break, whole, and which recovery has to mend it. The digest of a consent is over this object. */
export interface DrillPlan extends PlannedRecovery {
  readonly runbook: DrillRunbook
  readonly fault: DrillFault
  /** Whose members lose their data. */
  readonly nodes: readonly string[]
  readonly stop: PlanStep
  readonly setAside: PlanStep
  readonly plant: PlanStep
  readonly start: PlanStep
}

export type DrillWishes = z.infer<typeof drillWishes>

/** Everything that the input of a drill may say. Strict: nobody is to believe that permission could stand there. */
export const drillWishes = z.strictObject({
  cluster: z.string(),
  runbook: z.enum(DRILL_RUNBOOKS).optional(),
  fault: z.enum(DRILL_FAULT_NAMES).optional(),
})

/** @throws RequorumError `drill-forbidden` unless the cluster's own file allows drills */
export function refuseUnlessAllowed({ cluster, drill }: ClusterConfig): void {
  if (drill.allowed) return
  throw new RequorumError('drill-forbidden', {
    what: `${cluster} is not marked for drills, so none is held. Nothing was looked at or touched.`,
    why: 'a drill breaks the cluster on purpose; its cluster file does not say `drill: { allowed: true }`',
    todo: 'Hold drills on a cluster that nobody needs. Who asks for one can not allow it; only the cluster file and a mark on every node can.',
  })
}

/**
 * The second lock: a wrong address in a cluster file must not break another cluster.
 *
 * @param marked - nodes whose own mark names this cluster
 * @throws RequorumError `drill-forbidden`
 */
export function refuseUnmarked({ cluster, nodes }: ClusterConfig, marked: readonly string[]): void {
  const missing = nodes.map(({ name }) => name).filter((name) => !marked.includes(name))
  if (missing.length === 0) return
  throw new RequorumError('drill-forbidden', {
    what: `${missing.join(', ')} of ${cluster} ${missing.length === 1 ? 'is' : 'are'} not marked for drills. Nothing was touched.`,
    why: `${DRILL_MARK} on the node has no line "${cluster}": the cluster file may lead to a node of another cluster`,
    todo: `If it is the right node of a cluster that nobody needs, as root on it: ${markCommand(cluster)}`,
  })
}

/** What a person types as root on a node that drills may break. */
export function markCommand(cluster: string): string {
  return `mkdir -p -m 700 ${NODE_STATE} && echo ${cluster} >>${DRILL_MARK}`
}

/** Runbook and fault, from what was asked for, else from the cluster file. @throws RequorumError `input-invalid` */
export function chooseDrill(
  { drill }: ClusterConfig,
  asked: Pick<DrillWishes, 'runbook' | 'fault'>,
): { readonly runbook: DrillRunbook; readonly fault: DrillFault } {
  const runbook =
    asked.runbook ?? (asked.fault === undefined ? drill.runbook : DRILL_FAULTS[asked.fault].runbook)
  const fits = faultsOf(runbook)
  const fault = asked.fault ?? fits.find((name) => name === drill.fault) ?? fits[0]
  if (fault !== undefined && fits.includes(fault)) return { runbook, fault }
  throw new RequorumError('input-invalid', {
    what: `${fault ?? 'nothing'} is no fault of ${runbook}. Nothing was touched.`,
    todo: `Its faults are ${fits.join(', ')}.`,
  })
}

/** A drill that begins on an ill cluster would measure the illness, and could lose what nobody has a copy of. */
export function refuseUnlessHealthy(config: ClusterConfig, survey: readonly NodeSurvey[]): void {
  const reasons = [
    ...reasonsAgainstFreeing(config, survey),
    ...(membersNamedBy('NOSPACE', survey).length > 0 ? ['the alarm NOSPACE stands'] : []),
  ]
  if (reasons.length === 0) return
  throw new RequorumError('cluster-unhealthy', {
    what: `${config.cluster} is not healthy, and a drill begins only on a cluster that is. Nothing was touched.`,
    why: reasons.join('; '),
    todo: `See what is the matter: requorum diagnose ${config.cluster}`,
  })
}

/**
 * The plan for this cluster as it stands now. Pure: a fault that depends on who leads makes another plan when another
 * member leads, which is how a stale consent is noticed.
 *
 * @throws RequorumError `step-refused` for nodes that no recovery could handle, `input-invalid` for too few of them
 */
export function planDrill(
  config: ClusterConfig,
  recovery: string,
  survey: readonly NodeSurvey[],
  { runbook, fault }: { readonly runbook: DrillRunbook; readonly fault: DrillFault },
): DrillPlan {
  const all = reachedNodes(survey).map((found) => describeNode(config, found))
  const broken = brokenBy(fault, all)
  if (runbook === 'replaceMember' && all.length - broken.length < quorumSize(all.length)) {
    throw new RequorumError('input-invalid', {
      what: `${config.cluster} has ${all.length} ${all.length === 1 ? 'member' : 'members'}: without one of them it has no quorum. Nothing was touched.`,
      todo: 'A member can be replaced where the others hold the quorum. Drill the other runbook: --runbook restoreQuorum',
    })
  }
  const directory = recoveryDir(recovery)
  const time = recovery.slice(0, recovery.indexOf('-'))
  const there = (title: string, of: (node: PlannedNode) => NodeAction): PlanStep => ({
    title,
    actions: broken.map((node) => ({ node: node.name, action: of(node) })),
  })
  const kept = `${directory}/manifests`
  const aside = ({ flags }: PlannedNode): string => `${flags.dataDir}.drill.${time}`
  return {
    cluster: config.cluster,
    recovery,
    targets: all.map(({ name, address }) => ({ node: name, address })),
    runbook,
    fault,
    nodes: broken.map(({ name }) => name),
    stop: there('Break: stop etcd', ({ flags }) => ({
      kind: 'stop-pods',
      pods: [ETCD],
      from: config.etcd.manifests,
      to: kept,
      dataDir: flags.dataDir,
    })),
    setAside: there('Break: set the data aside', (node) => ({
      kind: 'set-aside',
      from: node.flags.dataDir,
      to: aside(node),
    })),
    plant: there('Break: put a log there that nobody can read', (node) => ({
      kind: 'plant-broken-log',
      path: node.flags.dataDir,
      aside: aside(node),
      owner: node.found.dataDir.owner || '0:0',
      mode: node.found.dataDir.mode || '700',
      kept: `${kept}/${ETCD}.yaml`,
    })),
    start: there('Break: start etcd on it', () => ({
      kind: 'start-pods',
      pods: [ETCD],
      from: kept,
      to: config.etcd.manifests,
    })),
  }
}

export function breakSteps({ stop, setAside, plant, start }: DrillPlan): PlanStep[] {
  return [stop, setAside, plant, start]
}

export function drillDigest(plan: DrillPlan): PlanDigest {
  return digestOfWhole(plan)
}

/** The way back from what the drill broke, harmless where it never came about. Not once something else was restored. */
export function putBackSteps(plan: DrillPlan): PlanStep[] {
  const titles = {
    'start-pods': 'Put back: the manifests',
    'put-back': 'Put back: the data',
    'withdraw-etcd': 'Put back: stop the broken etcd',
  }
  const planted = (at: string): string | null => {
    const action = plan.setAside.actions.find(({ node }) => node === at)?.action
    return action?.kind === 'set-aside' ? `${action.from}.planted.${action.to.split('.').at(-1) ?? ''}` : null
  }
  return stepsBack(plan.recovery, breakSteps(plan), titles, planted)
}

/** Where a broken node's data directory is, which holds the planted log until a recovery has put something else there. */
export function dataDirOf(plan: DrillPlan, node: string): string {
  const found = plan.setAside.actions.find((one) => one.node === node)
  return found?.action.kind === 'set-aside' ? found.action.from : ''
}

function brokenBy(fault: DrillFault, all: readonly PlannedNode[]): PlannedNode[] {
  const leads = ({ found: { member } }: PlannedNode): boolean =>
    member.answers && member.leaderId === member.memberId
  switch (fault) {
    case 'lose-quorum':
      return all.slice(-quorumSize(all.length))
    case 'lose-all':
      return [...all]
    case 'lose-member':
      return all.filter((node) => !leads(node)).slice(-1)
    case 'lose-leader':
      return all.filter(leads).slice(0, 1)
  }
}
