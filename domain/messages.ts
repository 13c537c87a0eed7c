import {
  CONSENT_NAMESPACE,
  consentStatement,
  shortDigest,
  type Decision,
  type StatedConsent,
} from './consent.ts'
import type { DrillFault, DrillRunbook } from './drill-faults.ts'
import { quote } from './node-actions.ts'

/**
 * The names by which Requorum is reached from outside: the Temporal UI, the `temporal` command, schedules.
 * Changing one breaks a runbook that somebody printed.
 */
export const TASK_QUEUE = 'requorum'
export const DECIDE_SIGNAL = 'decide'
export const DECIDE_NOW_UPDATE = 'decideNow'
export const PROGRESS_QUERY = 'progress'
/** Temporal's limit on an ID is far above; this keeps reports and unit names readable. */
export const recoveryWorkflowId = (cluster: string): string => `recovery/${cluster}`
export const backupScheduleId = (cluster: string): string => `backup-${cluster}`
/** A schedule appends its time to it, so that each run has an ID of its own. */
export const backupWorkflowId = (cluster: string): string => `backup/${cluster}`

/** One for each cluster. A further restore tells the one that runs of its nodes, by this Signal. */
export const fenceWorkflowId = (cluster: string): string => `fence/${cluster}`
export const FENCE_ALSO_SIGNAL = 'fenceAlso'
export const drillScheduleId = (cluster: string): string => `drill-${cluster}`
/** As with backups, a schedule appends its time. */
export const drillWorkflowId = (cluster: string): string => `drill/${cluster}`

export const rehearseScheduleId = (cluster: string): string => `rehearse-${cluster}`
export const rehearseWorkflowId = (cluster: string): string => `rehearse/${cluster}`
export const freshnessScheduleId = (cluster: string): string => `freshness-${cluster}`
/** Every schedule that a cluster may have. */
export const SCHEDULE_IDS = {
  backup: backupScheduleId,
  rehearse: rehearseScheduleId,
  freshness: freshnessScheduleId,
  drill: drillScheduleId,
} as const
export const freshnessWorkflowId = (cluster: string): string => `freshness/${cluster}`

export const validationWorkflowId = (cluster: string, id: string): string => `validate/${cluster}/${id}`

/** What a recovery writes when it pauses the schedule; by it a pause that a dead recovery left is told from a person's. */
export const pauseNote = (recovery: string): string => `${PAUSED_BY_RECOVERY}${recovery}`
export const PAUSED_BY_RECOVERY = 'requorum: paused by recovery '

export interface BackupRequest {
  readonly cluster: string
  /** The recovery on whose behalf it runs and whose lock on the nodes it may pass. */
  readonly onBehalfOf?: string
}

export interface RestoreRequest {
  readonly cluster: string
  /** Take this snapshot (its key) before all others. Without it: the newest proved one. */
  readonly snapshot?: string
  /** Nodes of which whoever starts this states that they are switched off or cut off. The restore goes on without them. */
  readonly off?: readonly string[]
}

/** With the cluster alone: every node of the cluster file that has no member in the cluster that has the quorum. */
export interface FenceRequest {
  readonly cluster: string
  /** The nodes whose old members are kept from starting. */
  readonly nodes?: readonly string[]
  /** The cluster that they were members of. A node that answers for it is an old one, whoever else is silent. */
  readonly previousClusterId?: string | null
  /** When the restore that went on without them began: a lock on such a node that is older is nobody's any more. */
  readonly since?: string
  /** What the fence tells itself when it goes on as a new run. */
  readonly watch?: unknown
}

export interface ReplaceRequest {
  readonly cluster: string
  /** The node whose member is replaced. Without it: the one that a diagnosis finds broken. */
  readonly node?: string
  /** The member that goes, by its name or peer URL, where `node` joins under another name or address. */
  readonly insteadOf?: string
}

export interface AdoptRequest {
  readonly cluster: string
  /** Take the recovery back instead of going on with it; only before clients could write, or a member was removed. */
  readonly undo?: boolean
}

export interface ValidationRequest {
  readonly cluster: string
  /** Hold the counts against this snapshot (its key). Without it: the newest proved one. */
  readonly against?: string
  /** Checks to leave out, beside those that the cluster file leaves out. */
  readonly skip?: readonly string[]
  /** The recovery that has just opened the cluster: what still comes up is waited for, within each check's limit. */
  readonly onBehalfOf?: string
  /** Nodes that the recovery went on without: named, and not looked at. */
  readonly without?: readonly string[]
}

export interface RehearseRequest {
  readonly cluster: string
  /** Rehearse this snapshot (its key). Without it: the newest proved one. */
  readonly snapshot?: string
}

export interface FreshnessRequest {
  readonly cluster: string
}

export interface DiagnoseRequest {
  readonly cluster: string
}

export interface RelieveRequest {
  readonly cluster: string
}

export interface CleanUpRequest {
  readonly cluster: string
  /** Only what was set aside for longer than this, like `3d`. Without it: the cluster file's `cleanUp.olderThan`. */
  readonly olderThan?: string
}

export interface RollBackRequest {
  readonly cluster: string
  /** The restore to roll back. Without it: the one that was opened last. */
  readonly recovery?: string
}

/** Whether drills may be held is never said by who asks for one. */
export interface DrillRequest {
  readonly cluster: string
  /** By default the fault's, or the cluster file's. */
  readonly runbook?: DrillRunbook
  /** By default the cluster file's, or the runbook's first. */
  readonly fault?: DrillFault
}

/** What a person types to have room made. */
export const relieveCommand = (cluster: string): string => `requorum relieve ${cluster}`

/** What a person types to give a restored cluster up for what was there before. */
export const rollBackWords = (cluster: string): string => `requorum roll-back ${cluster}`

/** How a recovery is started from Temporal alone. */
function startCommand(type: string, cluster: string, workflowId = recoveryWorkflowId(cluster)): string {
  return (
    `temporal workflow start --type ${type} --task-queue ${TASK_QUEUE} ` +
    `--workflow-id ${workflowId} --input '{"cluster":"${cluster}"}'`
  )
}

export const startRelieveCommand = (cluster: string): string => startCommand('relieve', cluster)
export const adoptCommand = (cluster: string): string => startCommand('adopt', cluster)
export const restoreCommand = (cluster: string): string => startCommand('restoreQuorum', cluster)
export const fenceCommand = (cluster: string): string =>
  startCommand('fence', cluster, fenceWorkflowId(cluster))
export const cleanUpCommand = (cluster: string): string => startCommand('cleanUp', cluster)
export const rollBackCommand = (cluster: string): string => startCommand('rollBack', cluster)
export const startDrillCommand = (cluster: string): string =>
  startCommand('drill', cluster, drillWorkflowId(cluster))
export const replaceCommand = (cluster: string): string => startCommand('replaceMember', cluster)

export function decideCommand(workflowId: string, decision: Decision): string {
  return `temporal workflow signal --workflow-id ${workflowId} --name ${DECIDE_SIGNAL} --input ${quote(JSON.stringify(decision))}`
}

/** How somebody without requorum signs a decision and sends it: OpenSSH, awk and `temporal` are enough. */
export function signedDecisionCommands(of: StatedConsent, by: string): string {
  const plan = shortDigest(of.digest)
  const file = `${of.decision}-${of.checkpoint}-${plan}`
  // JSON wants the line ends of the signature as \n.
  const signature = `'"$(awk '{printf "%s\\\\n", $0}' ${file}.sig)"'`
  const { checkpoint, decision, workflowId } = of
  return [
    `cat >${file} <<'END'`,
    `${consentStatement(of)}END`,
    `ssh-keygen -Y sign -n ${CONSENT_NAMESPACE} -f ~/.ssh/id_ed25519 ${file}`,
    decideCommand(workflowId, { checkpoint, decision, plan, by, proof: 'SIGNATURE' }).replace(
      'SIGNATURE',
      () => signature,
    ),
  ].join('\n')
}
