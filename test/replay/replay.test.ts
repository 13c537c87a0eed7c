import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { before, test } from 'node:test'
import { Worker } from '@temporalio/worker'
import { workflowBundle } from '../../workers/workflow-bundle.ts'

/**
 * Runs of real labs, stored. Today's workflow code has to take the same decisions over them, or a recovery
 * that waits for a person would not survive an upgrade. `record.ts` says how they were made; a change that
 * must break one of a release gets a new version of the workflow and not a new recording. The plan's digest is part
 * of what a waiting run remembers: a plan of another shape breaks it too.
 */
const HISTORIES = new URL('./histories/', import.meta.url)

let bundle: { code: string }
before(async () => {
  bundle = await workflowBundle()
})

const files = readdirSync(HISTORIES).filter((name) => name.endsWith('.json'))

test('there are histories of every runbook, and of a restore that waits at a checkpoint', () => {
  for (const kind of ['backup', 'validate', 'diagnose', 'restore-done', 'restore-waiting']) {
    assert.ok(
      files.some((name) => name.startsWith(kind)),
      `no history of ${kind} is stored`,
    )
  }
})

for (const name of files) {
  test(`today's workflows replay ${name}`, async () => {
    // eslint-disable-next-line no-restricted-properties -- a history of Temporal's
    const history: unknown = JSON.parse(readFileSync(new URL(name, HISTORIES), 'utf8'))
    // A recovery looks at its own workflow ID; record.ts names the cluster `replay`.
    await Worker.runReplayHistory({ workflowBundle: bundle }, history, 'recovery/replay')
  })
}
