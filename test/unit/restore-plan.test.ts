import type { PlanStep } from '../../domain/plan-step.ts'
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { RequorumError, type FailureCode } from '../../domain/failures.ts'
import type { NodeAction } from '../../domain/node-actions.ts'
import {
  digestOf,
  expectedRevision,
  planRestore,
  planSteps,
  revisionBump,
  stepsBeforeOpen,
  undoSteps,
  type RestorePlan,
} from '../../domain/restore-plan.ts'
import type { NodeSurvey, ReachedNode } from '../../domain/survey.ts'
import { planDigest, revision } from '../../domain/values.ts'
import {
  answering,
  clusterConfig,
  FULL_LIST,
  kubeadmManifest,
  NAMES,
  quorumLost,
  reached,
  RECOVERY,
  SILENT,
  snapshotOf,
  unreached,
} from './examples.ts'

const config = clusterConfig()
const snapshot = snapshotOf('2026-11-22T02:00:00.000Z')
const lost = quorumLost()
const plan = planRestore(config, RECOVERY, lost, snapshot)
const KUBEADM_PODS = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler']
const kubeadmPlan = planRestore(config, RECOVERY, quorumLost({ staticPods: KUBEADM_PODS }), snapshot)

/** `stop-pods kube-apiserver`: what is done, without where. */
function verb(action: NodeAction): string {
  const pods = 'pods' in action ? action.pods.map((pod) => (typeof pod === 'string' ? pod : pod.pod)) : []
  return [action.kind, ...pods].join(' ')
}

/** Each step by its verbs, which are the same on every node of these clusters. */
function outline(steps: readonly PlanStep[]): string[] {
  return steps.map((step) => [...new Set(step.actions.map(({ action }) => verb(action)))].join(' | '))
}

function only<Kind extends NodeAction['kind']>(step: PlanStep, kind: Kind) {
  return step.actions.flatMap(({ node, action }) => (isKind(action, kind) ? [{ node, action }] : []))
}

function isKind<Kind extends NodeAction['kind']>(
  action: NodeAction,
  kind: Kind,
): action is Extract<NodeAction, { kind: Kind }> {
  return action.kind === kind
}

function leafPaths(value: object, path: readonly string[] = []): string[][] {
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) =>
    typeof inner === 'object' && inner !== null ? leafPaths(inner, [...path, key]) : [[...path, key]],
  )
}

function objectAt(value: object, key: string): object {
  const inner: unknown = Reflect.get(value, key)
  if (typeof inner === 'object' && inner !== null) return inner
  throw new Error(`${key} holds no object`)
}

describe('a plan', () => {
  test('on nodes with etcd alone stops, sets aside, restores and starts', () => {
    assert.deepEqual(outline(planSteps(plan)), ['stop-pods etcd', 'set-aside', 'restore', 'start-etcd'])
  })

  test('on kubeadm nodes stops what writes before what stores, and opens with the API servers', () => {
    assert.deepEqual(outline(planSteps(kubeadmPlan)), [
      'stop-pods kube-apiserver kube-controller-manager kube-scheduler etcd',
      'set-aside',
      'restore',
      'start-etcd',
      'remove-leases',
      'start-pods kube-apiserver',
      'start-pods kube-controller-manager kube-scheduler',
    ])
    assert.equal(stepsBeforeOpen(kubeadmPlan).length, 4)
  })

  test('is a barrier at every step: all three nodes, or none', () => {
    // One member takes the leases out for all.
    for (const step of planSteps(kubeadmPlan).filter((one) => one !== kubeadmPlan.removeLeases)) {
      assert.deepEqual(
        step.actions.map(({ node }) => node),
        NAMES,
        step.title,
      )
    }
  })

  test('stops API servers everywhere, even where only some nodes have one', () => {
    const mixed = lost.map((node, index) => ({ ...node, staticPods: index === 2 ? ['etcd'] : KUBEADM_PODS }))
    const { stop } = planRestore(config, RECOVERY, mixed, snapshot)
    assert.deepEqual(
      stop.actions.map(({ node, action }) => `${node}: ${verb(action)}`),
      [
        'cp-01: stop-pods kube-apiserver kube-controller-manager kube-scheduler etcd',
        'cp-02: stop-pods kube-apiserver kube-controller-manager kube-scheduler etcd',
        'cp-03: stop-pods etcd',
      ],
    )
  })

  test('kills what keeps nothing, and only that', () => {
    const killed = ({ stop }: RestorePlan) => only(stop, 'stop-pods').map(({ action }) => action.kill)
    assert.deepEqual(
      killed(kubeadmPlan),
      NAMES.map(() => ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler']),
    )
    const odd = lost.map((node) => ({ ...node, staticPods: ['etcd', 'keepalived'] }))
    assert.deepEqual(
      killed(planRestore(config, RECOVERY, odd, snapshot)),
      NAMES.map(() => undefined),
    )
  })

  test('takes out no lease but those of API servers, and none where there are none', () => {
    const [remove] = kubeadmPlan.removeLeases?.actions ?? []
    assert.ok(remove?.action.kind === 'remove-leases')
    assert.deepEqual(remove.action.prefixes, [
      '/registry/masterleases/',
      '/registry/leases/kube-system/apiserver-',
    ])
    assert.equal(plan.removeLeases, undefined)
  })

  test('puts manifests where a reboot leaves them and the kubelet does not look', () => {
    for (const { action } of only(plan.stop, 'stop-pods')) {
      assert.equal(action.to, `/var/lib/requorum/recoveries/${RECOVERY}/manifests`)
      assert.equal(action.from, '/etc/kubernetes/manifests')
    }
  })

  test('moves data beside itself, on the same filesystem, and deletes nothing', () => {
    for (const { action } of only(plan.setAside, 'set-aside')) {
      assert.deepEqual(action, {
        kind: 'set-aside',
        from: '/var/lib/etcd',
        to: '/var/lib/etcd.corrupt.20261122T021400Z',
      })
    }
    const kinds = [...planSteps(kubeadmPlan), ...undoSteps(kubeadmPlan)].flatMap((step) =>
      step.actions.map(({ action }) => action.kind),
    )
    assert.deepEqual([...new Set(kinds)].sort(), [
      'put-back',
      'remove-leases',
      'restore',
      'set-aside',
      'start-etcd',
      'start-pods',
      'stop-pods',
      'withdraw-etcd',
    ])
  })

  test('restores on every node with one token, one bump and one list, each under its own name', () => {
    const restores = only(plan.restore, 'restore')
    for (const key of ['token', 'bump', 'initialCluster', 'sha256', 'file'] as const) {
      assert.equal(new Set(restores.map(({ action }) => action[key])).size, 1, key)
    }
    assert.deepEqual(
      restores.map(({ action }) => action.name),
      NAMES,
    )
    assert.equal(new Set(restores.map(({ action }) => action.peerUrl)).size, 3)
    assert.equal(restores[0]!.action.initialCluster, FULL_LIST)
    assert.ok(restores[0]!.action.token.includes(RECOVERY))
  })

  test('gives owner and mode back as they were, and etcd’s own where the directory is gone', () => {
    const rootless = [
      reached('cp-01', { member: SILENT, dataDir: { ...lost[0]!.dataDir, owner: '1001:1001', mode: '750' } }),
      reached('cp-02', {
        member: SILENT,
        dataDir: { ...lost[0]!.dataDir, exists: false, bytes: 0, owner: '', mode: '' },
      }),
      lost[2]!,
    ]
    const restores = only(planRestore(config, RECOVERY, rootless, snapshot).restore, 'restore')
    assert.deepEqual(
      restores.map(({ action }) => `${action.owner} ${action.mode}`),
      ['1001:1001 750', '0:0 700', '0:0 700'],
    )
  })

  test('says what each node’s new manifest will be, to the byte', () => {
    const starts = only(plan.startEtcd, 'start-etcd')
    assert.equal(new Set(starts.map(({ action }) => action.manifestSha256)).size, 3)
  })

  test('takes directories from the running manifest, not from the cluster file', () => {
    const moved = lost.map((node) => ({
      ...node,
      etcdManifest: kubeadmManifest(node.node).replaceAll('/var/lib/etcd', '/data/etcd'),
      dataDir: { ...node.dataDir, path: '/data/etcd' },
    }))
    assert.deepEqual(
      only(planRestore(config, RECOVERY, moved, snapshot).setAside, 'set-aside').map(
        ({ action }) => action.from,
      ),
      ['/data/etcd', '/data/etcd', '/data/etcd'],
    )
  })
})

describe('a data directory that is not one plain directory is refused', () => {
  const { dataDir } = lost[0]!
  const elsewhere = kubeadmManifest('cp-01').replace('path: /var/lib/etcd', 'path: /data/etcd')
  for (const [what, differs, words] of [
    ['a mount point', { dataDir: { ...dataDir, isMount: true } }, /mount point/],
    ['a symbolic link', { dataDir: { ...dataDir, isLink: true } }, /symbolic link/],
    ['not where it was looked at', { dataDir: { ...dataDir, path: '/srv' } }, /srv was looked at/],
    ['elsewhere on the node', { etcdManifest: elsewhere }, /is \/data\/etcd outside its container/],
  ] as const) {
    test(what, () => {
      const survey = lost.map((node) => (node.node === 'cp-01' ? { ...node, ...differs } : node))
      assert.throws(() => planRestore(config, RECOVERY, survey, snapshot), words)
    })
  }
})

describe('the way back', () => {
  test('is the way there in reverse, without what opens', () => {
    assert.deepEqual(outline(undoSteps(kubeadmPlan)), [
      'withdraw-etcd',
      'put-back',
      'start-pods etcd kube-scheduler kube-controller-manager kube-apiserver',
    ])
    assert.deepEqual(outline(undoSteps(plan)), ['withdraw-etcd', 'put-back', 'start-pods etcd'])
  })

  test('leads from where each step led to, to where it began', () => {
    const [withdraw, putBack, start] = undoSteps(kubeadmPlan)
    for (const [index, { action }] of only(kubeadmPlan.startEtcd, 'start-etcd').entries()) {
      const back = only(withdraw!, 'withdraw-etcd')[index]!.action
      assert.deepEqual([back.from, back.kept], [action.to, action.kept])
    }
    for (const [index, { action }] of only(kubeadmPlan.setAside, 'set-aside').entries()) {
      const back = only(putBack!, 'put-back')[index]!.action
      assert.deepEqual([back.aside, back.dataDir], [action.to, action.from])
      assert.notEqual(back.undone, back.aside)
      assert.notEqual(back.undone, back.dataDir)
    }
    assert.deepEqual(
      only(start!, 'start-pods').map(({ node, action }) => [node, action.pods, action.from, action.to]),
      only(kubeadmPlan.stop, 'stop-pods').map(({ node, action }) => [
        ...[node, action.pods.toReversed(), action.to, action.from],
      ]),
    )
  })

  test('has its own names for its steps, so that no receipt of the way there is taken for one of its own', () => {
    const slug = (title: string) => title.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')
    const titles = [...planSteps(kubeadmPlan), ...undoSteps(kubeadmPlan)].map(({ title }) => slug(title))
    assert.equal(new Set(titles).size, titles.length, titles.join(', '))
  })
})

describe('the digest', () => {
  const digest = (
    survey: readonly NodeSurvey[] = lost,
    of = snapshot,
    recovery = RECOVERY,
    cluster = config,
  ) => digestOf(planRestore(cluster, recovery, survey, of))
  const same = digest()
  const on = (node: string, differs: Partial<ReachedNode>): ReachedNode[] =>
    lost.map((one) => (one.node === node ? { ...one, ...differs } : one))

  test('is the same for the same inputs', () => {
    assert.equal(digest(structuredClone(lost)), same)
    assert.equal(planDigest.parse(same), same)
  })

  test('changes with each thing that will be done', () => {
    const { dataDir } = lost[0]!
    const changed: Record<string, string> = {
      'a pod more is stopped': digest(on('cp-02', { staticPods: ['etcd', 'kube-vip'] })),
      'another snapshot': digest(lost, snapshotOf('2026-11-21T20:00:00.000Z')),
      'another version of the same key': digest(
        lost,
        snapshotOf('2026-11-22T02:00:00.000Z', { versionId: 'other' }),
      ),
      'other bytes': digest(lost, snapshotOf('2026-11-22T02:00:00.000Z', { sha256: 'b'.repeat(64) })),
      'another restore': digest(lost, snapshot, '20261122T021401Z-3fa9c1d2'),
      'another manifest on a node': digest(
        on('cp-03', { etcdManifest: `${lost[2]!.etcdManifest ?? ''}# edited\n` }),
      ),
      'another owner': digest(on('cp-01', { dataDir: { ...dataDir, owner: '1001:1001' } })),
      'another mode': digest(on('cp-01', { dataDir: { ...dataDir, mode: '755' } })),
      'another etcdutl': digest(lost, snapshot, RECOVERY, {
        ...config,
        etcd: { ...config.etcd, etcdutl: '/opt/etcdutl' },
      }),
      'another snapshot directory': digest(
        lost,
        snapshot,
        RECOVERY,
        clusterConfig({ backup: { directory: '/srv/etcd' } }),
      ),
      'another bump': digest(
        on('cp-03', {
          member: answering('cp-03', { healthy: false, members: [], revision: revision.parse('900000000') }),
        }),
      ),
    }
    for (const [what, other] of Object.entries(changed)) assert.notEqual(other, same, what)
    assert.equal(new Set(Object.values(changed)).size, Object.keys(changed).length)
  })

  test('changes with every leaf of the plan, whatever a later version adds to it', () => {
    const leaves = leafPaths(plan)
    const digests = leaves.map((path) => {
      const changed = structuredClone(plan)
      let inner: object = changed
      for (const key of path.slice(0, -1)) inner = objectAt(inner, key)
      const last = path.at(-1)!
      assert.ok(Reflect.set(inner, last, `${String(Reflect.get(inner, last))}x`))
      return digestOf(changed)
    })
    assert.ok(leaves.length > 60, `${leaves.length} leaves`)
    assert.equal(new Set([same, ...digests]).size, leaves.length + 1)
  })

  test('does not change with leader, lag, age, health, room or clocks', () => {
    const flapping = fc.record({
      leader: fc.constantFrom('8e9e05c52164694d', '0000000000000000'),
      applied: fc.nat({ max: 60_000 }).map(String),
      revision: fc.nat({ max: 60_000 }).map(String),
      answers: fc.boolean(),
      bootId: fc.uuid(),
      skew: fc.integer({ min: -5_000, max: 5_000 }),
      room: fc.nat(),
      bytes: fc.nat(),
      pids: fc.array(fc.nat()),
    })
    fc.assert(
      fc.property(fc.tuple(flapping, flapping, flapping), (facts) => {
        const survey = lost.map((node, index): ReachedNode => {
          const fact = facts[index]!
          return {
            ...node,
            bootId: fact.bootId,
            clockSkewMs: fact.skew,
            etcdPids: fact.pids,
            snapshotRoomBytes: fact.room,
            dataRoomBytes: fact.room,
            dataDir: { ...node.dataDir, bytes: fact.bytes },
            lock: fact.answers ? { owner: 'recovery/prod/1', since: '2026-11-22T02:14:00Z' } : null,
            member: fact.answers
              ? answering(node.node, {
                  healthy: false,
                  members: [],
                  raftAppliedIndex: fact.applied,
                  revision: revision.parse(fact.revision),
                })
              : SILENT,
          }
        })
        assert.equal(digest(survey), same)
      }),
      { numRuns: 25 },
    )
  })
})

describe('the revision bump', () => {
  const at = (value: bigint) => revision.parse(value.toString())

  test('is at least 1e9 and twice the known gap, so that no client sees a revision twice', () => {
    const any = fc.bigInt({ min: 1n, max: 2n ** 60n })
    fc.assert(
      fc.property(any, fc.option(any), (taken, live) => {
        const bump = revisionBump(at(taken), live === null ? null : at(live))
        assert.ok(bump >= 1_000_000_000n)
        if (live === null) assert.equal(bump, 1_000_000_000n)
        else {
          assert.ok(bump >= 2n * (live - taken))
          assert.ok(taken + bump > live, 'the restored cluster is ahead of what anybody saw')
        }
      }),
    )
  })

  test('is in the plan and in what is expected after it', () => {
    assert.equal(plan.bump, '1000000000')
    assert.equal(expectedRevision(plan), '1000048000')
    const far = quorumLost().map((node, index) =>
      index === 0
        ? {
            ...node,
            member: answering('cp-01', { healthy: false, members: [], revision: at(9_007_199_254_740_993n) }),
          }
        : node,
    )
    const planned = planRestore(config, RECOVERY, far, snapshot)
    assert.equal(planned.bump, (2n * (9_007_199_254_740_993n - 48_000n)).toString())
  })
})

describe('a cluster that a restore can’t handle is refused before anything is touched', () => {
  const refusal = (survey: readonly NodeSurvey[], code: FailureCode, words: RegExp) => {
    assert.throws(
      () => planRestore(config, RECOVERY, survey, snapshot),
      (error) => error instanceof RequorumError && error.code === code && words.test(error.message),
    )
  }
  const on = (node: string, differs: Partial<ReachedNode>): ReachedNode[] =>
    lost.map((one) => (one.node === node ? { ...one, ...differs } : one))

  test('a node that can’t be reached, by its name', () => {
    refusal(
      [lost[0]!, unreached('cp-02'), lost[2]!],
      'nodes-missing',
      /cp-02 of prod can't be reached.*ETIMEDOUT/s,
    )
    refusal([unreached('cp-01'), unreached('cp-02'), lost[2]!], 'nodes-missing', /cp-01, cp-02/)
  })

  test('a node without etcd’s manifest', () => {
    refusal(on('cp-02', { etcdManifest: null }), 'step-refused', /cp-02: there is no etcd.yaml/)
  })

  test('a node whose manifest is empty or cut', () => {
    refusal(on('cp-02', { etcdManifest: '' }), 'etcd-output-unreadable', /no command list/)
    refusal(
      on('cp-02', { etcdManifest: kubeadmManifest('cp-02').slice(0, 400) }),
      'etcd-output-unreadable',
      /manifest/,
    )
  })

  test('a node whose etcd is another one than the cluster file says', () => {
    refusal(
      on('cp-02', { etcdManifest: kubeadmManifest('cp-03') }),
      'step-refused',
      /cp-02: its etcd advertises https:\/\/10\.0\.1\.13:2380/,
    )
  })

  test('a data directory that is a mount point', () => {
    refusal(on('cp-01', { dataDir: { ...lost[0]!.dataDir, isMount: true } }), 'step-refused', /mount point/)
  })

  test('a WAL directory of its own', () => {
    const apart = kubeadmManifest('cp-01').replace('    - --name=', '    - --wal-dir=/wal\n    - --name=')
    refusal(on('cp-01', { etcdManifest: apart }), 'step-refused', /WAL apart, in \/wal/)
  })
  test('a file in the kubelet’s directory that is loaded whatever its name is', () => {
    refusal(
      on('cp-03', { strayManifests: ['kube-apiserver.yaml.bak'] }),
      'step-refused',
      /cp-03.*kube-apiserver\.yaml\.bak/s,
    )
    planRestore(config, RECOVERY, on('cp-03', { strayManifests: [] }), snapshot)
  })

  test('a member that the snapshot knows and the cluster file does not', () => {
    const four = snapshotOf('2026-11-22T02:00:00.000Z', {
      etcd: {
        ...snapshot.etcd,
        members: [
          ...snapshot.etcd.members,
          { id: '1234567812345678', name: 'cp-04', peerUrls: ['https://10.0.1.14:2380'] },
        ],
      },
    })
    assert.throws(
      () => planRestore(config, RECOVERY, lost, four),
      (error) =>
        error instanceof RequorumError &&
        error.code === 'config-invalid' &&
        /cp-04 at https:\/\/10\.0\.1\.14:2380/.test(error.message),
    )
  })
})
