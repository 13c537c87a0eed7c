import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { atConsole } from '../../lab/hosts/console.ts'
import { leader } from '../../lab/hosts/etcdctl.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import { writeLoad } from '../../lab/hosts/write-load.ts'
import type { ReplaceVerdict } from '../../domain/verdict.ts'
import { ALL_VOTE, inject, members } from './members.ts'
import { controlPlaneFiles, useLab } from './use-lab.ts'

const own = useLab({ keys: 500 })

async function replaced(request: { node?: string } = {}): Promise<ReplaceVerdict> {
  const ended = await own().operator.replaceAndApprove(request)
  assert.ok('verdict' in ended, JSON.stringify(ended))
  const { verdict } = ended
  assert.equal(verdict.outcome, 'replaced')
  assert.deepEqual(
    verdict.checks.filter((one) => one.verdict === 'fail'),
    [],
  )
  return verdict
}

// What was set aside has a name of its own by the second; the next test starts with three voters.
afterEach(async () => {
  assert.deepEqual(await members(own().lab), ALL_VOTE)
})

test('a wiped member is found, replaced under load, and no acknowledged write is lost', async (t) => {
  const { lab } = own()
  await inject(lab, 'wipe-data', 'cp-02')
  const load = await writeLoad(lab.hosts, { perSecond: 50 })
  const verdict = await replaced()
  const { acknowledged, longestPauseMs } = await load.stop()
  assert.equal(verdict.node, 'cp-02')
  assert.match(verdict.backup, /^daily\//)
  const there = new Set(
    (await readAll(lab.hosts)).keys.map(({ key }) => Buffer.from(key, 'base64').toString()),
  )
  assert.deepEqual(
    acknowledged.filter(({ key }) => !there.has(key)),
    [],
  )
  assert.ok(acknowledged.length > 100, String(acknowledged.length))
  t.diagnostic(
    `${acknowledged.length} acknowledged writes are all there; the longest pause between two was ${longestPauseMs.toFixed(0)} ms`,
  )
  t.diagnostic(verdict.steps.map(({ title, seconds }) => `${title} ${seconds} s`).join('; '))
})

test('the leader, with its database and log damaged, is replaced', async (t) => {
  const { lab } = own()
  const node = await leader(lab.hosts)
  await inject(lab, 'corrupt-database', node)
  const verdict = await replaced()
  assert.equal(verdict.node, node)
  t.diagnostic(`${node} led; set aside: ${verdict.setAside.map(({ path }) => path).join()}`)
})

test('a member that is well is replaced when a person names it, the leader too', async (t) => {
  const { lab } = own()
  const node = await leader(lab.hosts)
  const load = await writeLoad(lab.hosts, { perSecond: 50 })
  const verdict = await replaced({ node })
  const { acknowledged, longestPauseMs } = await load.stop()
  const there = new Set(
    (await readAll(lab.hosts)).keys.map(({ key }) => Buffer.from(key, 'base64').toString()),
  )
  assert.deepEqual(
    acknowledged.filter(({ key }) => !there.has(key)),
    [],
  )
  assert.equal(verdict.node, node)
  t.diagnostic(
    `the longest pause between two of ${acknowledged.length} acknowledged writes: ${longestPauseMs.toFixed(0)} ms`,
  )
})

test('refused, every byte is where it was', async () => {
  const { lab, operator } = own()
  const node = 'cp-03'
  const { workflowId } = await operator.startReplacement({ node })
  const waiting = await operator.untilCheckpoint('replace')
  assert.ok(waiting)
  // Only so does every byte stand still.
  await inject(lab, 'stop-etcd', node)
  const before = await controlPlaneFiles(lab, node)
  await operator.decide(waiting, 'refuse')
  const handle = operator.client.workflow.getHandle<() => Promise<ReplaceVerdict>>(workflowId)
  assert.equal((await handle.result()).outcome, 'refused')
  assert.equal(await controlPlaneFiles(lab, node), before)
  await atConsole(lab.hosts, node, 'systemctl start kubelet')
})

test('with nothing broken it says so, and what to type to replace a member all the same', async () => {
  const ended = await own().operator.replaceAndApprove()
  assert.ok('code' in ended && ended.code === 'nothing-to-replace', JSON.stringify(ended))
})
