import assert from 'node:assert/strict'
import { test } from 'node:test'
import { planRestore, stepsBeforeOpen } from '../../domain/restore-plan.ts'
import { stepsBack, WAYS_BACK } from '../../domain/way-back.ts'
import { clusterConfig, quorumLost, RECOVERY, snapshotOf } from './examples.ts'

const TITLES = { 'start-pods': 'manifests', 'put-back': 'data', 'withdraw-etcd': 'etcd' }
const plan = planRestore(
  clusterConfig(),
  RECOVERY,
  quorumLost({ staticPods: ['etcd', 'kube-apiserver'] }),
  snapshotOf('2026-11-22T02:00:00.000Z'),
)

function reason(way: ReturnType<(typeof WAYS_BACK)['restore']>): string {
  return typeof way === 'string' ? way : `it is taken back by ${way.kind}`
}

test('each action before the cluster is open has a way back of its own, or goes aside with what is put back', () => {
  const before = stepsBeforeOpen(plan).flatMap(({ actions }) => actions.map(({ action }) => action.kind))
  const own = stepsBack(plan.recovery, stepsBeforeOpen(plan), TITLES)
  const back = own.flatMap(({ actions }) => actions.map(({ action }) => action.kind))
  assert.equal(before.length, back.length + plan.restore.actions.length)
  const [restore] = plan.restore.actions
  assert.ok(restore?.action.kind === 'restore')
  const place = { directory: '/r', dataDir: '/d', undone: '/u' }
  assert.match(reason(WAYS_BACK.restore(restore.action, place)), /goes aside when the old data is put back/)
})

test('what lets clients in has none, and says why', () => {
  const [open] = plan.startApiServers.actions
  assert.ok(open?.action.kind === 'start-pods')
  const place = { directory: '/r', dataDir: '/d', undone: '/u' }
  assert.match(reason(WAYS_BACK['start-pods'](open.action, place)), /the cluster is open/)
  assert.deepEqual(stepsBack(plan.recovery, [plan.startApiServers], TITLES), [])
})

test('a static pod that is etcd is stopped again, wherever the way there started it from', () => {
  const start = { kind: 'start-pods', pods: ['etcd'], from: '/kept', to: '/manifests' } as const
  assert.deepEqual(
    WAYS_BACK['start-pods'](start, { directory: '/r', dataDir: '/var/lib/etcd', undone: '/u' }),
    {
      kind: 'withdraw-etcd',
      ...{ kept: '/kept/etcd.yaml', from: '/manifests', to: '/r/manifests.undone', dataDir: '/var/lib/etcd' },
    },
  )
})
