import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, test } from 'node:test'
import type { WorkflowHandle } from '@temporalio/client'
import type { DrillVerdict } from '../../domain/drill-verdict.ts'
import {
  DECIDE_SIGNAL,
  drillWorkflowId,
  PROGRESS_QUERY,
  recoveryWorkflowId,
  TASK_QUEUE,
} from '../../domain/messages.ts'
import { DRILL_MARK } from '../../domain/node-paths.ts'
import type { Progress, WaitingCheckpoint } from '../../domain/progress.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import { etcdctl, failureOf, matches, readAllWhenUp, traces } from './recoveries.ts'
import { controlPlaneFiles, editClusterFile, everyHost, useLab } from './use-lab.ts'

const own = useLab({ keys: 500, cluster: { drill: { allowed: true, targets: { rpo: '10m', rto: '10m' } } } })

const LIMIT_MS = 300_000

function startDrill(input: object = {}): Promise<WorkflowHandle<() => Promise<DrillVerdict>>> {
  const { lab, operator } = own()
  return operator.client.workflow.start<(request: object) => Promise<DrillVerdict>>('drill', {
    taskQueue: TASK_QUEUE,
    workflowId: drillWorkflowId(lab.name),
    args: [{ cluster: lab.name, ...input }],
  })
}

/** Waits until a run waits for a person there. The recovery of a drill is there only after a while. */
async function checkpointOf(workflowId: string, name: string): Promise<WaitingCheckpoint> {
  const { operator } = own()
  const deadline = Date.now() + LIMIT_MS
  let last: Progress | undefined
  while (Date.now() < deadline) {
    last = await operator.client.workflow
      .getHandle(workflowId)
      .query<Progress>(PROGRESS_QUERY)
      .catch(() => undefined)
    if (last?.waiting?.name === name) return last.waiting
    const failed = last?.steps.find(({ state }) => state === 'failed')
    if (failed !== undefined) throw new Error(`${workflowId}: "${failed.title}" failed: ${failed.note ?? ''}`)
    await sleep(200)
  }
  throw new Error(`${workflowId} did not come to "${name}"; it is at ${JSON.stringify(last?.steps.at(-1))}`)
}

async function decideAt(workflowId: string, name: string, decision: 'approve' | 'refuse'): Promise<void> {
  const { name: checkpoint, plan } = await checkpointOf(workflowId, name)
  const handle = own().operator.client.workflow.getHandle(workflowId)
  await handle.signal(DECIDE_SIGNAL, { checkpoint, decision, plan, by: 'ana' })
}

async function failed(input: object = {}): Promise<{ code: string; message: string }> {
  const { operator } = own()
  await startDrill(input)
  return failureOf(await operator.ended(drillWorkflowId(own().lab.name)))
}

const drillId = (): string => drillWorkflowId(own().lab.name)
const recoveryId = (): string => recoveryWorkflowId(own().lab.name)

async function voters(): Promise<string[]> {
  const list = await etcdctl(own().lab, 'cp-01', 'member', 'list')
  return list
    .trim()
    .split('\n')
    .map((line) => line.split(', '))
    .map((words) => `${words[2] ?? ''} ${words[5] === 'true' ? 'learner' : 'voter'}`)
    .sort()
}

afterEach(async () => {
  assert.deepEqual(await voters(), ['cp-01 voter', 'cp-02 voter', 'cp-03 voter'])
  const { keys } = await readAll(own().lab.hosts)
  const left = keys
    .map(({ key }) => Buffer.from(key, 'base64').toString())
    .filter((key) => key.startsWith('requorum/'))
  assert.deepEqual(left, [], 'no marker is left')
  assert.deepEqual(await everyHost(own().lab, (host) => matches(own().lab, host, '/var/lib/requorum/lock')), [
    [],
    [],
    [],
  ])
})

test('restoreQuorum: what is lost is what was written after the backup, and the times are measured', async (t) => {
  const { lab } = own()
  const keys = await readAll(lab.hosts)
  const handle = await startDrill()
  const waiting = await checkpointOf(drillId(), 'drill')
  assert.match(waiting.shows, /cp-02, cp-03/)
  await decideAt(drillId(), 'drill', 'approve')
  await decideAt(recoveryId(), 'destroy', 'approve')
  await decideAt(recoveryId(), 'accept', 'approve')
  const verdict = await handle.result()
  const { rpo, rto, whole } = verdict
  assert.equal(verdict.outcome, 'passed', JSON.stringify(verdict))
  assert.equal(verdict.recovered?.outcome, 'restored')
  assert.deepEqual(verdict.nodes, ['cp-02', 'cp-03'])
  assert.ok(rpo !== null && rto !== null && whole !== null)
  assert.equal(rpo.markersWritten, 6)
  assert.equal(rpo.markersLost, 5, 'all that were written after the backup, and no other')
  // Nobody else writes to this etcd.
  assert.equal(rpo.revisions, '5')
  assert.ok(rpo.seconds > 0, String(rpo.seconds))
  assert.ok(rto.withoutWaiting > 0 && rto.withoutWaiting <= rto.seconds, JSON.stringify(rto))
  assert.ok(rto.seconds <= whole.seconds && rto.withoutWaiting <= whole.withoutWaiting, JSON.stringify(whole))
  assert.deepEqual(
    verdict.targets.map(({ name, met }) => [name, met]),
    [
      ['rpo', true],
      ['rto', true],
    ],
  )
  const now = new Set((await readAll(lab.hosts)).keys.map(({ key }) => key))
  assert.deepEqual(
    keys.keys.filter(({ key }) => !now.has(key)),
    [],
    'every key from before the backup is there',
  )
  for (const { node, path } of verdict.setAside) {
    assert.deepEqual(await matches(lab, node, path), [path], 'what was set aside is there')
  }
  t.diagnostic(
    `RPO: ${rpo.markersLost} of ${rpo.markersWritten} markers, ${rpo.revisions} revisions, ${rpo.seconds} s; RTO: ${rto.seconds} s, ${rto.withoutWaiting} s without waiting for people; whole again after ${whole.seconds} s (${whole.withoutWaiting} s)`,
  )
})

for (const fault of ['lose-leader', 'lose-member']) {
  test(`replaceMember, ${fault}: nothing that was acknowledged is lost`, async (t) => {
    const handle = await startDrill({ fault })
    await decideAt(drillId(), 'drill', 'approve')
    await decideAt(recoveryId(), 'replace', 'approve')
    const verdict = await handle.result()
    const { rpo, rto, whole } = verdict
    assert.equal(verdict.outcome, 'passed', JSON.stringify(verdict))
    assert.equal(verdict.recovered?.outcome, 'replaced')
    assert.equal(verdict.rehearsed, 'replaceMember')
    assert.ok(rpo !== null && rto !== null && whole !== null)
    assert.deepEqual([rpo.markersLost, rpo.seconds, rpo.revisions], [0, 0, '0'])
    assert.ok(rto.seconds < whole.seconds, JSON.stringify({ rto, whole }))
    t.diagnostic(
      `${verdict.nodes.join()} was broken; RPO: ${rpo.markersLost} of ${rpo.markersWritten} markers; RTO: ${rto.seconds} s; whole again after ${whole.seconds} s, ${whole.withoutWaiting} s without waiting for people`,
    )
  })
}

test('a cluster that is not marked in its file, or on one of its nodes, is refused whoever asks', async () => {
  const { lab } = own()
  const before = await everyHost(lab, (host) => traces(lab, host))
  const restore = await editClusterFile(lab, (file) => delete file['drill'])
  try {
    const { code, message } = await failed()
    assert.equal(code, 'drill-forbidden')
    assert.match(message, /is not marked for drills/)
  } finally {
    await restore()
  }
  assert.equal((await failed({ allowed: true })).code, 'input-invalid')

  // In place and with its time: nothing but the drill's own doing is to be seen afterwards.
  await atConsole(lab.hosts, 'cp-02', `cp -p ${DRILL_MARK} /root/mark; echo other-${lab.name} >${DRILL_MARK}`)
  try {
    const { code, message } = await failed({ fault: 'lose-all' })
    assert.equal(code, 'drill-forbidden')
    assert.match(message, /cp-02 of .* is not marked for drills/)
  } finally {
    await atConsole(lab.hosts, 'cp-02', `cp -p /root/mark ${DRILL_MARK}`)
  }
  assert.deepEqual(await everyHost(lab, (host) => traces(lab, host)), before, 'no byte was changed')
})

test('refused at its checkpoint, a drill has changed nothing', async () => {
  const { lab } = own()
  const before = await everyHost(lab, (host) => traces(lab, host))
  const handle = await startDrill()
  await decideAt(drillId(), 'drill', 'refuse')
  const verdict = await handle.result()
  assert.equal(verdict.outcome, 'refused')
  assert.equal(verdict.backup, null)
  assert.deepEqual(await everyHost(lab, (host) => traces(lab, host)), before)
})

test('when nobody consents to the recovery, the drill puts back what it broke', async (t) => {
  const { lab } = own()
  const manifests = async (): Promise<string[]> =>
    everyHost(lab, async (host) =>
      (await controlPlaneFiles(lab, host))
        .split('\n')
        .filter((line) => /etcd\.yaml|pki/.test(line))
        // Times of a file that went and came back are the file's own.
        .join('\n'),
    )
  const before = await manifests()
  const keys = await readAll(lab.hosts)
  const handle = await startDrill()
  await decideAt(drillId(), 'drill', 'approve')
  await decideAt(recoveryId(), 'destroy', 'refuse')
  const verdict = await handle.result()
  assert.equal(verdict.outcome, 'put-back', JSON.stringify(verdict))
  assert.equal(verdict.recovered?.outcome, 'refused')
  assert.deepEqual(await manifests(), before)
  const now = new Set((await readAllWhenUp(lab)).keys.map(({ key }) => key))
  assert.deepEqual(
    keys.keys.filter(({ key }) => !now.has(key)),
    [],
  )
  t.diagnostic(verdict.steps.map(({ title, seconds }) => `${title} ${seconds} s`).join('; '))
})
