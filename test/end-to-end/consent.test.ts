/** The whole path: a scheduled backup, a destroyed quorum, a restore by `temporal` alone whose worker is killed. */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { atConsole } from '../../lab/hosts/console.ts'
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { readAll, watchFrom, type WholeKeyspace } from '../../lab/hosts/keyspace.ts'
import { killWorker, startWorker } from '../../lab/services/worker.ts'
import { backupScheduleId, recoveryWorkflowId, restoreCommand } from '../../domain/messages.ts'
import type { BackupVerdict } from '../../domain/verdict.ts'
import type { backup } from '../../workflows/backup.ts'
import { openCatalogue } from '../../workers/wiring.ts'
import {
  differences,
  etcdctl,
  fileText,
  holdRestore,
  makeSchedule,
  matches,
  schedulePaused,
  temporal,
  timesOf,
  typed,
  untilStep,
  verdictOf,
} from '../lab/recoveries.ts'
import { everyHost, useLab, type OwnLab } from '../lab/use-lab.ts'

const MANIFEST = '/etc/kubernetes/manifests/etcd.yaml'

const up = useLab({ keys: 1_000 })

test('a destroyed cluster is restored with consent alone, though its worker is killed in the middle', async (t) => {
  const own = up()
  const { lab, operator } = own
  await makeSchedule(own)
  const oldManifests = await everyHost(lab, (host) => fileText(lab, host, MANIFEST))
  assert.doesNotMatch(oldManifests[0] ?? '', /initial-cluster-state/, "kubeadm's first manifest has no state")
  const oldRights = await everyHost(lab, (host) => rights(own, host))

  const before = await readAll(lab.hosts)
  const backedUp = await operator.backup()
  assert.ok('verdict' in backedUp && backedUp.verdict.outcome === 'proved', JSON.stringify(backedUp))
  const [changed, deleted] = await changeSome(own, before)

  const lost = await destroyQuorum(lab.hosts)
  assert.ok(lost.load.acknowledged.length > 0, 'writes were under way')
  t.diagnostic(
    `${before.keys.length} keys; ${lost.load.acknowledged.length} writes after the backup are to be lost`,
  )

  await typed(lab, restoreCommand(lab.name))
  const waiting = await operator.untilCheckpoint('destroy')
  assert.ok(waiting)
  assert.match(waiting.shows, new RegExp(backedUp.verdict.key))
  assert.match(waiting.shows, /everything written since/)
  for (const host of lab.hosts.hosts) {
    assert.match(
      waiting.shows,
      new RegExp(`\\| ${host.name} \\| etcd is silent`),
      `${host.name} is in the plan`,
    )
    assert.deepEqual(await matches(lab, host.name, '/var/lib/requorum/lock'), ['/var/lib/requorum/lock'])
  }

  await nonsenseChangesNothing(t, own, oldManifests)

  const release = await holdRestore(lab)
  await typed(lab, commandOf(waiting.approve))
  const { caught } = await untilStep(own, 'Restore the snapshot')
  assert.ok(caught, 'it is in the middle of the restore')
  assert.ok(await schedulePaused(own), 'the schedule rests during the restore')
  await killWorker(lab.dir)
  await startWorker(lab.dir, () => undefined)
  await release()
  const atAccept = await operator.untilCheckpoint('accept')
  assert.ok(atAccept, 'it waits to be accepted')
  const restored = await readAll(lab.hosts)
  await typed(lab, commandOf(atAccept.approve))
  const verdict = verdictOf(await operator.result())
  t.diagnostic(timesOf(verdict))

  assert.equal(verdict.outcome, 'restored')
  assert.deepEqual(
    verdict.checks.filter((check) => check.verdict !== 'pass'),
    [],
  )
  assert.deepEqual(verdict.warnings, [])
  assert.equal(verdict.candidate?.key, backedUp.verdict.key)
  assert.deepEqual(
    verdict.approvals.map(({ checkpoint, by }) => [checkpoint, by]),
    [
      ['destroy: approved', ['YOUR-NAME']],
      ['accept: approved', ['YOUR-NAME']],
    ],
  )

  // Content: what was before the snapshot is there in every byte, what came after it is gone.
  assert.deepEqual(differences(before, restored).slice(0, 5), [])
  const there = new Set(restored.keys.map(({ key }) => Buffer.from(key, 'base64').toString('utf8')))
  assert.ok(lost.load.acknowledged.every(({ key }) => !there.has(key)))
  assert.ok(there.has(changed) && there.has(deleted))
  assert.ok(restored.revision > before.revision + 1_000_000_000n, 'no client sees a revision twice')
  const watch = await watchFrom(lab.hosts, before.revision)
  assert.equal(watch.answer, 'compacted')

  // Nodes: the manifests have the full list and nothing else new; rights, locks and the old data.
  const list = lab.hosts.hosts.map((host) => `${host.name}=https://${host.address}:2380`).join(',')
  const newManifests = await everyHost(lab, (host) => fileText(lab, host, MANIFEST))
  for (const [index, manifest] of newManifests.entries()) {
    const lines = manifest.split('\n')
    assert.deepEqual(
      lines.filter((line) => line.includes('--initial-cluster')).map((line) => line.trim()),
      [`- --initial-cluster=${list}`, '- --initial-cluster-state=existing'],
    )
    assert.equal(withoutMembers(manifest), withoutMembers(oldManifests[index] ?? ''))
  }
  assert.deepEqual(await everyHost(lab, (host) => rights(own, host)), oldRights)
  for (const host of lab.hosts.hosts) {
    const aside = verdict.setAside.filter(({ node }) => node === host.name).map(({ path }) => path)
    assert.deepEqual(await matches(lab, host.name, '/var/lib/etcd.*'), aside)
    assert.match(aside[0] ?? '', /^\/var\/lib\/etcd\.corrupt\.\d{8}T\d{6}Z$/)
    assert.deepEqual(
      await matches(lab, host.name, '/var/lib/requorum/lock /var/lib/etcd-backups/staged-*'),
      [],
    )
  }

  // Backups go on, and know the cluster under its new ID.
  assert.equal(await schedulePaused(own), false, 'the schedule goes on')
  const catalogue = await openCatalogue(lab.dir, lab.name)
  const [fresh, source] = catalogue.proved
  assert.equal(fresh?.key, verdict.freshBackup)
  assert.equal(source?.key, backedUp.verdict.key)
  assert.notEqual(fresh?.etcd.clusterId, source?.etcd.clusterId)
  const further = await triggered(own)
  assert.equal(further.outcome, 'proved')
})

/** After the backup one key is changed and one deleted: both have to be what they were. */
async function changeSome({ lab }: OwnLab, before: WholeKeyspace): Promise<[string, string]> {
  const name = (index: number): string =>
    Buffer.from(before.keys[index]?.key ?? '', 'base64').toString('utf8')
  const [changed, deleted] = [name(7), name(11)]
  const host = lab.hosts.hosts[0]?.name ?? ''
  await etcdctl(lab, host, 'put', changed, 'written after the backup')
  await etcdctl(lab, host, 'del', deleted)
  return [changed, deleted]
}

/** Sends what people, scripts and strangers send, and looks that the run waits on and the nodes stand still. */
async function nonsenseChangesNothing(
  t: TestContext,
  own: OwnLab,
  oldManifests: readonly string[],
): Promise<void> {
  const { lab, operator } = own
  const waiting = await operator.untilCheckpoint('destroy')
  assert.ok(waiting)
  const decision = { checkpoint: 'destroy', decision: 'approve', plan: waiting.plan, by: 'mallory' }
  const nonsense: unknown[] = [
    { ...decision, plan: 'deadbeef' },
    { ...decision, plan: waiting.plan.slice(0, 7) },
    { ...decision, checkpoint: 'accept' },
    { ...decision, checkpoint: 'open-sesame' },
    { ...decision, decision: 'APPROVE' },
    { ...decision, extra: true },
    { ...decision, by: '' },
    { ...decision, by: 'x'.repeat(1_000_000) },
    'x'.repeat(1_000_000),
    'approve',
    null,
    [],
    17,
    undefined,
  ]
  for (const sent of nonsense) await operator.signal(sent)
  const broken = [
    '--name',
    'decide',
    '--input',
    '{"checkpoint":"destroy"',
    '--input-meta',
    'encoding=binary/strange',
  ]
  await temporal(lab, ['workflow', 'signal', '--workflow-id', recoveryWorkflowId(lab.name), ...broken])
  const flood = Array.from({ length: 300 }, (_, index) => ({
    ...decision,
    plan: 'deadbeef',
    by: `bot-${index}`,
  }))
  const began = performance.now()
  await Promise.all(flood.map((sent) => operator.signal(sent)))

  const count = nonsense.length + 1 + flood.length
  const deadline = Date.now() + 120_000
  let progress = await operator.progress()
  while (progress.decisionsSeen < count && Date.now() < deadline) {
    await sleep(200)
    progress = await operator.progress().catch(() => progress)
  }
  t.diagnostic(
    `${flood.length} signals at once were recorded after ${Math.round(performance.now() - began)} ms`,
  )
  assert.equal(progress.decisionsSeen, count, 'all of it is recorded')
  assert.equal(progress.decisions.length, 100, 'a flood is kept to the last hundred')
  assert.ok(progress.decisions.every(({ counted, because }) => !counted && because !== null))
  assert.ok(progress.decisions.every(({ sent }) => sent.length < 1_000))
  assert.equal(progress.waiting?.digest, waiting.digest, 'it waits for the same consent')
  assert.deepEqual(progress.waiting.approvedBy, [])
  assert.deepEqual(await everyHost(lab, (host) => fileText(lab, host, MANIFEST)), oldManifests)
  for (const host of lab.hosts.hosts) {
    assert.deepEqual(await matches(lab, host.name, '/var/lib/etcd.* /var/lib/requorum/recoveries/*'), [])
  }
}

/** The line for `temporal` among those that a checkpoint shows. */
function commandOf(shown: string): string {
  return shown.split('\n').find((line) => line.startsWith('temporal ')) ?? ''
}

function withoutMembers(manifest: string): string {
  return manifest
    .split('\n')
    .filter((line) => !line.includes('--initial-cluster=') && !line.includes('--initial-cluster-state='))
    .join('\n')
}

async function rights({ lab }: OwnLab, host: string): Promise<string> {
  const { stdout } = await atConsole(lab.hosts, host, `stat -c '%n %u:%g %a' /var/lib/etcd ${MANIFEST}`)
  return stdout
}

/** Lets the schedule start a backup now, and waits for its verdict. */
async function triggered({ lab, operator }: OwnLab): Promise<BackupVerdict> {
  const schedule = operator.client.schedule.getHandle(backupScheduleId(lab.name))
  const already = (await schedule.describe()).info.recentActions.length
  await schedule.trigger()
  const deadline = Date.now() + 60_000
  for (;;) {
    const { recentActions } = (await schedule.describe()).info
    const action = recentActions.at(-1)
    if (recentActions.length > already && action !== undefined) {
      return operator.client.workflow.getHandle<typeof backup>(action.action.workflow.workflowId).result()
    }
    if (Date.now() > deadline) throw new Error('The schedule started nothing within a minute.')
    await sleep(200)
  }
}
