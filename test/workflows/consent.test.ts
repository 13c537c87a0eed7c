import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { WorkflowUpdateFailedError } from '@temporalio/client'
import type { ConsentToProve } from '../../activities/consent.ts'
import { consentStatement } from '../../domain/consent.ts'
import { RequorumError } from '../../domain/failures.ts'
import type { WaitingCheckpoint } from '../../domain/progress.ts'
import { planDigest } from '../../domain/values.ts'
import { Engine } from './engine.ts'
import type { ModelCluster } from './model-cluster.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

const approval = (at: WaitingCheckpoint, by = 'ana') => ({
  checkpoint: at.name,
  decision: 'approve',
  plan: at.plan,
  by,
})

/** Nothing that destroys, and nothing that prepares it, has been asked for. */
function assertUntouched(model: ModelCluster, before: unknown): void {
  for (const activity of ['performAction', 'writeJournal', 'pauseBackups', 'settleBackups'] as const) {
    assert.equal(model.begun(activity).length, 0, activity)
  }
  assert.deepEqual(model.live(), before)
  for (const node of model.nodes.values())
    assert.deepEqual([...node.staged], [], 'the staged copies are removed')
}

describe('at destroy', () => {
  test('a refusal ends the run with nothing touched', async () => {
    const model = engine.cluster()
    const before = model.live()
    const run = await engine.restore(model)
    await run.decide(await run.checkpoint('destroy'), 'refuse', 'ben')
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'refused')
    assert.deepEqual([verdict.setAside, verdict.freshBackup], [[], null])
    assertUntouched(model, before)
  })

  test('silence until the time is over ends the run with nothing touched', async () => {
    const model = engine.cluster({ approval: { destroy: { timeout: '2d' } } })
    const before = model.live()
    const run = await engine.restore(model)
    const { until } = await run.checkpoint('destroy')
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'timed-out')
    const waited = verdict.steps.find(({ title }) => title === 'Checkpoint: destroy')
    assert.ok(waited !== undefined && Math.abs(waited.seconds - 172_800) < 60, String(waited?.seconds))
    assert.ok(until.endsWith('Z'))
    assertUntouched(model, before)
  })

  test('what is no decision about this plan is recorded, changes nothing, and the right one is taken after it', async () => {
    const model = engine.cluster()
    const run = await engine.restore(model)
    const at = await run.checkpoint('destroy')
    const yes = approval(at)
    const wrong: [unknown, RegExp][] = [
      [{ ...yes, plan: 'deadbeef' }, /the plan that waits is [0-9a-f]{8}/],
      [{ ...yes, checkpoint: 'accept' }, /the checkpoint that waits is "destroy"/],
      [{ ...yes, checkpoint: 'open' }, /the checkpoint that waits is "destroy"/],
      [{ ...yes, plan: at.plan.slice(0, 7) }, /malformed: plan/],
      [{ ...yes, decision: 'maybe' }, /malformed: decision/],
      [{ ...yes, force: true }, /malformed/],
      ['approve', /malformed/],
      [null, /malformed/],
      [[yes], /malformed/],
      [{ ...yes, proof: 'x'.repeat(1_000_000) }, /malformed: proof/],
      ['x'.repeat(1_000_000), /malformed/],
    ]
    for (const [sent] of wrong) await run.send(sent)
    const seen = await run.until('all of them', (progress) =>
      progress.decisionsSeen >= wrong.length ? progress : null,
    )
    assert.equal(seen.decisionsSeen, wrong.length)
    assert.equal(seen.waiting?.digest, at.digest)
    for (const [index, [, words]] of wrong.entries()) {
      const record = seen.decisions[index]!
      assert.equal(record.counted, false)
      assert.match(record.because ?? '', words)
      assert.ok(record.sent.length < 350, 'a record is bounded')
    }
    assert.equal(model.begun('performAction').length, 0)
    assert.equal((await run.approveAll()).outcome, 'restored')
  })

  test('bytes that are no JSON do not stop the run', async () => {
    const model = engine.cluster()
    const run = await engine.restore(model)
    const at = await run.checkpoint('destroy')
    await run.sendBytes(Buffer.from('{"checkpoint":'))
    await run.sendBytes(Buffer.from([0xff, 0xfe, 0x00, 0x80]))
    await run.sendBytes(Buffer.alloc(0))
    await run.sendBytes(Buffer.from(JSON.stringify(approval(at))), 'binary/encrypted')
    await run.sendBytes(Buffer.from('protobuf'), 'json/protobuf')
    const seen = await run.until('the bytes', (progress) => (progress.decisionsSeen >= 5 ? progress : null))
    for (const { because, counted } of seen.decisions) {
      assert.equal(counted, false)
      assert.match(because ?? '', /malformed/)
    }
    assert.equal(seen.waiting?.digest, at.digest)
    assert.equal((await run.approveAll()).outcome, 'restored')
  })

  test('a flood of a thousand is counted, the last hundred are kept, and the right one is heard through it', async () => {
    const model = engine.cluster()
    const run = await engine.restore(model)
    const at = await run.checkpoint('destroy')
    const seen = await run.sendAndSettle(
      Array.from({ length: 1000 }, (_, n) => ({ ...approval(at, `bot-${n}`), plan: 'deadbeef' })),
    )
    assert.equal(seen.decisionsSeen, 1000)
    assert.equal(seen.decisions.length, 100)
    assert.equal(seen.waiting?.digest, at.digest)
    assert.equal(model.begun('proveConsent').length, 0)
    assert.equal((await run.approveAll()).outcome, 'restored')
  })

  test('what was sent before anybody was asked does not count later', async () => {
    const model = engine.cluster()
    const held = model.hold(({ activity }) => activity === 'stageSnapshot')
    const run = await engine.restore(model)
    await held.arrived
    const early = { checkpoint: 'destroy', decision: 'approve', plan: '00000000', by: 'ana' }
    const { decisions } = await run.sendAndSettle([early])
    assert.match(decisions[0]?.because ?? '', /no checkpoint is waiting/)
    held.release()
    await run.checkpoint('destroy')
    assert.equal(model.begun('performAction').length, 0)
    assert.equal((await run.approveAll()).outcome, 'restored')
  })

  test('a decision that comes with the start is recorded as too early', async () => {
    const model = engine.cluster()
    const handle = await engine.client.workflow.signalWithStart('restoreQuorum', {
      taskQueue: 'requorum',
      workflowId: `recovery/${model.name}`,
      args: [{ cluster: model.name }],
      signal: 'decide',
      signalArgs: [{ checkpoint: 'destroy', decision: 'approve', plan: '00000000', by: 'ana' }],
    })
    const verdict: unknown = await handle.result()
    assert.ok(
      typeof verdict === 'object' && verdict !== null && Reflect.get(verdict, 'outcome') === 'timed-out',
    )
    assert.equal(model.begun('performAction').length, 0)
  })

  test('an approval for destroy is none for accept', async () => {
    const model = engine.cluster()
    const run = await engine.restore(model)
    const destroy = await run.checkpoint('destroy')
    await run.decide(destroy, 'approve')
    const accept = await run.checkpoint('accept')
    const { decisions } = await run.sendAndSettle([
      approval(destroy),
      { ...approval(destroy), checkpoint: 'accept' },
    ])
    assert.deepEqual(
      decisions.slice(-2).map(({ counted }) => counted),
      [false, false],
    )
    await run.decide(accept, 'approve')
    assert.equal((await run.verdict()).outcome, 'restored')
  })

  test('a proof that can’t be checked counts for nobody, and the run keeps waiting', async () => {
    const model = engine.cluster()
    const run = await engine.restore(model)
    const at = await run.checkpoint('destroy')
    model.fail(({ activity }) => activity === 'proveConsent', { code: 'config-invalid' })
    await run.decide(at, 'approve')
    const seen = await run.until(
      'the record',
      ({ decisions }) => decisions.find(({ because }) => because !== null) ?? null,
    )
    assert.match(seen.because ?? '', /could not be checked/)
    assert.equal((await run.approveAll()).outcome, 'restored')
  })
})

describe('by Update', () => {
  const reasonFor = async (sent: Promise<unknown>): Promise<string> => {
    try {
      return JSON.stringify(await sent)
    } catch (error) {
      if (!(error instanceof WorkflowUpdateFailedError)) throw error
      return `rejected: ${error.cause?.message ?? ''}`
    }
  }

  test('a decision is answered when it counts, and recorded as a Signal is', async () => {
    const model = engine.cluster()
    const run = await engine.restore(model)
    assert.deepEqual(await run.sendNow(approval(await run.checkpoint('destroy'))), { counted: true })
    assert.deepEqual(await run.sendNow(approval(await run.checkpoint('accept'))), { counted: true })
    assert.equal((await run.verdict()).outcome, 'restored')
  })

  test('a decision that ends the run is answered before it ends', async () => {
    for (const decision of ['approve', 'refuse'] as const) {
      const run = await engine.restore(engine.cluster())
      await run.decide(await run.checkpoint('destroy'), 'approve')
      const at = await run.checkpoint('accept')
      assert.deepEqual(await run.sendNow({ ...approval(at), decision }), { counted: true })
      assert.equal((await run.verdict()).outcome, decision === 'approve' ? 'restored' : 'unaccepted')
    }
  })

  test('what changes nothing is answered with its reason, and recorded with the same', async () => {
    const model = engine.cluster({ approval: { destroy: { people: 2 } } })
    const run = await engine.restore(model)
    const at = await run.checkpoint('destroy')
    await run.sendNow(approval(at))
    for (const [sent, words] of [
      [{ ...approval(at), plan: 'deadbeef' }, /the plan that waits is/],
      [{ ...approval(at), checkpoint: 'accept' }, /the checkpoint that waits is "destroy"/],
      [approval(at), /ana has approved already/],
    ] as const) {
      const answer = await run.sendNow(sent)
      assert.ok(!answer.counted)
      assert.match(answer.because, words)
      const { decisions } = await run.progress()
      assert.equal(decisions.at(-1)?.because, answer.because)
    }
    assert.equal((await run.progress()).decisionsSeen, 4)
    await run.decide(at, 'refuse')
    await run.end()
  })

  test('the answer waits for the proof, and says why it does not hold', async () => {
    const model = engine.cluster()
    const run = await engine.restore(model)
    const at = await run.checkpoint('destroy')
    model.hands.proveConsent = async () => ({ refused: 'the key is a stranger’s' })
    const proof = 'S'.repeat(5_000)
    const answer = await run.sendNow({ ...approval(at), proof })
    assert.deepEqual(answer, {
      counted: false,
      because: "its proof doesn't hold: the key is a stranger’s",
    })
    const { decisions, waiting } = await run.progress()
    assert.equal(waiting?.digest, at.digest, 'it still waits')
    assert.deepEqual(
      decisions.map(({ counted, because }) => [counted, because]),
      [[false, answer.because]],
      'one record, with what came of it',
    )
    assert.ok(!decisions[0]!.sent.includes('SSSS') && decisions[0]!.sent.includes('5000 characters'))
    assert.equal(model.begun('performAction').length, 0)
    await run.decide(at, 'refuse')
    await run.end()
  })

  test('a proof that waits in line when the checkpoint ends is answered too', async () => {
    const model = engine.cluster()
    const held = model.hold(({ activity }) => activity === 'proveConsent')
    const run = await engine.restore(model)
    const at = await run.checkpoint('destroy')
    const first = run.sendNow(approval(at))
    await held.arrived
    const second = run.sendNow(approval(at, 'ben'))
    await sleep(300)
    held.release()
    assert.deepEqual(await first, { counted: true })
    assert.match(await reasonFor(second), /destroy.* was over before this was looked at/)
    await run.decide(await run.checkpoint('accept'), 'approve')
    assert.equal((await run.verdict()).outcome, 'restored')
  })

  test('a cancellation while a proof is checked leaves nobody without an answer', async () => {
    const model = engine.cluster()
    const held = model.hold(({ activity }) => activity === 'proveConsent')
    const run = await engine.restore(model)
    const sent = run.sendNow(approval(await run.checkpoint('destroy')))
    await held.arrived
    await run.handle.cancel()
    assert.match(await reasonFor(sent), /was over before this was looked at/)
    // The engine skips no time while an activity is at work.
    held.release()
    assert.equal((await run.end()).ended, 'cancelled')
    assert.equal(model.begun('performAction').length, 0)
  })

  test('what is no decision is rejected with its reason, leaves no trace, and the run goes on', async () => {
    const run = await engine.restore(engine.cluster())
    const at = await run.checkpoint('destroy')
    for (const [sent, words] of [
      [null, /malformed/],
      ['approve', /malformed/],
      [{ ...approval(at), plan: '3fa' }, /malformed: plan/],
      [{ ...approval(at), force: true }, /malformed.*force/],
      [{ ...approval(at), proof: 'x'.repeat(20_001) }, /malformed: proof/],
      [undefined, /malformed/],
    ] as const) {
      assert.match(await reasonFor(run.sendNow(sent)), words)
    }
    await run.updateBytes(Buffer.from('{"checkpoint":')).catch(() => undefined)
    await run.updateBytes(Buffer.from([0xff, 0x00]), 'binary/encrypted').catch(() => undefined)
    assert.equal((await run.progress()).decisionsSeen, 0)
    assert.equal((await run.approveAll()).outcome, 'restored')
    const { events } = await run.handle.fetchHistory()
    assert.ok(!events?.some((event) => event.workflowTaskFailedEventAttributes), 'no workflow task failed')
  })

  test('before anybody is asked it is answered that nothing waits', async () => {
    const model = engine.cluster()
    const held = model.hold(({ activity }) => activity === 'stageSnapshot')
    const run = await engine.restore(model)
    await held.arrived
    const early = { checkpoint: 'destroy', decision: 'approve', plan: '00000000', by: 'ana' }
    assert.deepEqual(await run.sendNow(early), { counted: false, because: 'no checkpoint is waiting' })
    held.release()
    await run.decide(await run.checkpoint('destroy'), 'refuse')
    await run.end()
  })
})

describe('where the policy asks for signatures', () => {
  const signed = { approval: { proof: 'ssh', allowedSigners: 'signers' } }

  test('what is proved is the statement of this run, and the commands to make it are shown', async () => {
    const model = engine.cluster(signed)
    const claims: ConsentToProve[] = []
    model.hands.proveConsent = async (claim) => {
      claims.push(claim)
      return { who: 'ana@example.com' }
    }
    const run = await engine.restore(model)
    const at = await run.checkpoint('destroy')
    assert.equal(at.proof, 'ssh')
    const { runId } = await run.progress()
    const statement = consentStatement({
      cluster: model.name,
      workflowId: `recovery/${model.name}`,
      runId,
      checkpoint: 'destroy',
      decision: 'approve',
      digest: planDigest.parse(at.digest),
      until: at.until,
    })
    assert.ok(at.approve.startsWith(`requorum approve ${model.name} --plan ${at.plan} --sign\n`))
    assert.ok(at.approve.includes(statement))
    assert.ok(at.refuse.includes('decision: refuse\n'))
    await run.sendNow({ ...approval(at), proof: 'a signature' })
    assert.deepEqual(claims, [{ cluster: model.name, statement, by: 'ana', proof: 'a signature' }])
    const { waiting } = await run.progress()
    assert.notEqual(waiting?.name, 'destroy')
    await run.decide(await run.checkpoint('accept'), 'approve')
    assert.deepEqual((await run.verdict()).approvals[0]?.by, ['ana@example.com'])
  })

  test('a recovery that nobody could consent to is refused before anything is looked at', async () => {
    const model = engine.cluster(signed)
    model.hands.loadCluster = async (_cluster, needs) => {
      assert.deepEqual(needs, { consent: true })
      throw new RequorumError('config-invalid', { what: 'Nobody could consent.', todo: 'Mend it.' })
    }
    const run = await engine.restore(model)
    assert.equal((await run.failure()).code, 'config-invalid')
    assert.equal(model.begun('surveyNode').length, 0)
  })

  test('a name that somebody else claims does not keep its owner from approving', async () => {
    const model = engine.cluster({ approval: { ...signed.approval, destroy: { people: 2 } } })
    model.hands.proveConsent = async ({ by, proof }) =>
      proof === `signed by ${by}` ? { who: by } : { refused: 'forged' }
    const run = await engine.restore(model)
    const at = await run.checkpoint('destroy')
    const [forged, real] = await Promise.all([
      run.sendNow({ ...approval(at), proof: 'forged' }),
      run.sendNow({ ...approval(at), proof: 'signed by ana' }),
    ])
    assert.deepEqual([forged.counted, real.counted], [false, true])
    await run.send({ ...approval(at), decision: 'refuse', proof: 'signed by ana' })
    assert.equal((await run.verdict()).outcome, 'refused')
  })
})

describe('where two people are asked for', () => {
  const twoPeople = { approval: { destroy: { people: 2 } } }

  test('the same person twice counts once', async () => {
    const model = engine.cluster(twoPeople)
    const run = await engine.restore(model)
    const at = await run.checkpoint('destroy')
    await run.sendAndSettle([approval(at), approval(at)])
    const first = await run.until('ana', ({ waiting }) => (waiting?.approvedBy.length === 1 ? waiting : null))
    assert.deepEqual(first.approvedBy, ['ana'])
    const { decisions } = await run.sendAndSettle([approval(at)])
    assert.match(decisions.at(-1)?.because ?? '', /ana has approved already/)
    assert.equal(model.begun('performAction').length, 0)

    await run.decide(at, 'approve', 'ben')
    await run.decide(await run.checkpoint('accept'), 'approve')
    const { approvals } = await run.verdict()
    assert.deepEqual(approvals[0]?.by, ['ana', 'ben'])
  })

  test('one alone is not enough until the time is over', async () => {
    const model = engine.cluster(twoPeople)
    const run = await engine.restore(model)
    await run.decide(await run.checkpoint('destroy'), 'approve')
    assert.equal((await run.verdict()).outcome, 'timed-out')
    assert.equal(model.begun('performAction').length, 0)
  })

  test('an approval that comes after the time, while the first is still being proved, comes too late', async () => {
    const model = engine.cluster({ approval: { destroy: { people: 2, timeout: '2s' } } })
    const held = model.hold(({ activity }) => activity === 'proveConsent')
    const run = await engine.restore(model)
    const at = await run.checkpoint('destroy')
    await run.decide(at, 'approve')
    await held.arrived
    // The engine's clock is far ahead and goes on at the pace of ours while nobody waits for the end.
    await sleep(2_500)
    const { decisions } = await run.sendAndSettle([approval(at, 'ben')])
    assert.match(decisions.at(-1)?.because ?? '', /the time was over/)
    held.release()
    assert.equal((await run.verdict()).outcome, 'timed-out')
    assert.equal(model.begun('performAction').length, 0)
  })

  test('one refusal outweighs one approval', async () => {
    const model = engine.cluster(twoPeople)
    const run = await engine.restore(model)
    const at = await run.checkpoint('destroy')
    await run.sendAndSettle([approval(at)])
    await run.decide(at, 'refuse', 'ben')
    assert.equal((await run.verdict()).outcome, 'refused')
  })

  test('the same proof under two names is one person', async () => {
    const model = engine.cluster(twoPeople)
    model.hands.proveConsent = async () => ({ who: 'ana@example.com' })
    const run = await engine.restore(model)
    const at = await run.checkpoint('destroy')
    await run.sendAndSettle([approval(at, 'ana'), approval(at, 'ANA')])
    const { decisions } = await run.until('the record', (progress) =>
      progress.decisions.some(({ because }) => because !== null) ? progress : null,
    )
    assert.match(decisions.at(-1)?.because ?? '', /ana@example.com has approved already/)
    assert.equal((await run.verdict()).outcome, 'timed-out')
    assert.equal(model.begun('performAction').length, 0)
  })
})

describe('a plan that grew stale', () => {
  test('is asked for anew, and the old approval does not count', async () => {
    const model = engine.cluster()
    const run = await engine.restore(model)
    const first = await run.checkpoint('destroy')
    for (const node of model.nodes.values()) node.manifests.set('kube-vip', '# came up meanwhile')
    await run.decide(first, 'approve')
    const second = await run.checkpoint('destroy', first)
    assert.match(second.shows, /kube-vip/)
    assert.equal(model.begun('performAction').length, 0)
    assert.deepEqual(second.approvedBy, [])

    const { decisions } = await run.sendAndSettle([approval(first)])
    assert.match(decisions.at(-1)?.because ?? '', /the plan that waits is/)
    assert.equal(model.begun('performAction').length, 0)

    await run.decide(second, 'approve')
    await run.decide(await run.checkpoint('accept'), 'approve')
    const verdict = await run.verdict()
    assert.equal(verdict.approvals[0]?.plan, second.digest)
    assert.ok(model.outline().includes('performAction: stop-pods kube-vip etcd ×3'))
  })

  test('is not stale for a leader, a lag or an age that changed', async () => {
    const model = engine.cluster()
    const run = await engine.restore(model)
    const at = await run.checkpoint('destroy')
    model.seen = (found) => ({
      ...found,
      bootId: 'other',
      clockSkewMs: 900,
      dataRoomBytes: found.dataRoomBytes - 1_000,
      etcdPids: [7],
    })
    await run.decide(at, 'approve')
    await run.decide(await run.checkpoint('accept'), 'approve')
    assert.equal((await run.verdict()).outcome, 'restored')
    assert.equal(model.begun('proveConsent').length, 2)
  })

  for (const [what, change, code] of [
    ['the quorum is back', (model: ModelCluster) => (model.quorum = true), 'quorum-holds'],
    [
      'a node is gone',
      (model: ModelCluster) =>
        (model.seen = (found) => ({ node: found.node, reached: false, reason: 'no route' })),
      'nodes-missing',
    ],
  ] as const) {
    test(`is dropped with nothing touched when ${what} after the approval`, async () => {
      const model = engine.cluster()
      const before = model.live()
      const run = await engine.restore(model)
      const at = await run.checkpoint('destroy')
      change(model)
      await run.decide(at, 'approve')
      assert.equal((await run.failure()).code, code)
      assert.equal(model.begun('performAction').length, 0)
      assert.deepEqual(model.live(), before)
    })
  }
})
