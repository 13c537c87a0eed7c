/**
 * The work of a run that is gone: terminated, or lost with its engine's database. The nodes remember what was approved
 * and what was done; another run brings it to its end, or takes it back, once a person has said that the first is dead.
 */
import assert from 'node:assert/strict'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { AdoptVerdict } from '../../domain/adopt-verdict.ts'
import { recoveryWorkflowId, type AdoptRequest } from '../../domain/messages.ts'
import type { WaitingCheckpoint } from '../../domain/progress.ts'
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import { startEngine, stopEngine } from '../../lab/services/engine.ts'
import { killWorker, startWorker } from '../../lab/services/worker.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import { requorum } from './command.ts'
import {
  attempts,
  beforeRestoreEverywhere,
  consentedRestore,
  differences,
  engineDir,
  failureOf,
  makeSchedule,
  matches,
  schedulePaused,
  startAdoption as startAdoptionOn,
  terminateRecovery,
  untilStep,
} from './recoveries.ts'
import { withSecondEngine } from './second-engine.ts'
import { controlPlaneFiles, everyHost, standStill, useLab, wakeUp } from './use-lab.ts'

const own = useLab({ keys: 500 })
const quiet = (): undefined => undefined

test('where nothing was left undone, and while a recovery lives, there is nothing to adopt', async () => {
  const { lab, operator } = own()
  await makeSchedule(own())
  const backedUp = await operator.backup()
  assert.ok('verdict' in backedUp && backedUp.verdict.outcome === 'proved', JSON.stringify(backedUp))
  await startAdoption()
  assert.equal(failureOf(await operator.result()).code, 'nothing-to-adopt')

  await standStill(lab)
  await operator.startRestore()
  assert.ok(await operator.untilCheckpoint('destroy'))
  const second = await requorum(lab, 'adopt', lab.name)
  assert.notEqual(second.code, 0)
  assert.match(second.error, /A recovery of \S+ runs already; there is never more than one/)
})

test('from another engine a second recovery is refused while one waits; of two at once one at most goes on', async (t) => {
  const { lab, operator } = own()
  const first = await operator.untilCheckpoint('destroy')
  assert.ok(first)
  await withSecondEngine(lab, async (other) => {
    await other.startRestore()
    const refused = failureOf(await other.result())
    assert.equal(refused.code, 'lock-held')
    assert.match(refused.message, /recovery\/\S+ since \S+/)
    assert.equal((await held()).length, 3)

    await operator.decide(first, 'refuse')
    await operator.result()
    await Promise.all([operator.startRestore(), other.startRestore()])
    const waiting = await Promise.all([operator, other].map((one) => one.untilCheckpoint('destroy')))
    const winners = [operator, other].filter((_, n) => waiting[n] !== undefined)
    assert.ok(winners.length <= 1, 'both wait for consent')
    for (const one of [operator, other]) {
      if (!winners.includes(one)) assert.equal(failureOf(await one.result()).code, 'lock-held')
    }
    assert.equal((await held()).length, 3 * winners.length, 'nobody holds what another one needs')
    const went = winners.includes(operator) ? 'the first' : winners.includes(other) ? 'the second' : 'neither'
    t.diagnostic(`${went} went on`)
    if (winners.includes(other)) {
      await other.signal({ checkpoint: 'destroy', decision: 'refuse', plan: waiting[1]?.plan, by: 'ana' })
      await other.result()
    }
  })
  if ((await held()).length === 0) await operator.startRestore()
  assert.ok(await operator.untilCheckpoint('destroy'))
})

test('terminated while it waited for consent: its locks are taken over by consent, and let go', async () => {
  const { lab } = own()
  const dead = await terminate()
  await startAdoption({})
  const waiting = await asked()
  assert.match(waiting.shows, /lets go of what a dead run held/)
  for (const host of ['cp-01', 'cp-02', 'cp-03']) {
    assert.match(waiting.shows, new RegExp(`${host} is held by ${dead} since \\S+ \\(.* ago\\)`))
  }
  await own().operator.decide(waiting, 'refuse')
  assert.equal((await verdict()).outcome, 'refused')
  assert.equal((await held()).length, 3, 'a refusal takes nothing from anybody')

  await startAdoption()
  await own().operator.decide(await asked(), 'approve')
  assert.equal((await verdict()).outcome, 'let-go')
  assert.deepEqual(await held(), [])
  await wakeUp(lab)
})

test('terminated in the middle of a restore: another run goes on, repeats nothing, and ends it', async (t) => {
  const { lab, operator } = own()
  const content = await readAll(lab.hosts)
  const backedUp = await operator.backup()
  assert.ok('verdict' in backedUp)
  await destroyQuorum(lab.hosts)
  const real = await beforeRestoreEverywhere(lab, 'sleep 5')
  await consentedRestore(own())
  await untilRestoring({ restores: 1 })
  const dead = await terminate()
  await real()
  assert.equal(await schedulePaused(own()), true)

  await startAdoption()
  const waiting = await asked()
  assert.match(waiting.shows, /goes on with restoreQuorum/)
  assert.ok(waiting.shows.includes(dead), waiting.shows)
  await operator.decide(waiting, 'approve')
  const accept = await operator.untilCheckpoint('accept')
  assert.ok(accept, 'it ended before it asked')
  await operator.decide(accept, 'approve')
  const ended = await verdict()
  assert.equal(ended.outcome, 'restored')
  assert.deepEqual(
    ended.checks.filter((check) => check.verdict === 'fail'),
    [],
  )
  const { recovery } = ended.adopted ?? { recovery: '' }
  for (const host of ['cp-01', 'cp-02', 'cp-03']) {
    const { 'set-the-old-data-aside': aside, 'restore-the-snapshot': restored } = await attempts(
      lab,
      host,
      recovery,
    )
    assert.deepEqual([aside, restored], [1, 1], 'each once, by whichever run')
  }
  t.diagnostic(ended.steps.map(({ title, seconds }) => `${title} ${seconds} s`).join('; '))
  assert.deepEqual(differences(content, await readAll(lab.hosts)).filter(foreign), [])
  assert.deepEqual(await held(), [])
  assert.equal(await schedulePaused(own()), false)

  await startAdoption()
  assert.equal(
    failureOf(await operator.result()).code,
    'nothing-to-adopt',
    'it has ended, and the nodes know',
  )
})

test("the engine's database is lost in the middle of a restore: from a new engine it is undone, whole", async () => {
  const { lab, operator } = own()
  await standStill(lab)
  const files = await everyHost(lab, (host) => controlPlaneFiles(lab, host))
  const real = await beforeRestoreEverywhere(lab, 'sleep 5')
  await consentedRestore(own())
  await untilRestoring({ restores: 2 })
  await killWorker(lab.dir)
  await stopEngine(engineDir(lab))
  for (const file of await readdir(engineDir(lab))) {
    if (file.startsWith('engine.db')) await rm(join(engineDir(lab), file))
  }
  const engine = await startEngine({ dir: engineDir(lab), say: quiet })
  assert.equal(engine.address, lab.engine.address)
  await startWorker(lab.dir, quiet)
  await real()

  // What a person meets who knows of nothing: the lock, with the way out.
  await operator.startRestore()
  const failure = failureOf(await operator.result())
  assert.equal(failure.code, 'lock-held')
  assert.match(failure.message, new RegExp(`requorum adopt ${lab.name}`))

  const started = await requorum(lab, 'adopt', lab.name, '--undo')
  assert.equal(started.code, 4, started.error)
  assert.match(started.out, /undoes restoreQuorum/)
  const plan = /plan ([0-9a-f]{8})/.exec(started.out)?.[1] ?? ''
  assert.equal((await requorum(lab, 'approve', lab.name, '--plan', plan, '--by', 'ana')).code, 0)
  const watched = await requorum(lab, 'status', lab.name, '--watch')
  assert.equal(watched.code, 0, watched.out + watched.error)
  assert.match(watched.out, /UNDONE: data and manifests of \S+ are what they were before the recovery/)
  assert.deepEqual(await everyHost(lab, (host) => controlPlaneFiles(lab, host)), files)
  assert.deepEqual(await held(), [])
  await wakeUp(lab)
})

test('a replacement terminated after the removal: there is only forward, and another run goes there', async () => {
  const { lab, operator } = own()
  await findFault('wipe-data').inject(lab.hosts, 'cp-02')
  await operator.startReplacement({ node: 'cp-02' })
  const waiting = await operator.untilCheckpoint('replace')
  assert.ok(waiting)
  await operator.decide(waiting, 'approve')
  await untilStep(own(), 'Start etcd on cp-02')
  await terminate()

  await startAdoption({ undo: true })
  const refused = failureOf(await operator.result())
  assert.equal(refused.code, 'input-invalid')
  assert.match(refused.message, /its data can never rejoin/)

  await startAdoption()
  await operator.decide(await asked(), 'approve')
  const ended = await verdict()
  assert.equal(ended.outcome, 'replaced')
  assert.deepEqual(
    ended.checks.filter((check) => check.verdict === 'fail'),
    [],
  )
  assert.deepEqual(await held(), [])
})

/** Waits until every node is at work on it, and not only the run: on so many restores, earlier ones included. */
async function untilRestoring({ restores }: { restores: number }): Promise<void> {
  const { lab } = own()
  const deadline = Date.now() + 120_000
  for (;;) {
    const started = await everyHost(lab, (host) =>
      matches(lab, host, '/var/lib/requorum/steps/*.restore-the-snapshot/*.started'),
    )
    if (started.every((one) => one.length === restores)) return
    assert.ok(Date.now() < deadline, `at work are: ${started.flat().join(', ')}`)
  }
}

function foreign(difference: string): boolean {
  return !difference.startsWith('requorum/')
}

function startAdoption(wishes: Partial<AdoptRequest> = {}): Promise<unknown> {
  return startAdoptionOn(own(), wishes)
}

async function asked(): Promise<WaitingCheckpoint> {
  const waiting = await own().operator.untilCheckpoint('adopt')
  if (waiting === undefined) throw new Error(JSON.stringify(await own().operator.result()))
  return waiting
}

function verdict(): Promise<AdoptVerdict> {
  const { lab, operator } = own()
  const workflowId = recoveryWorkflowId(lab.name)
  return operator.client.workflow.getHandle<() => Promise<AdoptVerdict>>(workflowId).result()
}

const terminate = (): Promise<string> => terminateRecovery(own())

async function held(): Promise<string[]> {
  const { lab } = own()
  return (await everyHost(lab, (host) => matches(lab, host, '/var/lib/requorum/lock'))).flat()
}
