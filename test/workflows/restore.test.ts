import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { NAMES } from '../unit/examples.ts'
import { Engine } from './engine.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

const KUBEADM = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler']

describe('a restore', () => {
  test('does its steps in this order', async () => {
    const model = engine.cluster()
    const run = await engine.restore(model)
    const verdict = await run.approveAll()
    assert.deepEqual(model.outline(), [
      'loadCluster',
      'surveyNode ×3',
      'readCatalogue',
      'lockNode ×3',
      'stageSnapshot: daily/snapshot-20261122T020000Z.db ×3',
      'proveConsent: ana',
      'pauseBackups',
      'settleBackups',
      'surveyNode ×3',
      'writeJournal ×3',
      'performAction: stop-pods etcd ×3',
      'performAction: set-aside ×3',
      'performAction: restore ×3',
      // One by one: each serves its peers before the next begins.
      ...['performAction: start-etcd', 'awaitPeerPort'],
      ...['performAction: start-etcd', 'awaitPeerPort'],
      ...['performAction: start-etcd', 'awaitPeerPort'],
      'awaitRestoredCluster',
      'disarmAndProbe',
      'validateCluster',
      'markRecovery: opened ×3',
      'recordLineage',
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
      'unstageSnapshot ×3',
      'unlockNode ×3',
      'proveConsent: ana',
    ])
    assert.equal(verdict.outcome, 'restored')
    assert.equal(verdict.candidate?.key, 'daily/snapshot-20261122T020000Z.db')
    assert.match(verdict.freshBackup ?? '', /^daily\//)
    assert.deepEqual(verdict.warnings, [])
    assert.deepEqual(
      verdict.setAside.map(({ node }) => node),
      NAMES,
    )
    assert.deepEqual(
      verdict.approvals.map(({ checkpoint, by }) => [checkpoint, by]),
      [
        ['destroy: approved', ['ana']],
        ['accept: approved', ['ana']],
      ],
    )
    for (const node of model.nodes.values()) {
      assert.match(node.data ?? '', /^restored requorum-t1-/)
      assert.equal(node.lock, null)
      assert.deepEqual([...node.staged], [])
    }
    assert.equal(model.schedule?.paused, false)
  })

  test('records of each consent which plan it was about', async () => {
    const run = await engine.restore(engine.cluster())
    const plan = await run.checkpoint('destroy')
    await run.decide(plan, 'approve')
    const accepted = await run.checkpoint('accept')
    await run.decide(accepted, 'approve')
    const { approvals } = await run.verdict()
    assert.deepEqual(
      approvals.map(({ checkpoint, plan: digest }) => [checkpoint, digest]),
      [
        ['destroy: approved', plan.digest],
        ['accept: approved', accepted.digest],
      ],
    )
    assert.notEqual(plan.digest, accepted.digest)
  })

  test('on kubeadm nodes ends the API servers first and opens with them last', async () => {
    const model = engine.cluster({ pods: KUBEADM })
    await (await engine.restore(model)).approveAll()
    assert.deepEqual(
      model.outline().filter((line) => line.startsWith('performAction')),
      [
        'performAction: stop-pods kube-apiserver kube-controller-manager kube-scheduler etcd ×3',
        'performAction: set-aside ×3',
        'performAction: restore ×3',
        ...['performAction: start-etcd', 'performAction: start-etcd', 'performAction: start-etcd'],
        'performAction: remove-leases',
        'performAction: start-pods kube-apiserver ×3',
        'performAction: start-pods kube-controller-manager kube-scheduler ×3',
      ],
    )
    const at = (activity: string) => model.calls.findIndex((call) => call.activity === activity)
    const opens = model.calls.findIndex(({ what }) => what === 'start-pods kube-apiserver')
    assert.ok(at('disarmAndProbe') < opens, 'a write has gone through before clients come back')
    assert.ok(at('validateCluster') < opens, 'and what is there is what the snapshot promised')
  })

  test('is a barrier at each step: no node begins the next before all have ended this one', async () => {
    const model = engine.cluster({ pods: KUBEADM })
    await (await engine.restore(model)).approveAll()
    const steps = model.calls.filter(({ activity }) => activity === 'performAction')
    let working = ''
    const ended = new Set<string>()
    for (const { what, node, phase } of steps) {
      if (phase === 'begins' && what !== working) {
        // One member takes the leases out for all.
        const all = working === 'remove-leases' ? 1 : 3
        assert.ok(working === '' || ended.size === all, `${what} began while ${working} was under way`)
        working = what
        ended.clear()
      }
      if (phase === 'ends') ended.add(node ?? '')
    }
  })

  test('writes a journal on every node before anything is touched, that names the approved plan', async () => {
    const model = engine.cluster()
    const run = await engine.restore(model)
    const { digest } = await run.checkpoint('destroy')
    await run.approveAll()
    for (const [name, node] of model.nodes) {
      assert.ok(node.journal?.includes(`node ${name}`))
      assert.ok(node.journal?.includes(`plan ${digest}`))
    }
    const journal = model.calls.findLastIndex(
      ({ activity, phase }) => activity === 'writeJournal' && phase === 'ends',
    )
    assert.ok(journal < model.calls.findIndex(({ activity }) => activity === 'performAction'))
  })

  test('takes the snapshot that is named, and no other', async () => {
    const model = engine.cluster()
    const run = await engine.restore(model, { snapshot: 'daily/snapshot-20261121T200000Z.db' })
    assert.equal((await run.approveAll()).candidate?.key, 'daily/snapshot-20261121T200000Z.db')
    assert.equal(model.begun('stageSnapshot').length, 3)

    const other = engine.cluster()
    for (const [snapshot, code] of [
      ['daily/snapshot-19990101T000000Z.db', 'no-candidate'],
      ['../daily/x.db', 'input-invalid'],
    ] as const) {
      const failure = await (await engine.restore(other, { snapshot })).failure()
      assert.equal(failure.code, code)
    }
    assert.equal(other.begun('stageSnapshot').length, 0)
    for (const node of other.nodes.values()) assert.equal(node.lock, null)
  })

  test('is told to the person who waits: the plan, and the commands to decide', async () => {
    const model = engine.cluster()
    const run = await engine.restore(model)
    const waiting = await run.checkpoint('destroy')
    assert.match(waiting.shows, /Restores t\d+ from `daily\/snapshot-20261122T020000Z\.db`/)
    assert.ok(waiting.approve.includes(`requorum approve ${model.name} --plan ${waiting.plan}`))
    assert.ok(
      waiting.approve.includes(`temporal workflow signal --workflow-id recovery/${model.name} --name decide`),
    )
    await run.decide(waiting, 'refuse')
    await run.end()
  })
})

describe('a restore ends before anything is locked', () => {
  const untouched = (model: ReturnType<typeof engine.cluster>) => {
    for (const activity of [
      'lockNode',
      'stageSnapshot',
      'performAction',
      'pauseBackups',
      'writeJournal',
    ] as const) {
      assert.equal(model.begun(activity).length, 0, activity)
    }
  }

  test('under another workflow ID, in its first task, with the right command', async () => {
    const model = engine.cluster()
    const end = await engine.run('restoreQuorum', `by-hand-${model.name}`, { cluster: model.name })
    assert.equal(end.ended, 'failed')
    assert.ok(end.ended === 'failed' && end.code === 'wrong-workflow-id')
    assert.ok(
      end.message.includes(`--workflow-id recovery/${model.name} --input '{"cluster":"${model.name}"}'`),
      end.message,
    )
    assert.deepEqual(model.calls, [])
    const { events } = await engine.client.workflow.getHandle(`by-hand-${model.name}`).fetchHistory()
    assert.equal(events?.filter((event) => event.workflowTaskCompletedEventAttributes).length, 1, 'one task')
  })

  test('with an input that names no cluster, whatever it is', async () => {
    const inputs: unknown[][] = [
      [],
      [null],
      ['lab'],
      [42],
      [{}],
      [{ cluster: 7 }],
      [{ cluster: '../etc' }],
      [{ cluster: 'X'.repeat(99) }],
      [['lab']],
    ]
    for (const [index, args] of inputs.entries()) {
      for (const type of ['restoreQuorum', 'backup', 'planRestore']) {
        const end = await engine.run(type, `recovery/odd-${type}-${index}`, ...args)
        assert.ok(
          end.ended === 'failed' && end.code === 'input-invalid',
          `${type} ${JSON.stringify(args)}: ${JSON.stringify(end)}`,
        )
      }
    }
  })

  test('for a cluster that nobody knows', async () => {
    const end = await engine.run('restoreQuorum', 'recovery/nowhere', { cluster: 'nowhere' })
    assert.ok(end.ended === 'failed' && end.code === 'cluster-unknown', JSON.stringify(end))
  })

  test('while the cluster has its quorum', async () => {
    const model = engine.cluster()
    model.quorum = true
    const failure = await (await engine.restore(model)).failure()
    assert.equal(failure.code, 'quorum-holds')
    assert.match(failure.message, /has its quorum.*Nothing was touched/)
    untouched(model)
  })

  test('while a node can’t be reached, which is named', async () => {
    const model = engine.cluster()
    model.seen = (found) =>
      found.node === 'cp-02' ? { node: 'cp-02', reached: false, reason: 'connect ETIMEDOUT' } : found
    const failure = await (await engine.restore(model)).failure()
    assert.equal(failure.code, 'nodes-missing')
    assert.match(failure.message, /cp-02 of t\d+ can't be reached/)
    untouched(model)
  })

  test('nor does one that can’t be reached hide that the others hold the quorum', async () => {
    const model = engine.cluster()
    model.quorum = true
    const seen = model.seen
    model.seen = (found) =>
      found.node === 'cp-02' ? { node: 'cp-02', reached: false, reason: 'connect ETIMEDOUT' } : seen(found)
    const failure = await (await engine.restore(model)).failure()
    assert.equal(failure.code, 'quorum-holds')
    untouched(model)
  })

  test('without etcdutl on a node', async () => {
    const model = engine.cluster()
    model.seen = (found) =>
      found.node === 'cp-03' ? { ...found, tools: { etcdctl: '3.5.16', etcdutl: null } } : found
    const failure = await (await engine.restore(model)).failure()
    assert.equal(failure.code, 'tools-missing')
    assert.match(failure.message, /cp-03/)
    untouched(model)
  })

  test('with an etcdutl that is too old on a node, or an etcd that is older than the snapshot', async () => {
    const tooOld = engine.cluster()
    tooOld.seen = (found) =>
      found.node === 'cp-03' ? { ...found, tools: { etcdctl: '3.5.9', etcdutl: '3.5.9' } } : found
    const failure = await (await engine.restore(tooOld)).failure()
    assert.equal(failure.code, 'versions-unfit')
    assert.match(failure.message, /cp-03: etcdutl 3\.5\.9 doesn't know --bump-revision/)
    assert.match(failure.message, /Do: {2}cp-03: install etcdutl 3\.5\.10 or newer/)
    untouched(tooOld)

    const newer = engine.cluster()
    newer.proved = newer.proved.map((one) => ({ ...one, etcd: { ...one.etcd, version: '3.6.1' } }))
    const refused = await (await engine.restore(newer)).failure()
    assert.equal(refused.code, 'versions-unfit')
    assert.match(refused.message, /is of etcd 3\.6\.1, /)
    assert.match(refused.message, /cp-01, cp-02, cp-03: etcd 3\.5\.16 is of an older minor than/)
    assert.match(refused.message, /cp-01, cp-02, cp-03: put the image of etcd 3\.6 into etcd\.yaml/)
    untouched(newer)
  })

  test('when the versions stopped fitting while it waited', async () => {
    const model = engine.cluster()
    const before = model.live()
    const run = await engine.restore(model)
    const waiting = await run.checkpoint('destroy')
    model.seen = (found) => ({ ...found, tools: { etcdctl: '3.5.9', etcdutl: '3.5.9' } })
    await run.decide(waiting, 'approve')
    assert.equal((await run.failure()).code, 'versions-unfit')
    assert.deepEqual(model.live(), before)
    assert.equal(model.begun('performAction').length, 0)
  })
})

describe('a restore lets go of its locks', () => {
  const free = (model: ReturnType<typeof engine.cluster>) => {
    assert.deepEqual(
      [...model.nodes.values()].map(({ lock }) => lock),
      [null, null, null],
    )
  }

  test('when another recovery holds a node, whose lock stays', async () => {
    const model = engine.cluster()
    model.nodes.get('cp-02')!.lock = 'recovery/other/1'
    const failure = await (await engine.restore(model)).failure()
    assert.equal(failure.code, 'lock-held')
    assert.deepEqual(
      [...model.nodes.values()].map(({ lock }) => lock),
      [null, 'recovery/other/1', null],
    )
    assert.equal(model.begun('stageSnapshot').length, 0)
  })

  test('when there is no proved snapshot', async () => {
    const model = engine.cluster()
    model.proved = []
    model.refused = [{ key: 'daily/snapshot-20261122T020000Z.json', reason: 'its version is gone' }]
    const failure = await (await engine.restore(model)).failure()
    assert.equal(failure.code, 'no-candidate')
    assert.match(failure.message, /its version is gone/)
    assert.equal(model.begun('stageSnapshot').length, 0)
    free(model)
  })

  test('when a node has no room, before anything is written', async () => {
    const model = engine.cluster()
    model.seen = (found) => (found.node === 'cp-02' ? { ...found, dataRoomBytes: 1_000_000 } : found)
    const failure = await (await engine.restore(model)).failure()
    assert.equal(failure.code, 'no-space')
    assert.match(failure.message, /cp-02 has 977 KiB free/)
    assert.equal(model.begun('stageSnapshot').length, 0)
    free(model)
  })

  test('when a node’s manifest is empty, and says so instead of hanging', async () => {
    const model = engine.cluster()
    model.nodes.get('cp-02')!.manifests.set('etcd', '')
    const failure = await (await engine.restore(model)).failure()
    assert.equal(failure.code, 'etcd-output-unreadable')
    free(model)
  })

  test('when a cancellation comes while it waits for consent', async () => {
    const model = engine.cluster()
    const before = model.live()
    const run = await engine.restore(model)
    await run.checkpoint('destroy')
    await run.handle.cancel()
    assert.equal((await run.end()).ended, 'cancelled')
    assert.deepEqual(model.live(), before)
    assert.equal(model.begun('performAction').length, 0)
  })
})

describe('candidates', () => {
  test('that are damaged give way to the next, with the reason in the plan and the verdict', async () => {
    const model = engine.cluster()
    model.fail(
      ({ activity, what, node }) =>
        activity === 'stageSnapshot' && what.includes('20261122') && node === 'cp-02',
      {
        code: 'snapshot-damaged',
      },
    )
    const run = await engine.restore(model)
    const waiting = await run.checkpoint('destroy')
    assert.match(waiting.shows, /Restores t\d+ from `daily\/snapshot-20261121T200000Z\.db`/)
    assert.match(
      waiting.shows,
      /Not taken: `daily\/snapshot-20261122T020000Z\.db`: The model fails with snapshot-damaged/,
    )
    const verdict = await run.approveAll()
    assert.equal(verdict.candidate?.key, 'daily/snapshot-20261121T200000Z.db')
    assert.deepEqual(
      verdict.skippedCandidates.map(({ key }) => key),
      ['daily/snapshot-20261122T020000Z.db'],
    )
  })

  test('that could not be proved and are newer are shown too', async () => {
    const model = engine.cluster()
    model.refused = [
      { key: 'daily/snapshot-20261122T080000Z.json', reason: 'the store holds 0 bytes' },
      { key: 'daily/snapshot-20261101T080000Z.json', reason: 'an old story' },
    ]
    const run = await engine.restore(model)
    const waiting = await run.checkpoint('destroy')
    assert.match(
      waiting.shows,
      /Not taken: `daily\/snapshot-20261122T080000Z\.json`: the store holds 0 bytes/,
    )
    assert.doesNotMatch(waiting.shows, /an old story/)
    await run.decide(waiting, 'refuse')
    await run.end()
  })

  test('that are all damaged end the run before anything is touched', async () => {
    const model = engine.cluster()
    const before = model.live()
    model.fail(({ activity }) => activity === 'stageSnapshot', { code: 'snapshot-damaged', times: 6 })
    const failure = await (await engine.restore(model)).failure()
    assert.equal(failure.code, 'no-candidate')
    assert.match(failure.message, /20261122T020000Z.*20261121T200000Z/)
    assert.equal(model.begun('performAction').length, 0)
    assert.deepEqual(model.live(), before)
  })

  test('are not blamed for what a node does', async () => {
    const model = engine.cluster()
    model.fail(({ activity, node }) => activity === 'stageSnapshot' && node === 'cp-03', {
      code: 'host-key-refused',
    })
    const failure = await (await engine.restore(model)).failure()
    assert.equal(failure.code, 'host-key-refused')
    assert.equal(model.begun('stageSnapshot').length, 3, 'no other candidate was tried')
  })
})

describe('the preview of a plan', () => {
  test('touches nothing, and says that a restore would be refused', async () => {
    const model = engine.cluster()
    model.quorum = true
    const end = await engine.run<{ warnings: string[]; shows: string }>('planRestore', `plan/${model.name}`, {
      cluster: model.name,
    })
    assert.ok(end.ended === 'well', JSON.stringify(end))
    assert.match(end.result.warnings[0] ?? '', /a restore would be refused/)
    assert.deepEqual(model.outline(), ['loadCluster', 'surveyNode ×3', 'readCatalogue'])
  })
})
