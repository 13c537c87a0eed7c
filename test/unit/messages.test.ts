import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  backupScheduleId,
  backupWorkflowId,
  decideCommand,
  DECIDE_SIGNAL,
  drillScheduleId,
  drillWorkflowId,
  PROGRESS_QUERY,
  recoveryWorkflowId,
  restoreCommand,
  TASK_QUEUE,
} from '../../domain/messages.ts'

/** The words of a printed command, as a shell passes them on. */
function wordsOf(command: string): string[] {
  const { stdout, status } = spawnSync('sh', ['-c', `printf '%s\\0' ${command}`], { encoding: 'utf8' })
  assert.equal(status, 0, command)
  return stdout.split('\0').slice(0, -1)
}

describe('the names by which people reach Requorum', () => {
  test('are the ones that runbooks were printed with', () => {
    assert.deepEqual(
      [
        TASK_QUEUE,
        DECIDE_SIGNAL,
        PROGRESS_QUERY,
        recoveryWorkflowId('prod'),
        backupScheduleId('prod'),
        backupWorkflowId('prod'),
        drillScheduleId('prod'),
        drillWorkflowId('prod'),
      ],
      [
        ...['requorum', 'decide', 'progress', 'recovery/prod', 'backup-prod', 'backup/prod'],
        ...['drill-prod', 'drill/prod'],
      ],
    )
  })

  test('start a restore with a command that can be pasted', () => {
    assert.deepEqual(wordsOf(restoreCommand('prod')), [
      ...['temporal', 'workflow', 'start', '--type', 'restoreQuorum', '--task-queue', 'requorum'],
      ...['--workflow-id', 'recovery/prod', '--input', '{"cluster":"prod"}'],
    ])
  })

  test('decide with a command that can be pasted, whoever decides', () => {
    const names = fc.oneof(
      fc.constantFrom('ana', "O'Hara", "'; reboot; '", '$(id)', '"quoted"', 'a b'),
      fc.string().map((name) => name.replaceAll('\0', '')),
    )
    fc.assert(
      fc.property(names, fc.constantFrom<('approve' | 'refuse')[]>('approve', 'refuse'), (by, decision) => {
        const sent = { checkpoint: 'destroy', decision, plan: '3fa9c1d2', by }
        const words = wordsOf(decideCommand('recovery/prod', sent))
        assert.deepEqual(words.slice(0, 8), [
          ...[
            'temporal',
            'workflow',
            'signal',
            '--workflow-id',
            'recovery/prod',
            '--name',
            'decide',
            '--input',
          ],
        ])
        assert.equal(words.length, 9)
        assert.deepEqual(JSON.parse(words[8]!), sent)
      }),
      { numRuns: 30, examples: [["O'Hara", 'approve']] },
    )
  })
})
