import type { WorkflowHandle } from '@temporalio/client'
import { backupWorkflowId, TASK_QUEUE } from '../../domain/messages.ts'
import type { Broken } from './base-state.ts'
import { beforeRestore } from '../lab/recoveries.ts'
import type { OwnLab } from '../lab/use-lab.ts'

export type RunbookName = 'backup' | 'replaceMember' | 'restoreQuorum accepted' | 'restoreQuorum undone'

export interface Runbook {
  readonly name: RunbookName
  readonly workflow: string
  readonly broken: Broken
  /** How it ends when nothing disturbs it: its outcome, or the code of its failure. */
  readonly ends: string
  /** Whether etcd answers at its end. */
  readonly hasQuorum: boolean
  readonly start: (own: OwnLab) => Promise<WorkflowHandle>
  /** Made before its first case; returns how to take it away. */
  readonly prepare?: (own: OwnLab) => Promise<() => Promise<void>>
}

let started = 0

export const RUNBOOKS: readonly Runbook[] = [
  {
    name: 'backup',
    workflow: 'backup',
    broken: 'nothing',
    ends: 'proved',
    hasQuorum: true,
    start: ({ lab, operator }) => {
      started += 1
      return operator.client.workflow.start('backup', {
        taskQueue: TASK_QUEUE,
        workflowId: `${backupWorkflowId(lab.name)}/sweep-${Date.now()}-${started}`,
        args: [{ cluster: lab.name }],
      })
    },
  },
  {
    name: 'replaceMember',
    workflow: 'replaceMember',
    broken: 'cp-02',
    ends: 'replaced',
    hasQuorum: true,
    start: ({ operator }) => operator.startReplacement({ node: 'cp-02' }),
  },
  {
    name: 'restoreQuorum accepted',
    workflow: 'restoreQuorum',
    broken: 'quorum',
    ends: 'restored',
    hasQuorum: true,
    start: ({ operator }) => operator.startRestore(),
  },
  {
    name: 'restoreQuorum undone',
    workflow: 'restoreQuorum',
    broken: 'quorum',
    ends: 'restore-undone',
    hasQuorum: false,
    start: ({ operator }) => operator.startRestore(),
    prepare: ({ lab }) => beforeRestore(lab, 'cp-03', 'echo "cp-03 has a bad day" >&2; exit 3'),
  },
]
