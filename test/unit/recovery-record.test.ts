/** The record that a recovery leaves on a node, written and read by a real shell in a temporary directory. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { RequorumError } from '../../domain/failures.ts'
import { NODE_STATE } from '../../domain/node-paths.ts'
import { readRecord, recordPath, recordText, type RestoreRecord } from '../../domain/recovery-record.ts'
import { digestOf, planRestore } from '../../domain/restore-plan.ts'
import {
  markRecovery,
  readRecoveryRecord,
  recordedRecoveries,
  writeJournal,
} from '../../systems/node/journal.ts'
import type { CommandOptions, CommandResult, NodeShell } from '../../systems/ssh/node-shell.ts'
import { clusterConfig, quorumLost, RECOVERY, snapshotOf } from './examples.ts'

const root = mkdtempSync(join(tmpdir(), 'requorum-record-'))
after(() => rmSync(root, { recursive: true }))

const config = clusterConfig()
const snapshot = snapshotOf('2026-11-22T02:00:00.000Z')
const record: RestoreRecord = {
  version: 1,
  runbook: 'restoreQuorum',
  cluster: config.cluster,
  recovery: RECOVERY,
  owner: 'recovery/prod/0000',
  startedAt: '2026-11-22T02:14:00.000Z',
  plan: planRestore(config, RECOVERY, quorumLost(), snapshot),
  snapshot,
}

/** This machine as the node, with the node's state in a directory of the test. */
function run(
  _node: unknown,
  [program = '', ...args]: readonly string[],
  { stdin }: CommandOptions = {},
): Promise<CommandResult> {
  const here = args.map((arg) => (arg.startsWith(NODE_STATE) ? join(root, arg) : arg))
  const { status, stdout, stderr } = spawnSync(program, here, { input: stdin ?? '', encoding: 'utf8' })
  return Promise.resolve({ code: status ?? -1, stdout, stderr })
}
const none = (): Promise<never> => Promise.reject(new Error('not here'))
const shell: NodeShell = {
  run,
  script: (to, script, args) => run(to, ['sh', '-s', '--', ...args], { stdin: script }),
  read: none,
  write: none,
  close: none,
}
const [node] = config.nodes
assert.ok(node)
const at = { shell, config, node }

test('what one run recorded another reads: the plan whole, the marks, the newest first', async () => {
  assert.deepEqual(await recordedRecoveries(at), [])
  await writeJournal(at, RECOVERY, '# by hand', record)
  // A recovery of a kind that nobody goes on with leaves no record, and is not listed.
  await writeJournal(at, '20261122T031400Z-00000000', '# by hand')
  assert.deepEqual(await readRecoveryRecord(at, RECOVERY), record)

  await markRecovery(at, RECOVERY, 'opened', '2026-11-22T02:15:00.000Z revision 1000048211')
  await markRecovery(at, RECOVERY, 'opened', '2026-11-22T02:19:00.000Z revision 1000048219')
  const later = '20261122T041400Z-11111111'
  await writeJournal(at, later, '', { ...record, recovery: later })
  const found = await recordedRecoveries(at)
  assert.deepEqual(
    found.map(({ recovery }) => recovery),
    [later, RECOVERY],
  )
  assert.deepEqual(found[1], {
    recovery: RECOVERY,
    runbook: 'restoreQuorum',
    owner: record.owner,
    startedAt: record.startedAt,
    digest: digestOf(record.plan),
    // The first word stays.
    marks: { opened: '2026-11-22T02:15:00.000Z revision 1000048211' },
    lastDone: '',
  })
})

test('a record that was changed, cut or written by another version is not followed', async () => {
  const whole = recordText(record)
  const refused = (text: string, why: RegExp): void => {
    assert.throws(
      () => readRecord(text, 'cp-01'),
      (error) =>
        error instanceof RequorumError && error.code === 'record-unreadable' && why.test(error.message),
    )
  }
  refused(whole.replace('/var/lib/etcd.corrupt', '/var/lib/etcd.corrupted'), /not the one that was approved/)
  refused(whole.slice(0, -40), /the file: not as this version writes it/)
  refused(whole.replace('"version": 1', '"version": 2'), /version/)
  const path = join(root, recordPath(RECOVERY))
  writeFileSync(path, readFileSync(path, 'utf8').replace('"bump"', '"jump"'))
  await assert.rejects(readRecoveryRecord(at, RECOVERY), /not the one that was approved/)
})
