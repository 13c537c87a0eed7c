import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FailureCode } from '../../domain/failures.ts'
import { TASK_QUEUE } from '../../domain/messages.ts'
import type { BackupVerdict } from '../../domain/verdict.ts'
import { endOf, type Ended } from '../../lab/operator.ts'
import type { OwnLab } from './own-lab.ts'

/** A backup that goes on while the test does something to it. */
export interface RunningBackup {
  readonly workflowId: string
  readonly runId: string
  /** Never rejects for a run that failed. */
  readonly ended: Promise<Ended<BackupVerdict>>
}

let started = 0

export async function startBackup({ lab, operator }: OwnLab): Promise<RunningBackup> {
  started += 1
  const workflowId = `backup/${lab.name}/test-${started}`
  const handle = await operator.client.workflow.start('backup', {
    taskQueue: TASK_QUEUE,
    workflowId,
    args: [{ cluster: lab.name }],
  })
  const ended = endOf<BackupVerdict>(handle)
  ended.catch(() => undefined)
  return { workflowId, runId: handle.firstExecutionRunId, ended }
}

/** The verdict of a backup that was proved. */
export function proved(ended: Ended<BackupVerdict>): BackupVerdict {
  assert.ok('verdict' in ended, `the backup failed: ${'message' in ended ? ended.message : ''}`)
  assert.equal(ended.verdict.outcome, 'proved')
  return ended.verdict
}

/** The words of a failure with exactly this code. */
export function refusal(ended: Ended<unknown>, code: FailureCode): string {
  assert.ok('code' in ended, `it was to fail with ${code}, and did not: ${JSON.stringify(ended)}`)
  assert.equal(ended.code, code, ended.message)
  return ended.message
}

/** Asks until the answer is there. */
export async function until<Answer>(
  what: string,
  ask: () => Promise<Answer | undefined>,
  limitMs = 120_000,
): Promise<Answer> {
  const deadline = Date.now() + limitMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (Date.now() > deadline) throw new Error(`${what} did not come about within ${limitMs / 1_000} s.`)
    await sleep(100)
  }
}
