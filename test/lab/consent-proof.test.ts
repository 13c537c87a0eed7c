/** Consent signed by two people to a restore of the lab: what forgers, replays and a dead worker can't change. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import {
  consentStatement,
  type Decision,
  type DecisionRecord,
  type StatedConsent,
} from '../../domain/consent.ts'
import { DECIDE_NOW_UPDATE, recoveryWorkflowId } from '../../domain/messages.ts'
import type { WaitingCheckpoint } from '../../domain/progress.ts'
import { planDigest } from '../../domain/values.ts'
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { readAll, type WholeKeyspace } from '../../lab/hosts/keyspace.ts'
import { killWorker, startWorker } from '../../lab/services/worker.ts'
import { requorum } from './command.ts'
import { differences, failureOf, fileText, matches, temporal, typed, verdictOf } from './recoveries.ts'
import { everyHost, useLab } from './use-lab.ts'

const own = useLab({
  keys: 200,
  cluster: { approval: { proof: 'ssh', allowedSigners: 'allowed_signers', destroy: { people: 2 } } },
})

let contents: WholeKeyspace
let untouched: unknown

const keys = mkdtempSync(join(tmpdir(), 'requorum-keys-'))
after(() => rmSync(keys, { recursive: true, force: true }))
const key = (name: string): string => join(keys, name)

before(() => {
  for (const name of ['ana', 'ana-phone', 'ben', 'eve', 'old']) {
    ssh('-q', '-t', 'ed25519', '-N', '', '-f', key(name))
  }
})

test('without the file of the signers nobody could consent, so nothing is begun', async () => {
  const { lab, operator } = own()
  const backedUp = await operator.backup()
  assert.ok('verdict' in backedUp && backedUp.verdict.outcome === 'proved', JSON.stringify(backedUp))
  contents = await readAll(lab.hosts)
  await destroyQuorum(lab.hosts)
  untouched = await state()
  await operator.startRestore()
  const failure = failureOf(await operator.result())
  assert.equal(failure.code, 'config-invalid')
  assert.match(failure.message, /Nobody could consent[\s\S]*allowed_signers/)

  const lines = [
    ['ana@example.com', 'ana'],
    ['ana@example.com', 'ana-phone'],
    ['ben@example.com', 'ben'],
    ['old@example.com valid-before="20200101"', 'old'],
  ].map(([who = '', name = '']) => `${who} ${readFileSync(`${key(name)}.pub`, 'utf8')}`)
  writeFileSync(join(lab.dir, 'clusters/allowed_signers'), lines.join(''))
  const checked = await requorum(lab, 'config', 'check', lab.name)
  assert.equal(checked.code, 0, checked.out + checked.error)
})

let replayed: Decision | undefined

test('a signed refusal ends the run with nothing touched', async () => {
  const { lab, operator } = own()
  await operator.startRestore()
  const at = await asked('destroy')
  replayed = await signed(at, 'ana', 'ana@example.com')
  const refused = await requorum(lab, 'refuse', lab.name, '--plan', at.plan, '--sign', '--key', key('ben'))
  assert.equal(refused.code, 0, refused.out + refused.error)
  assert.match(refused.out, /Counted: ben@example\.com refused "destroy"/)
  assert.equal(verdictOf(await operator.result()).outcome, 'refused')
  assert.deepEqual(await state(), untouched)
})

test('what proves nothing is refused with its reason, by Update, by Signal and by the command; the run waits', async () => {
  const { lab, operator } = own()
  await operator.startRestore()
  const at = await asked('destroy')
  const ana = await signed(at, 'ana', 'ana@example.com')
  assert.ok(replayed !== undefined)
  const another = await signed({ ...at, digest: `${at.plan}${'0'.repeat(56)}` }, 'ana', 'ana@example.com')
  const wrong: [string, Decision, RegExp][] = [
    ['of the run before', { ...replayed, plan: at.plan }, /what was signed is something else/],
    ['of another plan', another, /what was signed is something else/],
    ['of a refusal', { ...ana, decision: 'refuse' }, /what was signed is something else/],
    ['of another time', await signed({ ...at, until: later(at.until) }, 'ana', ana.by), /something else/],
    ['of another namespace', await signed(at, 'ana', ana.by, 'git'), /namespace/],
    ['by a stranger', await signed(at, 'eve', ana.by), /isn't one of an allowed signer/],
    ['by a key whose time is over', await signed(at, 'old', 'old@example.com'), /expired/],
    ['of one for another', { ...ana, by: 'ben@example.com' }, /ana@example\.com signed it/],
    ['that is none', { ...ana, proof: 'yes, I am ana' }, /no SSH signature/],
    ['that is missing', withoutProof(ana), /asks for an SSH signature/],
  ]
  for (const [what, sent, words] of wrong) {
    const answer = await operator.client.workflow
      .getHandle(recoveryWorkflowId(lab.name))
      .executeUpdate<{ counted: boolean; because?: string }, [Decision]>(DECIDE_NOW_UPDATE, { args: [sent] })
    assert.equal(answer.counted, false, what)
    assert.match(answer.because ?? '', words, what)
    await operator.signal(sent)
  }
  const records = await recorded(2 * wrong.length)
  assert.ok(records.every(({ counted, sent }) => !counted && !sent.includes('BEGIN SSH')))

  const eve = await requorum(lab, 'approve', lab.name, '--plan', at.plan, '--sign', '--key', key('eve'))
  assert.equal(eve.code, 3, eve.out + eve.error)
  assert.match(eve.out, /Not counted: .*isn't one of an allowed signer/)
  const still = await asked('destroy')
  assert.deepEqual([still.digest, still.approvedBy], [at.digest, []])
  assert.deepEqual(await state(), untouched)
})

test('two people restore: one by the command, one by hand; and acceptance waits as a Signal for a worker', async (t) => {
  const { lab, operator } = own()
  const at = await asked('destroy')
  const approve = (name: string) =>
    requorum(lab, 'approve', lab.name, '--plan', at.plan, '--sign', '--key', key(name))
  const first = await approve('ana')
  assert.equal(first.code, 0, first.out + first.error)
  t.diagnostic(`signed, verified and counted in ${first.seconds.toFixed(1)} s`)
  const again = await approve('ana-phone')
  assert.equal(again.code, 3, again.out + again.error)
  assert.match(again.out, /ana@example\.com has approved already/)
  await byHand(at, 'ben', 'ben@example.com')

  const atAccept = await asked('accept')
  await killWorker(lab.dir)
  await byHand(atAccept, 'ana', 'ana@example.com')
  const silent = await requorum(
    lab,
    'approve',
    lab.name,
    '--plan',
    atAccept.plan,
    '--sign',
    '--key',
    key('ana'),
  )
  assert.equal(silent.code, 5, silent.out + silent.error)
  assert.match(silent.error, /A Signal waits for a worker/)
  await startWorker(lab.dir, () => undefined)

  const verdict = verdictOf(await operator.result())
  assert.equal(verdict.outcome, 'restored')
  assert.deepEqual(
    verdict.approvals.map(({ by }) => by),
    [['ana@example.com', 'ben@example.com'], ['ana@example.com']],
  )
  assert.deepEqual(differences(contents, await readAll(lab.hosts)), [])
  const log = readFileSync(join(lab.dir, 'engine/worker.log'), 'utf8')
  assert.ok(!log.includes('BEGIN SSH SIGNATURE'), 'no proof is in the log')
  assert.match(
    await temporal(lab, ['workflow', 'describe', '--workflow-id', recoveryWorkflowId(lab.name)]),
    /COMPLETED/i,
  )
})

/** The manifests, and what a recovery would have set aside or written down. */
function state(): Promise<unknown> {
  const { lab } = own()
  return everyHost(lab, async (host) => [
    await fileText(lab, host, '/etc/kubernetes/manifests/etcd.yaml'),
    await matches(lab, host, '/var/lib/etcd.* /var/lib/requorum/recoveries/*'),
  ])
}

async function asked(name: string): Promise<WaitingCheckpoint> {
  const waiting = await own().operator.untilCheckpoint(name)
  assert.ok(waiting, `it asks at ${name}`)
  return waiting
}

/** What a person with this key signs to approve, and sends. */
async function signed(
  at: WaitingCheckpoint,
  name: string,
  by: string,
  namespace = 'requorum-consent',
): Promise<Decision> {
  const { lab, operator } = own()
  const consent: StatedConsent = {
    cluster: lab.name,
    workflowId: recoveryWorkflowId(lab.name),
    runId: (await operator.progress()).runId,
    checkpoint: at.name,
    decision: 'approve',
    digest: planDigest.parse(at.digest),
    until: at.until,
  }
  const args = ['-q', '-Y', 'sign', '-n', namespace, '-f', key(name)]
  const { stdout, status, stderr } = spawnSync('ssh-keygen', args, {
    input: consentStatement(consent),
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
  return { checkpoint: at.name, decision: 'approve', plan: at.plan, by, proof: stdout }
}

/** Types what the checkpoint shows to somebody without requorum, with a key and a name filled in. */
async function byHand(at: WaitingCheckpoint, name: string, by: string): Promise<void> {
  const [, commands = ''] = at.approve.split('# or, without requorum:\n')
  const mine = commands.replaceAll('~/.ssh/id_ed25519', key(name)).replaceAll('YOUR-NAME', by)
  await typed(own().lab, `cd ${mkdtempSync(join(keys, 'by-hand-'))}\n${mine}`)
}

async function recorded(count: number): Promise<readonly DecisionRecord[]> {
  for (const deadline = Date.now() + 60_000; ;) {
    const { decisions, decisionsSeen } = await own().operator.progress()
    if (decisionsSeen >= count) return decisions
    assert.ok(Date.now() < deadline, `${decisionsSeen} of ${count} decisions were recorded`)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

function withoutProof({ checkpoint, decision, plan, by }: Decision): Decision {
  return { checkpoint, decision, plan, by }
}

function later(time: string): string {
  return new Date(Date.parse(time) + 60_000).toISOString()
}

function ssh(...args: readonly string[]): void {
  const { status, stderr } = spawnSync('ssh-keygen', args, { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
}
