import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { withFullMemberList } from '../../domain/etcd-manifest.ts'
import type { ReachedNode } from '../../domain/survey.ts'
import { etcdId } from '../../domain/values.ts'
import {
  answering,
  kubeadmManifest,
  MEMBER_IDS,
  MEMBERS,
  NAMES,
  SILENT,
  symptoms,
  unreached,
} from '../unit/examples.ts'
import { Engine } from './engine.ts'
import type { Asked, ModelCluster } from './model-cluster.ts'

let engine: Engine
before(async () => {
  engine = await Engine.start()
})
after(() => engine.stop())

const OTHER_ID = etcdId.parse('9a9a9a9a9a9a9a9a')
const OTHER_URL = 'https://10.0.1.19:2380'
const KUBEADM = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler']

/** The others hold the quorum; the data of cp-03 is gone, and its etcd is down. */
function broken(pods = ['etcd']): ModelCluster {
  const model = engine.cluster({ pods })
  model.quorum = true
  model.seen = (found): ReachedNode => {
    const back = model.nodes.get('cp-03')?.data === 'empty'
    return {
      ...found,
      ...(found.node === 'cp-03' && !back
        ? { member: SILENT, etcdPids: [] }
        : { member: answering(found.node, { members: model.members }) }),
      symptoms: symptoms(),
    }
  }
  return model
}

const doing = (what: string) => (asked: Asked) => asked.what === what
const actions = (model: ModelCluster): string[] =>
  model
    .outline()
    .filter((line) => line.startsWith('performAction'))
    .map((line) => line.replace('performAction: ', ''))

describe('a replacement', () => {
  test('takes a backup, asks, stops, sets aside, removes, and joins as a learner', async () => {
    const model = broken()
    const run = await engine.replace(model)
    const waiting = await run.checkpoint('replace')
    assert.deepEqual(actions(model), [], 'nothing before the consent')
    for (const node of model.nodes.values()) assert.equal(node.lock, null, 'nobody is kept out meanwhile')
    assert.equal(model.schedule?.paused, false, 'and backups go on')
    assert.match(waiting.shows, /Replaces the etcd member of cp-03/)
    assert.match(waiting.shows, /Backup before: `daily\//)
    await run.decide(waiting, 'approve')
    const verdict = await run.verdict()
    assert.deepEqual(actions(model), [
      ...['stop-pods etcd', 'set-aside', 'remove-member', 'add-learner'],
      ...['make-data-dir', 'start-etcd', 'promote-member'],
    ])
    assert.equal(verdict.outcome, 'replaced')
    assert.equal(verdict.removed, MEMBER_IDS[2]!.replace(/^0+/, ''))
    assert.match(verdict.backup, /^daily\//)
    assert.equal(verdict.checks.filter((one) => one.verdict === 'fail').length, 0)
    assert.deepEqual(
      model.members.map(({ name, isLearner }) => `${name} ${isLearner}`),
      ['cp-01 false', 'cp-02 false', 'cp-03 false'],
    )
    for (const node of model.nodes.values()) assert.equal(node.lock, null)
    assert.equal(model.schedule?.paused, false)
    assert.match(
      model.nodes.get('cp-03')?.manifests.get('etcd') ?? '',
      /--initial-cluster=cp-01=.*cp-02=.*cp-03=.*\n.*--initial-cluster-state=existing/,
    )
  })

  test('on a kubeadm node ends its API server too, and starts it when the member has its vote', async () => {
    const model = broken(KUBEADM)
    const run = await engine.replace(model, { node: 'cp-03' })
    await run.decide(await run.checkpoint('replace'), 'approve')
    assert.equal((await run.verdict()).outcome, 'replaced')
    assert.equal(actions(model)[0], 'stop-pods kube-apiserver etcd')
    assert.deepEqual(actions(model).slice(-2), ['promote-member', 'start-pods kube-apiserver'])
  })

  test('without a backup says so in the plan, and goes on only with the consent to that', async () => {
    const model = broken()
    model.fail((asked) => asked.activity === 'storeSnapshot', { code: 'store-refused', times: 9 })
    const run = await engine.replace(model, { node: 'cp-03' })
    const waiting = await run.checkpoint('replace')
    assert.match(waiting.shows, /No backup before/)
    await run.decide(waiting, 'approve')
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'replaced')
    assert.match(verdict.backup, /^none: it failed/)
  })

  for (const [how, outcome] of [
    ['refused', 'refused'],
    ['not answered', 'timed-out'],
  ] as const) {
    test(`${how} touches nothing`, async () => {
      const model = broken()
      const before = model.live()
      const run = await engine.replace(model, { node: 'cp-03' })
      const waiting = await run.checkpoint('replace')
      if (how === 'refused') await run.decide(waiting, 'refuse')
      assert.equal((await run.verdict()).outcome, outcome)
      assert.deepEqual(actions(model), [])
      assert.deepEqual(model.live(), before)
    })
  }

  test('waits for the others to elect a leader, when theirs was the one that broke', async () => {
    const model = broken()
    const seen = model.seen
    let looks = 0
    model.seen = (found) => {
      if (found.node === 'cp-02') looks += 1
      return found.node === 'cp-02' && looks === 1 ? { ...seen(found), member: SILENT } : seen(found)
    }
    const run = await engine.replace(model, { node: 'cp-03' })
    await run.decide(await run.checkpoint('replace'), 'approve')
    assert.equal((await run.verdict()).outcome, 'replaced')
    assert.ok((await run.progress()).steps.some(({ title }) => title === 'Survey nodes (2)'))
  })

  test('whose cluster changed after the approval asks for the new plan', async () => {
    const model = broken()
    const run = await engine.replace(model, { node: 'cp-03' })
    const stale = await run.checkpoint('replace')
    model.members = [...MEMBERS.slice(0, 2)]
    await run.decide(stale, 'approve')
    const fresh = await run.checkpoint('replace', stale)
    assert.match(fresh.shows, /its peers have removed it before/)
    assert.deepEqual(actions(model), [])
    for (const node of model.nodes.values()) assert.equal(node.lock, null)
    assert.equal(model.schedule?.paused, false)
    await run.decide(fresh, 'approve')
    assert.equal((await run.verdict()).outcome, 'replaced')
    assert.ok(!actions(model).includes('remove-member'))
  })
})

describe('a node without its manifest in the kubelet’s directory', () => {
  test('that was fenced: the plan starts from there, and nothing is left there', async () => {
    const model = broken(KUBEADM)
    const node = model.nodes.get('cp-03')!
    for (const [pod, text] of node.manifests) node.fenced.set(pod, text)
    node.manifests.clear()
    const run = await engine.replace(model, { node: 'cp-03' })
    const waiting = await run.checkpoint('replace')
    assert.match(waiting.shows, /kept from starting in `\/var\/lib\/requorum\/fenced\/manifests`/)
    await run.decide(waiting, 'approve')
    assert.equal((await run.verdict()).outcome, 'replaced')
    assert.equal(node.fenced.size, 0)
    assert.deepEqual([...node.manifests.keys()].sort(), KUBEADM)
  })

  test('that was fenced with another one: the other is named, and its absence fails no check', async () => {
    const model = broken(KUBEADM)
    model.members = MEMBERS.slice(0, 1)
    for (const name of ['cp-02', 'cp-03']) {
      const node = model.nodes.get(name)!
      for (const [pod, text] of node.manifests) node.fenced.set(pod, text)
      node.manifests.clear()
    }
    // As a restore onto one node leaves it: small because somebody made it so.
    const one = model.nodes.get('cp-01')!
    one.manifests.set(
      'etcd',
      withFullMemberList(kubeadmManifest('cp-01'), `cp-01=${MEMBERS[0]!.peerUrls[0]!}`),
    )
    model.seen = (found): ReachedNode => ({
      ...found,
      ...(model.nodes.get(found.node)!.fenced.size > 0
        ? { member: SILENT, etcdPids: [] }
        : { member: answering(found.node, { members: model.members }) }),
      symptoms: symptoms(),
    })
    const run = await engine.replace(model, { node: 'cp-03' })
    const waiting = await run.checkpoint('replace')
    assert.match(
      waiting.shows,
      /cp-02 is fenced and will have no member yet: then `requorum replace \S+ cp-02`/,
    )
    await run.decide(waiting, 'approve')
    assert.equal((await run.verdict()).outcome, 'replaced')
    assert.deepEqual(
      model.members.map(({ name }) => name),
      ['cp-01', 'cp-03'],
    )
    assert.ok(model.checksAsked.length > 0)
    for (const { without } of model.checksAsked) assert.deepEqual(without, ['cp-02'])
  })

  test('that was fenced: a failure before the removal fences it again', async () => {
    const model = broken(KUBEADM)
    const node = model.nodes.get('cp-03')!
    for (const [pod, text] of node.manifests) node.fenced.set(pod, text)
    node.manifests.clear()
    const before = model.live()
    model.fail(doing('set-aside'))
    const run = await engine.replace(model, { node: 'cp-03' })
    await run.decide(await run.checkpoint('replace'), 'approve')
    assert.equal((await run.failure()).code, 'replacement-undone')
    assert.deepEqual(model.live(), before)
  })

  /** Made anew under the same name: no manifest, no data. */
  function anew(): ModelCluster {
    const model = broken()
    model.nodes.get('cp-03')!.manifests.clear()
    return model
  }

  test('that was made anew: it gets a helper’s, with its own name and URLs', async () => {
    const model = anew()
    const run = await engine.replace(model, { node: 'cp-03' })
    const waiting = await run.checkpoint('replace')
    assert.match(waiting.shows, /cp-03 has no etcd manifest: it gets that of cp-01/)
    await run.decide(waiting, 'approve')
    assert.equal((await run.verdict()).outcome, 'replaced')
    assert.ok(!actions(model).some((one) => one.startsWith('stop-pods')))
    assert.equal(model.nodes.get('cp-03')!.manifests.get('etcd'), kubeadmManifest('cp-03'))
    assert.match(model.nodes.get('cp-03')!.journal ?? '', /--name=cp-03/)
  })

  test('that was made anew, without certificates: refused with the commands to make them', async () => {
    const model = anew()
    model.certificates = ['/etc/kubernetes/pki/etcd/peer.crt is not there']
    const before = model.live()
    const { code, message } = await (await engine.replace(model, { node: 'cp-03' })).failure()
    assert.equal(code, 'step-refused')
    assert.match(message, /peer\.crt is not there/)
    assert.match(message, /On cp-01: scp -p \/etc\/kubernetes\/pki\/etcd\/ca\.crt .*root@10\.0\.1\.13:/)
    assert.match(message, /kubeadm init phase certs etcd-\$of/)
    assert.deepEqual(model.live(), before)
    assert.equal(model.begun('storeSnapshot').length, 0)
  })

  test('that holds a member’s data: refused, with what to do', async () => {
    const model = anew()
    model.nodes.get('cp-03')!.data = 'data of cp-03'
    const { code, message } = await (await engine.replace(model, { node: 'cp-03' })).failure()
    assert.equal(code, 'step-refused')
    assert.match(message, /If somebody moved the manifest away, move it back/)
  })
})

describe('under another name or address', () => {
  /** cp-02 is to go, and cp-03 is new: it has its certificates and nothing else. */
  function another({ reached: there = true, listed = true } = {}): ModelCluster {
    const model = broken()
    model.nodes.get('cp-03')!.manifests.clear()
    model.members = [
      ...MEMBERS.slice(0, 2),
      { ...MEMBERS[1]!, id: OTHER_ID, name: 'cp-09', peerUrls: [OTHER_URL] },
    ]
    if (!listed) {
      // The old node has left the cluster file before.
      model.members = [...MEMBERS.slice(0, 2), { ...model.members[2]!, name: 'cp-09' }]
    } else {
      model.config = {
        ...model.config,
        nodes: [
          ...model.config.nodes,
          { ...model.config.nodes[1]!, name: 'cp-09', address: '10.0.1.19', peerUrl: OTHER_URL },
        ],
      }
      model.addNode('cp-09')
      const seen = model.seen
      model.seen = (found) =>
        found.node !== 'cp-09'
          ? seen(found)
          : there
            ? {
                ...found,
                member: answering('cp-01', { memberId: OTHER_ID, members: model.members }),
                symptoms: symptoms(),
              }
            : unreached('cp-09')
    }
    return model
  }

  test('the old node is reached: its etcd is stopped, its member goes, the new one joins', async () => {
    const model = another()
    const run = await engine.replace(model, { node: 'cp-03', insteadOf: 'cp-09' })
    const waiting = await run.checkpoint('replace')
    assert.match(waiting.shows, /member cp-09 by cp-03/)
    assert.match(waiting.shows, /On cp-09 etcd end, their manifests are kept/)
    assert.doesNotMatch(waiting.shows, /Whoever approves says/)
    await run.decide(waiting, 'approve')
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'replaced')
    assert.equal(verdict.removed, OTHER_ID)
    assert.deepEqual([...model.nodes.get('cp-09')!.manifests.keys()], [])
    assert.deepEqual(
      model.members.map(({ name }) => name),
      ['cp-01', 'cp-02', 'cp-03'],
    )
    assert.match(verdict.warnings.join(), /take cp-09 out of the cluster file/)
  })

  test('a failure before the removal starts the old one again', async () => {
    const model = another()
    const before = model.live()
    model.fail(doing('set-aside'))
    const run = await engine.replace(model, { node: 'cp-03', insteadOf: 'cp-09' })
    await run.decide(await run.checkpoint('replace'), 'approve')
    assert.equal((await run.failure()).code, 'replacement-undone')
    assert.deepEqual(model.live(), before)
  })

  for (const listed of [true, false]) {
    test(`the old node ${listed ? 'can not be reached' : 'is not in the cluster file'}: whoever approves says that it is off`, async () => {
      const model = another({ reached: false, listed })
      const run = await engine.replace(model, { node: 'cp-03', insteadOf: 'cp-09' })
      const waiting = await run.checkpoint('replace')
      assert.match(
        waiting.shows,
        /Whoever approves says that cp-09 \(https:\/\/10\.0\.1\.19:2380\) is switched off/,
      )
      await run.decide(waiting, 'approve')
      assert.equal((await run.verdict()).outcome, 'replaced')
    })
  }

  test('refused: nobody of that name, a node that has a member of its own, or no node', async () => {
    for (const [input, why] of [
      [{ node: 'cp-03', insteadOf: 'cp-10' }, /its members are cp-01 at .*cp-09 at/],
      [{ node: 'cp-02', insteadOf: 'cp-09' }, /cp-02 has a member of its own/],
      [{ insteadOf: 'cp-09' }, /requorum replace t\d+ NEW-NODE --instead-of cp-09/],
    ] as const) {
      const { code, message } = await (await engine.replace(another(), input)).failure()
      assert.equal(code, 'input-invalid', message)
      assert.match(message, why)
    }
  })
})

describe('a replacement is refused', () => {
  const refusal = async (model: ModelCluster, input: object = {}) => {
    const before = model.live()
    const failure = await (await engine.replace(model, input)).failure()
    assert.deepEqual(actions(model), [])
    assert.deepEqual(model.live(), before)
    return failure
  }

  test('where no member is broken and none is named', async () => {
    const model = engine.cluster()
    model.quorum = true
    model.seen = (found) => ({ ...found, symptoms: symptoms() })
    const { code, message } = await refusal(model)
    assert.equal(code, 'nothing-to-replace')
    assert.match(message, /requorum replace t\d+ NODE/)
  })

  test('where the others do not hold the quorum', async () => {
    const model = broken()
    const seen = model.seen
    model.seen = (found) => (found.node === 'cp-02' ? unreached('cp-02') : seen(found))
    assert.equal((await refusal(model, { node: 'cp-03' })).code, 'quorum-missing')
  })

  test('where the others do not agree', async () => {
    const model = broken()
    model.agreement = { equal: false, evidence: 'cp-01 abc, cp-02 def at revision 48211' }
    const { code, message } = await refusal(model)
    assert.equal(code, 'quorum-missing')
    assert.match(message, /cp-01 abc, cp-02 def/)
  })

  test('of a node that the cluster file does not have, or that can not be reached', async () => {
    assert.equal((await refusal(broken(), { node: 'cp-09' })).code, 'input-invalid')
    const model = broken()
    const seen = model.seen
    model.seen = (found) => (found.node === 'cp-03' ? unreached('cp-03') : seen(found))
    assert.equal((await refusal(model, { node: 'cp-03' })).code, 'nodes-missing')
  })

  test('under another workflow ID, with the right command', async () => {
    const model = broken()
    const end = await engine.run('replaceMember', 'somewhere/else', { cluster: model.name })
    assert.ok(end.ended === 'failed' && end.code === 'wrong-workflow-id')
    assert.match(end.message, /--type replaceMember .*--workflow-id recovery\//)
  })
})

describe('before the member is removed a failure is undone', () => {
  for (const [what, fails] of [
    ['stopping', 'stop-pods etcd'],
    ['setting aside', 'set-aside'],
    ['removing, by every helper', 'remove-member'],
  ] as const) {
    for (const after of fails === 'remove-member' ? [false] : [false, true]) {
      test(`${what}, ${after ? 'with its effect done' : 'before its effect'}`, async () => {
        const model = broken()
        const before = model.live()
        model.fail(doing(fails), { times: 2, after })
        const run = await engine.replace(model, { node: 'cp-03' })
        await run.decide(await run.checkpoint('replace'), 'approve')
        const { code, message } = await run.failure()
        assert.equal(code, 'replacement-undone', message)
        assert.deepEqual(model.live(), before)
        assert.deepEqual(model.members, MEMBERS)
      })
    }
  }

  test('a cancellation too', async () => {
    const model = broken()
    const before = model.live()
    const held = model.hold(doing('set-aside'))
    const run = await engine.replace(model, { node: 'cp-03' })
    await run.decide(await run.checkpoint('replace'), 'approve')
    await held.arrived
    await run.handle.cancel()
    held.release()
    const end = await run.end()
    assert.ok(end.ended === 'cancelled' || (end.ended === 'failed' && end.code === 'cancelled'))
    assert.deepEqual(model.live(), before)
  })
})

describe('after the member is removed there is only forward', () => {
  test('a removal whose answer was lost is not undone', async () => {
    const model = broken()
    model.fail(doing('remove-member'), { times: 2, after: true })
    const run = await engine.replace(model, { node: 'cp-03' })
    await run.decide(await run.checkpoint('replace'), 'approve')
    await run.decide(await run.checkpoint('retry'), 'approve')
    assert.equal((await run.verdict()).outcome, 'replaced')
    assert.ok(!actions(model).includes('put-back'))
  })

  test('one helper that can not tell etcd is not the end: the next does', async () => {
    const model = broken()
    model.fail((asked) => asked.what === 'add-learner' && asked.node === 'cp-01')
    const run = await engine.replace(model, { node: 'cp-03' })
    await run.decide(await run.checkpoint('replace'), 'approve')
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'replaced')
    assert.match(verdict.warnings.join(), /cp-01: The model fails/)
  })

  for (const fails of ['add-learner', 'make-data-dir', 'start-etcd', 'promote-member']) {
    test(`a failure of ${fails} waits for a person and is tried again`, async () => {
      const model = broken()
      model.fail(doing(fails), { times: 2 })
      const run = await engine.replace(model, { node: 'cp-03' })
      await run.decide(await run.checkpoint('replace'), 'approve')
      let waiting = await run.checkpoint('retry')
      assert.match(waiting.shows, /can't go on.*The model fails/)
      await run.decide(waiting, 'approve')
      if (['make-data-dir', 'start-etcd'].includes(fails)) {
        waiting = await run.checkpoint('retry', waiting)
        await run.decide(waiting, 'approve')
      }
      assert.equal((await run.verdict()).outcome, 'replaced')
      assert.ok(!actions(model).includes('put-back'))
    })
  }

  test('when the others have lost their quorum meanwhile, it says so before it tries again', async () => {
    const model = broken()
    model.fail(doing('promote-member'), { times: 2 })
    const held = model.hold(doing('promote-member'))
    const run = await engine.replace(model, { node: 'cp-03' })
    await run.decide(await run.checkpoint('replace'), 'approve')
    await held.arrived
    const seen = model.seen
    model.seen = (found) => (found.node === 'cp-03' ? seen(found) : { ...found, member: SILENT })
    held.release()
    const waiting = await run.checkpoint('retry')
    assert.match(waiting.shows, /The others do not hold the quorum now.*cp-01: context deadline exceeded/)
    model.seen = seen
    await run.decide(waiting, 'approve')
    assert.equal((await run.verdict()).outcome, 'replaced')
  })

  test('a learner that is behind is not asked for by the next helper', async () => {
    const model = broken()
    model.fail(doing('promote-member'), { code: 'learner-behind' })
    const run = await engine.replace(model, { node: 'cp-03' })
    await run.decide(await run.checkpoint('replace'), 'approve')
    await run.decide(await run.checkpoint('retry'), 'approve')
    assert.equal((await run.verdict()).outcome, 'replaced')
    assert.deepEqual(
      model.begun('performAction').flatMap(({ node, what }) => (what === 'promote-member' ? [node] : [])),
      ['cp-01', 'cp-01'],
    )
  })

  test('not tried again it is left, with the verdict unfinished, and the nodes are let go', async () => {
    const model = broken()
    model.fail(doing('promote-member'), { times: 2 })
    const run = await engine.replace(model, { node: 'cp-03' })
    await run.decide(await run.checkpoint('replace'), 'approve')
    await run.decide(await run.checkpoint('retry'), 'refuse')
    const verdict = await run.verdict()
    assert.equal(verdict.outcome, 'unfinished')
    assert.deepEqual(
      verdict.approvals.map(({ checkpoint }) => checkpoint),
      ['replace: approved', 'retry: refused'],
    )
    for (const node of model.nodes.values()) assert.equal(node.lock, null)
    assert.deepEqual(NAMES.length, model.members.length)
  })
})
