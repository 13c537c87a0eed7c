import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { fail } from '../../domain/validation/finding.ts'
import { answering, MEMBERS, NAMES } from '../unit/examples.ts'
import { Engine } from './engine.ts'
import type { Asked, ModelCluster } from './model-cluster.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

/** A living cluster in which the alarm NOSPACE stands for cp-02; cp-01 leads. */
function full(): ModelCluster {
  const model = engine.cluster()
  model.quorum = true
  model.outOfSpace = ['cp-02']
  return model
}

async function approved(model: ModelCluster) {
  const run = await engine.relieve(model)
  await run.decide(await run.checkpoint('compact'), 'approve')
  return run
}

const defragments =
  (node: string) =>
  (asked: Asked): boolean =>
    asked.what === 'defragment' && asked.node === node
const defragmented = (model: ModelCluster) =>
  model.calls.filter(({ what, phase }) => what === 'defragment' && phase === 'ends').map(({ node }) => node)
const called = (activity: string) => (asked: Asked) => asked.activity === activity
const locks = (model: ModelCluster) => [...model.nodes.values()].map(({ lock }) => lock)

/** All that may be left behind is a copy, and that only where something was thrown away. */
function letGo(model: ModelCluster, copies: number): void {
  assert.deepEqual(locks(model), [null, null, null])
  assert.equal(model.schedule?.paused, false)
  assert.equal(model.copies.size, copies)
}

function untouched(model: ModelCluster): void {
  assert.equal(model.begun('performAction').length, 0)
  assert.equal(model.begun('disarmSpaceAlarms').length, 0)
  letGo(model, 0)
}

describe('making room', () => {
  test('does its steps in this order, and gives back what is free', async () => {
    const model = full()
    const verdict = await (await approved(model)).verdict()
    const outline = model.outline()
    assert.deepEqual(outline.filter((line) => line.startsWith('runCheck')).sort(), [
      'runCheck: alarms',
      'runCheck: hashes',
      'runCheck: leader',
      'runCheck: members',
      'runCheck: write-probe',
    ])
    // Checks are made side by side.
    assert.deepEqual(
      outline.filter((line) => !line.startsWith('runCheck') || line.endsWith('members')),
      [
        'loadCluster',
        'surveyNode ×3',
        'saveSnapshot',
        'proveConsent: ana',
        'surveyNode ×3',
        'lockNode ×3',
        'pauseBackups',
        'settleBackups',
        'writeJournal ×3',
        'performAction: compact',
        'awaitCompacted',
        ...['awaitCaughtUp', 'performAction: defragment'],
        ...['awaitCaughtUp', 'performAction: defragment'],
        ...['awaitCaughtUp', 'performAction: defragment'],
        'awaitCaughtUp',
        'disarmSpaceAlarms',
        'runCheck: members',
        // The backup that the alarm forbade.
        'loadCluster',
        'surveyNode ×3',
        'saveSnapshot',
        'keyFingerprints',
        'readCatalogue',
        'storeSnapshot: daily',
        'takeInventory',
        'commitSnapshot: daily',
        'keepMonth',
        'releaseSuperseded',
        'pruneLocal',
        'markRecovery: ended ×3',
        'resumeBackups',
        'unlockNode ×3',
      ],
    )
    assert.equal(verdict.outcome, 'freed')
    assert.deepEqual(defragmented(model), ['cp-02', 'cp-03', 'cp-01'])
    assert.deepEqual(
      verdict.members.map(({ node, beforeBytes, afterBytes, gainedBytes, quotaBytes }) => [
        ...[node, beforeBytes, afterBytes, gainedBytes, quotaBytes],
      ]),
      ['cp-02', 'cp-03', 'cp-01'].map((node) => [node, 25_000_000, 5_000_000, 20_000_000, 2 * 1024 ** 3]),
    )
    assert.deepEqual(verdict.disarmed, ['NOSPACE of cp-02'])
    assert.match(verdict.copy?.path ?? '', /^\/var\/lib\/etcd-backups\/before-compaction-.*\.db$/)
    assert.match(verdict.freshBackup ?? '', /^daily\//)
    assert.deepEqual(verdict.warnings, [])
    letGo(model, 1)
  })

  test('shows what each member would give back, what is lost, and where the copy is', async () => {
    const model = full()
    const run = await engine.relieve(model)
    const waiting = await run.checkpoint('compact')
    assert.match(waiting.shows, /\*\*The alarm NOSPACE stands for cp-02: every write is refused\*\*/)
    assert.match(
      waiting.shows,
      /Thrown away: every older version of every key from before revision 1000048100/,
    )
    assert.match(waiting.shows, /before-compaction-.*\.db` on cp-02 \(24 MiB/)
    assert.match(
      waiting.shows,
      /\| cp-01 \| 24 MiB \| 19 MiB \| 4\.8 MiB \| 2\.0 GiB \(1 % taken\) \| leads \|/,
    )
    assert.match(waiting.shows, /\| cp-02 \| .* \| \*\*NOSPACE\*\* \|/)
    // The cluster lives: nothing keeps its backups waiting while a person thinks.
    assert.deepEqual(locks(model), [null, null, null])
    assert.equal(model.schedule?.paused, false)
    await run.decide(waiting, 'refuse')
    assert.equal((await run.verdict()).outcome, 'refused')
    untouched(model)
  })

  test('works as well where no alarm stands', async () => {
    const model = engine.cluster()
    model.quorum = true
    const run = await engine.relieve(model)
    const waiting = await run.checkpoint('compact')
    assert.match(waiting.shows, /No alarm stands; writes go through/)
    await run.decide(waiting, 'approve')
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'freed')
    assert.deepEqual(verdict.disarmed, [])
  })

  test('takes the leader last, whoever leads by then', async () => {
    const model = full()
    const second = model.hold(defragments('cp-02'))
    const run = await approved(model)
    await second.arrived
    model.leads = 'cp-03'
    second.release()
    assert.equal((await run.verdict()).outcome, 'freed')
    assert.deepEqual(defragmented(model), ['cp-02', 'cp-01', 'cp-03'])
  })

  test('says what each step on a node left to do by hand', async () => {
    const model = full()
    await (await approved(model)).verdict()
    const journal = model.nodes.get('cp-01')?.journal ?? ''
    assert.match(journal, /# on cp-02\netcdctl .* compact --physical 1000048100\n/)
    assert.match(journal, /# on cp-03\netcdctl .* defrag\n/)
    assert.match(journal, /alarm disarm/)
    assert.match(journal, /rm \/var\/lib\/requorum\/lock/)
  })
})

describe('making room ends before anything is thrown away', () => {
  test('under any other workflow ID, with the right command', async () => {
    const model = full()
    const end = await engine.run('relieve', `relieve/${model.name}`, { cluster: model.name })
    assert.equal(end.ended === 'failed' ? end.code : '', 'wrong-workflow-id')
    assert.match(end.ended === 'failed' ? end.message : '', /--type relieve .*--workflow-id recovery\/t\d+/)
    assert.deepEqual(model.outline(), [])
  })

  const ill: [string, (model: ModelCluster) => void, RegExp][] = [
    ['without a quorum', (model) => void (model.quorum = false), /cp-01 .*; cp-02 .*; cp-03 /],
    [
      'with a node that can’t be reached',
      (model) => {
        model.seen = (found) =>
          found.node === 'cp-03' ? { node: 'cp-03', reached: false, reason: 'no route' } : found
      },
      /cp-03 can't be reached: no route/,
    ],
    [
      'with a member that lost the others',
      (model) => {
        model.seen = (found) =>
          found.node === 'cp-03'
            ? { ...found, member: answering('cp-03', { healthy: false, members: [] }) }
            : found
      },
      /cp-03 /,
    ],
    [
      'under the alarm CORRUPT',
      (model) => {
        model.seen = (found) => ({
          ...found,
          member: answering(found.node, {
            errors: [`memberID:${BigInt('0xfd422379fda50e48')} alarm:CORRUPT `],
          }),
        })
      },
      /cp-03 etcd’s alarm CORRUPT names this member/,
    ],
    [
      'with a learner',
      (model) => {
        model.seen = (found) =>
          found.node === 'cp-02' ? { ...found, member: answering('cp-02', { isLearner: true }) } : found
      },
      /cp-02 is a learner/,
    ],
    [
      'with a member that the cluster file doesn’t know',
      (model) => {
        const stranger = { ...MEMBERS[0]!, name: 'cp-09', peerUrls: ['https://10.0.1.19:2380'] }
        model.seen = (found) => ({
          ...found,
          member: answering(found.node, { members: [...MEMBERS, stranger] }),
        })
      },
      /cp-09 .* is a member and not in the cluster file/,
    ],
    [
      'with a member far behind',
      (model) => {
        model.seen = (found) =>
          found.node === 'cp-02'
            ? { ...found, member: answering('cp-02', { raftAppliedIndex: '50000' }) }
            : found
      },
      /cp-02 is 10000 entries behind/,
    ],
  ]
  for (const [what, makeIll, words] of ill) {
    test(what, async () => {
      const model = full()
      makeIll(model)
      const failure = await (await engine.relieve(model)).failure()
      assert.equal(failure.code, 'cluster-unhealthy', failure.message)
      assert.match(failure.message, words)
      assert.match(failure.message, /requorum diagnose t\d+/)
      assert.equal(model.begun('saveSnapshot').length, 0)
      untouched(model)
    })
  }

  test('when a member fell ill while a person thought', async () => {
    const model = full()
    const run = await engine.relieve(model)
    const waiting = await run.checkpoint('compact')
    model.seen = (found) =>
      found.node === 'cp-02' ? { node: 'cp-02', reached: false, reason: 'no route' } : found
    await run.decide(waiting, 'approve')
    assert.equal((await run.failure()).code, 'cluster-unhealthy')
    untouched(model)
  })

  test('without room for the new file beside the old one', async () => {
    const model = full()
    model.seen = (found) => (found.node === 'cp-03' ? { ...found, dataRoomBytes: 10_000_000 } : found)
    const failure = await (await engine.relieve(model)).failure()
    assert.equal(failure.code, 'no-space')
    assert.match(failure.message, /cp-03 has 9\.5 MiB free and needs 83 MiB/)
    untouched(model)
  })

  test('while another recovery holds a node', async () => {
    const model = full()
    model.nodes.get('cp-02')!.lock = 'recovery/other/run'
    const failure = await (await engine.relieve(model)).failure()
    assert.equal(failure.code, 'recovery-running')
    assert.equal(model.nodes.get('cp-02')!.lock, 'recovery/other/run')
    assert.equal(model.begun('performAction').length, 0)
  })

  test('when a node was taken by another recovery meanwhile', async () => {
    const model = full()
    const run = await engine.relieve(model)
    const waiting = await run.checkpoint('compact')
    model.fail(called('lockNode'), { code: 'lock-held' })
    await run.decide(waiting, 'approve')
    assert.equal((await run.failure()).code, 'lock-held')
    untouched(model)
  })

  test('without a copy', async () => {
    const model = full()
    model.fail(called('saveSnapshot'), { code: 'snapshot-damaged', times: 3 })
    const failure = await (await engine.relieve(model)).failure()
    assert.equal(failure.code, 'no-source')
    assert.match(failure.message, /cp-02: .*; cp-03: .*; cp-01: /)
    untouched(model)
  })

  test('when nobody answers in time, or the run is cancelled', async () => {
    const late = full()
    assert.equal((await (await engine.relieve(late)).verdict()).outcome, 'timed-out')
    untouched(late)

    const cancelled = full()
    const run = await engine.relieve(cancelled)
    await run.checkpoint('compact')
    await run.handle.cancel()
    assert.equal((await run.end()).ended, 'cancelled')
    untouched(cancelled)
  })

  test('when a wrong plan is approved, it goes on waiting', async () => {
    const model = full()
    const run = await engine.relieve(model)
    const waiting = await run.checkpoint('compact')
    const progress = await run.sendAndSettle([
      { checkpoint: 'compact', decision: 'approve', plan: '00000000', by: 'ana' },
      { checkpoint: 'destroy', decision: 'approve', plan: waiting.plan, by: 'ana' },
    ])
    assert.equal(progress.waiting?.name, 'compact')
    assert.equal(model.begun('performAction').length, 0)
    await run.decide(waiting, 'refuse')
    await run.verdict()
  })
})

describe('the copy', () => {
  test('comes from the next node when the first can’t give one, or has no room', async () => {
    const model = full()
    model.seen = (found) => (found.node === 'cp-02' ? { ...found, snapshotRoomBytes: 1_000_000 } : found)
    model.fail((asked) => asked.activity === 'saveSnapshot' && asked.node === 'cp-03', {
      code: 'snapshot-damaged',
    })
    const run = await approved(model)
    const verdict = await run.verdict()
    assert.equal(verdict.copy?.node, 'cp-01')
    assert.equal(verdict.outcome, 'freed')
    assert.deepEqual([...model.copies.keys()], ['cp-01'])
  })

  test('that did not pass its check is not left behind', async () => {
    const model = full()
    model.fail(called('saveSnapshot'), { code: 'snapshot-damaged', times: 3, after: true })
    assert.equal((await (await engine.relieve(model)).failure()).code, 'no-source')
    untouched(model)
  })

  test('is not asked of a node without etcdutl', async () => {
    const model = full()
    model.seen = (found) => ({ ...found, tools: { etcdctl: '3.5.16', etcdutl: null } })
    const failure = await (await engine.relieve(model)).failure()
    assert.equal(failure.code, 'no-source')
    assert.match(failure.message, /cp-02 has no etcdutl/)
    assert.equal(model.begun('saveSnapshot').length, 0)
  })

  test('is what compaction goes to, and its node is where it is asked for', async () => {
    const model = full()
    await (await approved(model)).verdict()
    const compact = model.begun('performAction').find(({ what }) => what === 'compact')
    assert.equal(compact?.node, 'cp-02')
  })
})

describe('after consent', () => {
  test('a cancellation ends between two members', async () => {
    const model = full()
    const first = model.hold(defragments('cp-02'))
    const run = await approved(model)
    await first.arrived
    await run.handle.cancel()
    await run.progress()
    first.release()
    const failure = await run.failure()
    assert.equal(failure.code, 'cancelled')
    assert.match(failure.message, /between two members\. All of them are well/)
    assert.match(failure.message, /defragmented: cp-02; not: cp-01, cp-03; .* NOSPACE .* may still stand/)
    assert.deepEqual(defragmented(model), ['cp-02'])
    assert.equal(model.outline().filter((line) => line === 'awaitCaughtUp').length, 2)
    letGo(model, 1)
  })

  test('a step whose answer is lost is done again, with the same result', async () => {
    const golden = full()
    const undisturbed = await (await approved(golden)).verdict()
    for (const on of [
      (asked: Asked) => asked.what === 'compact',
      defragments('cp-03'),
      called('awaitCaughtUp'),
      called('awaitCompacted'),
      called('disarmSpaceAlarms'),
      called('writeJournal'),
    ]) {
      const model = full()
      model.fail(on, { code: 'connection-lost', times: 2, after: true })
      const verdict = await (await approved(model)).verdict()
      assert.deepEqual(verdict.members, undisturbed.members)
      assert.equal(verdict.outcome, 'freed')
      letGo(model, 1)
    }
  })

  test('a member that does not come back stops it before the next', async () => {
    const model = full()
    let waits = 0
    model.fail((asked) => asked.activity === 'awaitCaughtUp' && (waits += 1) === 2, {
      code: 'cluster-unhealthy',
    })
    const failure = await (await approved(model)).failure()
    assert.equal(failure.code, 'cluster-unhealthy')
    assert.match(
      failure.message,
      /Also: compacted to revision 1000048100; defragmented: cp-02; not: cp-01, cp-03/,
    )
    assert.deepEqual(defragmented(model), ['cp-02'])
    assert.deepEqual(model.outOfSpace, ['cp-02'], 'the alarm is not cleared')
    letGo(model, 1)
  })

  test('what is too big all the same is told, and no backup is tried', async () => {
    const model = full()
    model.found['write-probe'] = fail('through cp-02 none went: etcdserver: mvcc: database space exceeded')
    const verdict = await (await approved(model)).verdict()
    assert.equal(verdict.outcome, 'still-full')
    assert.equal(verdict.freshBackup, null)
    assert.match(verdict.warnings.join('\n'), /no backup was taken afterwards/)
    assert.equal(model.begun('commitSnapshot').length, 0)
    letGo(model, 1)
  })

  test('members that differ are told', async () => {
    const model = full()
    model.found.hashes = fail('cp-01 a, cp-02 b, cp-03 a at revision 48300')
    assert.equal((await (await approved(model)).verdict()).outcome, 'unhealthy')
  })

  test('a backup that fails is a warning: the room is made', async () => {
    const model = full()
    model.fail(called('storeSnapshot'), { code: 'store-refused' })
    const verdict = await (await approved(model)).verdict()
    assert.equal(verdict.outcome, 'freed')
    assert.equal(verdict.freshBackup, null)
    assert.match(verdict.warnings.join('\n'), /no backup was taken afterwards: The model fails/)
    letGo(model, 1)
  })

  test('two people are asked where the cluster file says so', async () => {
    const model = engine.cluster({ approval: { compact: { people: 2 } } })
    model.quorum = true
    const run = await engine.relieve(model)
    const waiting = await run.checkpoint('compact')
    await run.decide(waiting, 'approve')
    await run.until('the first approval', ({ waiting: at }) => at?.approvedBy.length === 1 || null)
    assert.equal(model.begun('lockNode').length, 0)
    await run.decide(waiting, 'approve', 'ben')
    assert.deepEqual((await run.verdict()).approvals[0]?.by, ['ana', 'ben'])
  })
})

test('all nodes keep what they had: names, data, manifests', async () => {
  const model = full()
  const before = model.live()
  await (await approved(model)).verdict()
  assert.deepEqual(model.live(), before)
  assert.deepEqual([...model.nodes.keys()], NAMES)
})
