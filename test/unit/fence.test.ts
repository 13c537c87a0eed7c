import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { RequorumError } from '../../domain/failures.ts'
import { isFenced, knocks, refuseAnswering, refuseUnfenced, withoutNodes } from '../../domain/fence.ts'
import { fencedCheck, fenceJournal } from '../../domain/fence-text.ts'
import { judgeReturn, nodesWithoutMember, staleLock, type Around } from '../../domain/fence-watch.ts'
import { acceptMarkdown, journalText, restorePlanMarkdown } from '../../domain/plan-text.ts'
import { digestOf, planRestore, planSteps, undoSteps } from '../../domain/restore-plan.ts'
import { quorumHolds, standsAlone, type NodeSurvey } from '../../domain/survey.ts'
import { withFullMemberList } from '../../domain/etcd-manifest.ts'
import { judgeMembers } from '../../domain/validation/etcd.ts'
import { judgeNodes, judgePods } from '../../domain/validation/workloads.ts'
import {
  answering,
  CLUSTER_ID,
  clusterConfig,
  kubeadmManifest,
  MEMBERS,
  quorumLost,
  reached,
  RECOVERY,
  SILENT,
  snapshotOf,
  unreached,
} from './examples.ts'

const config = clusterConfig()
const snapshot = snapshotOf('2026-11-22T02:00:00.000Z')
const [one, two] = quorumLost()
assert.ok(one && two)
const withoutThird: NodeSurvey[] = [one, two, unreached('cp-03')]
const plan = planRestore(config, RECOVERY, withoutThird, snapshot, ['cp-03'])

const FENCED = { pods: ['etcd', 'kube-apiserver'], etcdManifest: kubeadmManifest('cp-03') }
const fenced = reached('cp-03', {
  member: SILENT,
  etcdPids: [],
  staticPods: [],
  etcdManifest: null,
  fenced: FENCED,
})

function refusal(work: () => unknown): { code: string; message: string } {
  try {
    work()
  } catch (error) {
    if (error instanceof RequorumError) return { code: error.code, message: error.message }
    throw error
  }
  throw new Error('it was not refused')
}

describe('a plan with a node that is off', () => {
  test('does nothing there, and the member list is of the others', () => {
    for (const step of [...planSteps(plan), ...undoSteps(plan)]) {
      assert.deepEqual([...new Set(step.actions.map(({ node }) => node))], ['cp-01', 'cp-02'], step.title)
    }
    assert.equal(plan.initialCluster, 'cp-01=https://10.0.1.11:2380,cp-02=https://10.0.1.12:2380')
    assert.deepEqual(plan.fence, [{ node: 'cp-03', address: '10.0.1.13', peerUrl: 'https://10.0.1.13:2380' }])
  })

  test('is consented to with the node: it is in the digest, whichever order it was stated in', () => {
    const moved = clusterConfig()
    const elsewhere = {
      ...moved,
      nodes: moved.nodes.map((node) => (node.name === 'cp-03' ? { ...node, address: '10.0.9.13' } : node)),
    }
    const other = planRestore(elsewhere, RECOVERY, withoutThird, snapshot, ['cp-03'])
    assert.notEqual(digestOf(other), digestOf(plan))
    const alone = [one, unreached('cp-02'), unreached('cp-03')]
    assert.equal(
      digestOf(planRestore(config, RECOVERY, alone, snapshot, ['cp-03', 'cp-02'])),
      digestOf(planRestore(config, RECOVERY, alone, snapshot, ['cp-02', 'cp-03'])),
    )
    assert.equal('fence' in planRestore(config, RECOVERY, quorumLost(), snapshot), false)
  })

  test('says what whoever approves states, and what happens when it comes back', () => {
    const shows = restorePlanMarkdown(plan, {
      staged: true,
      snapshot,
      survey: withoutThird,
      skipped: [],
      now: '2026-11-22T02:14:00.000Z',
    })
    assert.match(
      shows,
      /Goes on without cp-03 \(10\.0\.1\.13\)\. Whoever approves states that it is switched off/,
    )
    assert.match(shows, /When one of them comes back, its control plane is kept from starting/)
    assert.match(shows, /`requorum replace prod cp-03`/)
    assert.match(shows, /The restored cluster has 2 members, and none of them may fail/)
    const journal = journalText(plan, 'cp-01', '2026-11-22T02:14:00.000Z')
    assert.match(
      journal,
      /## Nodes that it goes on without[\s\S]*- cp-03, 10\.0\.1\.13, https:\/\/10\.0\.1\.13:2380/,
    )
    assert.match(
      journal,
      /mv \/etc\/kubernetes\/manifests\/\$pod\.yaml \/var\/lib\/requorum\/fenced\/manifests\//,
    )
    const [all] = fencedCheck(plan)
    assert.equal(all?.verdict, 'warn')
    assert.match(acceptMarkdown(plan, all ? [all] : []), /cp-03 has no member/)
    assert.deepEqual(fencedCheck(planRestore(config, RECOVERY, quorumLost(), snapshot)), [])
  })
})

describe('a statement that a node is off', () => {
  test('is asked for, with the command that makes it', () => {
    const { code, message } = refusal(() => refuseUnfenced(config, withoutThird, []))
    assert.equal(code, 'nodes-missing')
    assert.match(message, /^cp-03 of prod can't be reached\. Nothing was touched\.$/m)
    assert.match(message, /connect ETIMEDOUT\. What nobody reaches may run: .* could form the old quorum/)
    assert.match(
      message,
      /switch it off or cut it off, be sure of that, and state it: requorum restore prod --off cp-03$/,
    )
    const both = refusal(() =>
      refuseUnfenced(config, [one, unreached('cp-02'), unreached('cp-03')], ['cp-03']),
    )
    assert.match(both.message, /requorum restore prod --off cp-03 --off cp-02$/)
    refuseUnfenced(config, withoutThird, ['cp-03'])
  })

  test('is not believed when SSH reaches it, or anything else of it answers', () => {
    const standing = refusal(() => refuseUnfenced(config, quorumLost(), ['cp-03']))
    assert.equal(standing.code, 'not-fenced')
    assert.match(standing.message, /cp-03 of prod was stated to be off, and SSH reaches it/)
    const [, peers] = knocks(config, ['cp-03'])
    assert.ok(peers)
    const { code, message } = refusal(() => refuseAnswering('prod', [{ ...peers, from: 'cp-01' }]))
    assert.equal(code, 'not-fenced')
    assert.match(message, /cp-01 reaches etcd for its peers of cp-03 at 10\.0\.1\.13:2380/)
    refuseAnswering('prod', [])
  })

  test('is knocked at where SSH and etcd would answer, by IPv6 too', () => {
    assert.deepEqual(
      knocks(config, ['cp-02']).map(({ host, port }) => `${host} ${port}`),
      ['10.0.1.12 22', '10.0.1.12 2380', '10.0.1.12 2379'],
    )
    const six = {
      ...config,
      nodes: config.nodes.map((node) => ({ ...node, peerUrl: 'https://[fd00::2]:2380' })),
    }
    assert.equal(knocks(six, ['cp-02'])[1]?.host, 'fd00::2')
  })

  test('is about a node that there is, and leaves one to restore onto', () => {
    assert.equal(refusal(() => refuseUnfenced(config, withoutThird, ['cp-09'])).code, 'input-invalid')
    const none = ['cp-01', 'cp-02', 'cp-03'].map(unreached)
    const { code, message } = refusal(() => refuseUnfenced(config, none, ['cp-01', 'cp-02', 'cp-03']))
    assert.equal(code, 'nodes-missing')
    assert.match(message, /none to restore onto/)
  })

  test('is needed for one that is fenced since an earlier restore, and believed', () => {
    assert.equal(isFenced(fenced), true)
    assert.equal(isFenced({ ...fenced, etcdPids: [7] }), false)
    const { message } = refusal(() => refuseUnfenced(config, [one, two, fenced], []))
    assert.match(message, /An earlier restore of prod went on without cp-03/)
    assert.match(message, /requorum restore prod --off cp-03$/)
    const again = planRestore(config, RECOVERY, [one, two, fenced], snapshot, ['cp-03'])
    assert.deepEqual(again.targets, plan.targets)
  })

  test('leaves the other nodes of the cluster file as they are', () => {
    assert.deepEqual(withoutNodes(config, ['cp-03']).nodes, config.nodes.slice(0, 2))
  })
})

describe('a node that comes back', () => {
  const members = MEMBERS.slice(0, 2)
  const around: Around = {
    members,
    peerUrl: 'https://10.0.1.13:2380',
    owner: 'fence/prod/1',
    since: '2026-11-22T03:00:00Z',
    previousClusterId: CLUSTER_ID,
    stoppedBefore: false,
  }
  const old = reached('cp-03', { member: SILENT, etcdPids: [9] })
  const lock = (since: string, owner = 'recovery/prod/7') => ({ ...old, lock: { owner, since } })

  test('is stopped when the restored cluster does not list it', () => {
    assert.equal(judgeReturn(unreached('cp-03'), around), 'away')
    assert.equal(judgeReturn(old, around), 'to-fence')
    assert.equal(judgeReturn({ ...old, etcdPids: [] }, around), 'to-fence', 'its manifest is there')
    assert.equal(judgeReturn({ ...old, staticPods: [] }, around), 'to-fence', 'its process is')
    assert.equal(judgeReturn(fenced, around), 'fenced')
    assert.equal(judgeReturn({ ...fenced, staticPods: ['keepalived'] }, around), 'fenced')
    assert.equal(
      judgeReturn({ ...fenced, etcdPids: [11] }, { ...around, stoppedBefore: true }),
      'fenced',
      'another etcd of the node is not meant',
    )
  })

  test('is left alone when it is a member, when a recovery holds it, and when nobody says', () => {
    assert.equal(judgeReturn(old, { ...around, members: MEMBERS }), 'member')
    assert.equal(judgeReturn(lock('2026-11-22T03:30:00Z'), around), 'held')
    assert.equal(judgeReturn(lock('2026-11-22T03:30:00Z', around.owner), around), 'to-fence')
    assert.equal(judgeReturn(old, { ...around, members: null }), 'unknown')
    assert.equal(judgeReturn(fenced, { ...around, members: null }), 'fenced')
    const says = { ...old, member: answering('cp-03', { healthy: false, members: [] }) }
    assert.equal(judgeReturn(says, { ...around, members: null }), 'to-fence', 'it says itself that it is old')
  })

  test('keeps no lock from before the restore', () => {
    assert.equal(staleLock(lock('2026-11-22T02:00:00Z'), around), 'recovery/prod/7')
    assert.equal(judgeReturn(lock('2026-11-22T02:00:00Z'), around), 'to-fence')
    assert.equal(staleLock(lock('2026-11-22T03:30:00Z'), around), null)
    assert.equal(staleLock(lock('whenever'), around), null)
    assert.equal(staleLock(lock('2026-11-22T02:00:00Z'), { since: null }), null)
  })

  test('is found without being named, unless two clusters have a quorum', () => {
    const list = (node: string, more = {}) => reached(node, { member: answering(node, { members, ...more }) })
    assert.deepEqual(nodesWithoutMember(config, [list('cp-01'), list('cp-02'), old]), ['cp-03'])
    const other = list('cp-02', { clusterId: '00c0ffee00c0ffee' })
    assert.equal(refusal(() => nodesWithoutMember(config, [list('cp-01'), other])).code, 'quorum-missing')
    assert.equal(refusal(() => nodesWithoutMember(config, quorumLost())).code, 'quorum-missing')
  })

  test('has a journal with the way back, and the way into the new cluster', () => {
    const text = fenceJournal(
      { cluster: 'prod', node: 'cp-03', manifests: '/etc/kubernetes/manifests' },
      'now',
    )
    assert.match(text, /^requorum replace prod cp-03$/m)
    assert.match(
      text,
      /^mv \/var\/lib\/requorum\/fenced\/manifests\/\*\.yaml \/etc\/kubernetes\/manifests\/$/m,
    )
  })
})

describe('a cluster of fewer members than nodes', () => {
  const alone = (manifest: string) =>
    reached('cp-01', { member: answering('cp-01', { members: MEMBERS.slice(0, 1) }), etcdManifest: manifest })

  test('that a restore made so has its quorum; a first node that was wiped has not', () => {
    const made = withFullMemberList(kubeadmManifest('cp-01'), 'cp-01=https://10.0.1.11:2380')
    assert.equal(standsAlone(alone(made), 3), false)
    assert.equal(quorumHolds([alone(made), unreached('cp-02'), fenced]), true)
    assert.equal(standsAlone(alone(kubeadmManifest('cp-01')), 3), true)
    const fallenOut = reached('cp-02', {
      member: answering('cp-02', { members: MEMBERS.slice(1, 2) }),
      etcdManifest: kubeadmManifest('cp-02'),
    })
    assert.equal(standsAlone(fallenOut, 3), true, 'its manifest lists a member that is not there')
  })

  test('is validated with a warning for each node that is left out, and no failure', () => {
    const seen = ['cp-01', 'cp-02'].map((node) => ({
      node,
      member: answering(node, { members: MEMBERS.slice(0, 2) }),
    }))
    const expected = withoutNodes(config, ['cp-03']).nodes
    assert.equal(judgeMembers(expected, seen, ['cp-03']).verdict, 'warn')
    assert.match(judgeMembers(expected, seen, ['cp-03']).evidence, /cp-03 has no member/)
    const nodes = 'cp-01\tTrue\t\t\ncp-02\tTrue\t\t\ncp-03\tUnknown\tNodeStatusUnknown\t\n'
    assert.equal(judgeNodes(nodes, ['cp-01', 'cp-02'], ['cp-03']).verdict, 'warn')
    assert.equal(judgeNodes(nodes, ['cp-01', 'cp-02']).verdict, 'fail')
    const pods = 'etcd-cp-01\tRunning\t\tTrue\t\t\tcp-01\netcd-cp-03\tRunning\t\tFalse\t\t\tcp-03\n'
    assert.equal(judgePods(pods, ['cp-03']).verdict, 'pass')
    assert.equal(judgePods(pods).verdict, 'fail')
  })
})
