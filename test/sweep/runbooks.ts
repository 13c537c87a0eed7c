import type { WorkflowHandle } from '@temporalio/client'
import { backupWorkflowId, recoveryWorkflowId, TASK_QUEUE } from '../../domain/messages.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { CORRUPT_DATABASE, WIPE_DATA } from '../../lab/hosts/faults/etcd-damage.ts'
import { approveToTheEnd, beforeRestore, consentedRestore, untilStep } from '../lab/recoveries.ts'
import { everyHost, standStill, wakeUp, type OwnLab } from '../lab/use-lab.ts'

export type RunbookName = 'backup' | 'replaceMember' | 'restoreQuorum' | 'restoreQuorum-undone' | 'rollBack'

export interface Runbook {
  readonly name: RunbookName
  readonly workflow: string
  /** From a healthy cluster with one proved backup to where the runbook begins. */
  readonly setScene: (own: OwnLab) => Promise<unknown>
  readonly start: (own: OwnLab) => Promise<WorkflowHandle>
  /** How it ends when nothing disturbs it: its outcome, or the code of its failure. */
  readonly ends: string
  /** Whether etcd answers where it begins, and where it ends. */
  readonly quorum: { readonly before: boolean; readonly after: boolean }
}

export const RUNBOOKS: readonly Runbook[] = [
  {
    name: 'backup',
    workflow: 'backup',
    setScene: () => Promise.resolve(),
    start: ({ lab, operator }) =>
      operator.client.workflow.start('backup', {
        taskQueue: TASK_QUEUE,
        workflowId: `${backupWorkflowId(lab.name)}/sweep-${Date.now()}`,
        args: [{ cluster: lab.name }],
      }),
    ends: 'proved',
    quorum: { before: true, after: true },
  },
  {
    name: 'restoreQuorum',
    workflow: 'restoreQuorum',
    setScene: loseQuorum,
    start: ({ operator }) => operator.startRestore(),
    ends: 'restored',
    quorum: { before: false, after: true },
  },
  {
    name: 'restoreQuorum-undone',
    workflow: 'restoreQuorum',
    setScene: async (own) => {
      await loseQuorum(own)
      await beforeRestore(own.lab, 'cp-03', 'echo "cp-03 has a bad day" >&2; exit 3')
    },
    start: ({ operator }) => operator.startRestore(),
    ends: 'restore-undone',
    quorum: { before: false, after: false },
  },
  {
    name: 'rollBack',
    workflow: 'rollBack',
    setScene: restoreWhatStoodStill,
    start: ({ lab, operator }) =>
      operator.client.workflow.start('rollBack', {
        taskQueue: TASK_QUEUE,
        workflowId: recoveryWorkflowId(lab.name),
        args: [{ cluster: lab.name }],
      }),
    ends: 'rolled-back',
    quorum: { before: true, after: true },
  },
  {
    name: 'replaceMember',
    workflow: 'replaceMember',
    setScene: async ({ lab }) => {
      await inPeace(lab.hosts, 'cp-02', WIPE_DATA)
      await wakeUp(lab)
    },
    start: ({ operator }) => operator.startReplacement({ node: 'cp-02' }),
    ends: 'replaced',
    quorum: { before: true, after: true },
  },
]

/** Two directories are emptied and the third can't be read. */
async function loseQuorum({ lab }: OwnLab): Promise<void> {
  await everyHost(lab, (host) => inPeace(lab.hosts, host, host === 'cp-01' ? CORRUPT_DATABASE : WIPE_DATA))
  await everyHost(lab, (host) => atConsole(lab.hosts, host, 'systemctl start kubelet'))
}

/** A restore over data that is whole, so that what comes back at a roll-back is a cluster that lives. */
async function restoreWhatStoodStill(own: OwnLab): Promise<void> {
  const { lab } = own
  await standStill(lab)
  await consentedRestore(own)
  await untilStep(own, 'Wait for etcd')
  await everyHost(lab, (host) => atConsole(lab.hosts, host, 'systemctl start kubelet'))
  const { outcome } = await approveToTheEnd(own)
  if (outcome !== 'restored') throw new Error(`The restore that is to be rolled back ended ${outcome}.`)
}

/** Damages what nothing works on; the kubelet stays stopped. */
function inPeace(hosts: OwnLab['lab']['hosts'], host: string, damage: string): Promise<unknown> {
  return atConsole(hosts, host, `systemctl stop kubelet; systemctl stop 'static-pod-*' || true\n${damage}`)
}
