/** Whether the snapshots are young enough: by the schedule, one alarm for all looks; and without any engine. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ScheduleOverlapPolicy } from '@temporalio/client'
import type { FreshnessVerdict } from '../../domain/freshness.ts'
import { backupScheduleId, freshnessScheduleId } from '../../domain/messages.ts'
import { startEngine, stopEngine } from '../../lab/services/engine.ts'
import { killWorker, startWorker } from '../../lab/services/worker.ts'
import { requorum } from './command.ts'
import { engineDir } from './recoveries.ts'
import { editClusterFile, standStill, useLab, wakeUp } from './use-lab.ts'

const own = useLab({ keys: 300 })
const quiet = (): undefined => undefined

/** One look by the schedule, and what it ended with. */
async function look(): Promise<FreshnessVerdict> {
  const { lab, operator } = own()
  const schedule = operator.client.schedule.getHandle(freshnessScheduleId(lab.name))
  const taken = async () => (await schedule.describe()).info.numActionsTaken
  const before = await taken()
  await schedule.trigger(ScheduleOverlapPolicy.SKIP)
  while ((await taken()) === before) await new Promise((resolve) => setTimeout(resolve, 100))
  const { recentActions } = (await schedule.describe()).info
  const { workflowId, firstExecutionRunId } = recentActions.at(-1)?.action.workflow ?? assert.fail()
  return operator.client.workflow
    .getHandle<() => Promise<FreshnessVerdict>>(workflowId, firstExecutionRunId)
    .result()
}

test('before the first backup there is an alarm; it stays one, and is over with the first backup', async () => {
  const { lab, operator } = own()
  const applied = await requorum(lab, 'schedule', 'apply', lab.name)
  assert.match(applied.out, new RegExp(`Created schedule ${freshnessScheduleId(lab.name)}`), applied.error)

  const first = await look()
  assert.equal(first.change, 'raised', JSON.stringify(first))
  assert.deepEqual(
    first.alarm?.findings.map(({ what }) => what),
    ['snapshot-missing'],
  )
  const second = await look()
  assert.equal(second.change, 'unchanged')
  assert.equal(second.alarm?.key, first.alarm?.key)
  assert.equal(second.alarm?.since, first.alarm?.since)

  const backedUp = await operator.backup()
  assert.ok('verdict' in backedUp, JSON.stringify(backedUp))
  const third = await look()
  assert.deepEqual([third.outcome, third.change, third.alarm], ['fresh', 'cleared', null])
  assert.equal(third.newest?.key, backedUp.verdict.key)
  assert.equal((await look()).change, 'unchanged')
})

test('a schedule that somebody paused is an alarm, in their own words', async () => {
  const { lab, operator } = own()
  const backups = operator.client.schedule.getHandle(backupScheduleId(lab.name))
  await backups.pause('moving house')
  const paused = await look()
  assert.deepEqual(
    paused.alarm?.findings.map(({ evidence }) => evidence),
    ['the backup schedule is paused: moving house'],
  )
  await backups.unpause('moved')
  assert.equal((await look()).change, 'cleared')
})

test('a lock of a run that is gone is an alarm, and of one that waits for a person is none', async () => {
  const { lab, operator } = own()
  await standStill(lab)
  const restore = await operator.startRestore()
  assert.ok(await operator.untilCheckpoint('destroy'))
  assert.equal((await look()).outcome, 'fresh')
  await restore.terminate('somebody pulled the plug')
  const left = await look()
  assert.deepEqual(
    left.alarm?.findings.map(({ what }) => what),
    ['lock-left', 'lock-left', 'lock-left'],
  )
  assert.match(left.alarm?.findings[0]?.todo ?? '', new RegExp(`requorum adopt ${lab.name}`))
  await wakeUp(lab)
})

test('with engine and worker dead, the command still says how old the newest is, by one line and exit code', async () => {
  const { lab } = own()
  await killWorker(lab.dir)
  await stopEngine(engineDir(lab))
  const fresh = await requorum(lab, 'snapshots', 'check', lab.name)
  assert.equal(fresh.code, 0, fresh.error)
  assert.match(
    fresh.out,
    /^OK \S+: the newest proved snapshot, daily\/\S+, is \d+ \S+ old \(limit 7\.0 h\)\n$/,
  )

  const putBack = await editClusterFile(lab, (file) => (file['freshness'] = { proved: '1s' }))
  try {
    const stale = await requorum(lab, 'snapshots', 'check', lab.name)
    assert.equal(stale.code, 6)
    assert.match(stale.out, /^STALE \S+: the newest proved snapshot, .* \(limit 1 s\)\n$/)
  } finally {
    await putBack()
  }
  await startEngine({ dir: engineDir(lab), say: quiet })
  await startWorker(lab.dir, quiet)
})
