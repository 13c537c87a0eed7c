import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { after, before, describe, test } from 'node:test'
import { TestWorkflowEnvironment } from '@temporalio/testing'
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker'
import { partTarget } from '../../lab/parts/parts.mjs'
import { createLiveRuns, type LiveRuns } from '../../systems/schedules/live-runs.ts'

const server = partTarget('temporal')
const skip = existsSync(server) ? false : `${server} isn't there: run node scripts/setup.mjs --for test`

describe('whether the run that took a lock still goes on', { skip }, () => {
  const workflowId = 'recovery/prod'
  let engine: TestWorkflowEnvironment
  let worker: Worker
  let working: Promise<void>
  let runs: LiveRuns

  before(async () => {
    Runtime.install({ logger: new DefaultLogger('ERROR') })
    engine = await TestWorkflowEnvironment.createLocal({
      server: { executable: { type: 'existing-path', path: server } },
    })
    worker = await Worker.create({
      connection: engine.nativeConnection,
      taskQueue: 'live-runs',
      workflowsPath: fileURLToPath(new URL('waiting-workflow.ts', import.meta.url)),
    })
    working = worker.run()
    runs = createLiveRuns(engine.client)
  })
  after(async () => {
    worker.shutdown()
    await working
    await engine.teardown()
  })

  test('it does until it is terminated; a run that the engine does not know does not', async () => {
    const { firstExecutionRunId: runId } = await engine.client.workflow.start('waits', {
      workflowId,
      taskQueue: 'live-runs',
    })
    assert.equal(await runs.isAlive(`${workflowId}/${runId}`), true)
    await engine.client.workflow.getHandle(workflowId).terminate()
    assert.equal(await runs.isAlive(`${workflowId}/${runId}`), false)
    assert.equal(await runs.isAlive(`recovery/other/${runId}`), false)
  })

  test('reset, it goes on as another run, whose lock bears the name of the first', async () => {
    const handle = await engine.client.workflow.start('waits', { workflowId, taskQueue: 'live-runs' })
    const owner = `${workflowId}/${handle.firstExecutionRunId}`
    // A reset needs a workflow task that ended.
    const events = async (): Promise<number> => (await handle.fetchHistory()).events?.length ?? 0
    while ((await events()) < 4) await engine.sleep(100)
    for (const resets of [1, 2]) {
      // As a person does it.
      const reset = ['workflow', 'reset', '--workflow-id', workflowId, '--event-id', '4', '--reason', 'test']
      await promisify(execFile)(server, [...reset, '--address', engine.address])
      assert.equal(await runs.isAlive(owner), true, `after reset ${resets}`)
    }
    await engine.client.workflow.getHandle(workflowId).terminate()
    assert.equal(await runs.isAlive(owner), false)
  })
})
