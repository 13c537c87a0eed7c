import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import fc from 'fast-check'
import { withFullMemberList } from '../../domain/etcd-manifest.ts'
import type { NodeAction } from '../../domain/node-actions.ts'
import { sha256OfText } from '../../domain/plan-step.ts'
import { ACTION_SCRIPTS } from '../../systems/node/action-scripts.ts'
import { kubeadmManifest } from './examples.ts'
import { NO_ISOLATION, NodeOnDisk, SNAPSHOT_BYTES, type Ended, type Killing } from './node-on-disk.ts'

const nodes: NodeOnDisk[] = []
after(() => nodes.forEach((node) => node.remove()))

function freshNode(options: ConstructorParameters<typeof NodeOnDisk>[0] = {}): NodeOnDisk {
  const node = new NodeOnDisk(options)
  nodes.push(node)
  return node
}

function done(ended: Ended): void {
  assert.equal(ended.code, 0, ended.stderr)
}

function refuses(ended: Ended, words: RegExp): void {
  assert.equal(ended.code, 65, `${ended.stdout}${ended.stderr}`)
  assert.match(ended.stderr, words)
}

function kinds(actions: readonly NodeAction[]): string[] {
  return actions.map((action) => action.kind)
}

function action<Kind extends NodeAction['kind']>(
  node: NodeOnDisk,
  kind: Kind,
): Extract<NodeAction, { kind: Kind }> {
  for (const one of [...node.forward, ...node.back]) if (isKind(one, kind)) return one
  throw new Error(`the plan has no ${kind}`)
}

function isKind<Kind extends NodeAction['kind']>(
  one: NodeAction,
  kind: Kind,
): one is Extract<NodeAction, { kind: Kind }> {
  return one.kind === kind
}

/** Where the old data is, if it is whole: law 1 wants it somewhere at every moment. */
function oldDataIsWhole(node: NodeOnDisk): boolean {
  return readdirSync(join(node.root, 'lib')).some(
    (name) =>
      node.exists(`lib/${name}/member/snap/db`) &&
      node.read(`lib/${name}/member/snap/db`) === 'old member/snap/db' &&
      node.read(`lib/${name}/member/wal/0.wal`) === 'old member/wal/0.wal',
  )
}

/** What the kubelet and etcd could meet at any moment: whole manifests, and old data or a whole restore. */
function assertNothingHalfIsInPlace(node: NodeOnDisk): void {
  for (const name of readdirSync(node.manifests).filter((file) => !file.startsWith('.'))) {
    const text = node.read(`manifests/${name}`)
    assert.ok(
      name === 'etcd.yaml'
        ? text.startsWith('apiVersion') && text.endsWith('status: {}\n')
        : /^# .*\n$/.test(text),
      `half of ${name} is where the kubelet looks`,
    )
  }
  if (node.exists('lib/etcd')) {
    assert.ok(
      ['old member/snap/db', SNAPSHOT_BYTES].includes(node.read('lib/etcd/member/snap/db')),
      'half a restore is in place',
    )
    assert.ok(node.exists('lib/etcd/member/wal/0.wal'), 'half a restore is in place')
  }
}

const killing = fc.record<Killing>({
  at: fc.integer({ min: 1, max: 14 }),
  when: fc.constantFrom('before', 'middle', 'after'),
})

describe('the actions of a restore on a node', { skip: NO_ISOLATION }, () => {
  const golden = freshNode()
  const before = golden.state('manifests', 'lib')
  for (const one of golden.forward) done(golden.perform(one))

  test('are these, in this order', () => {
    assert.deepEqual(kinds(golden.forward), [...['stop-pods', 'set-aside', 'restore', 'start-etcd']])
    assert.deepEqual(kinds(golden.back), ['withdraw-etcd', 'put-back', 'start-pods'])
  })

  test('keep the old data and manifests with every byte, mode and time', () => {
    const kept = golden.state(
      'lib/etcd.corrupt.20261122T021400Z',
      golden.recovery.slice(golden.root.length + 1),
    )
    const moved = (path: string) =>
      path.startsWith('lib/etcd')
        ? path.replace('lib/etcd', 'lib/etcd.corrupt.20261122T021400Z')
        : path.replace('manifests', `${golden.recovery.slice(golden.root.length + 1)}/manifests`)
    for (const [path, entry] of Object.entries(before)) {
      if (path === 'lib' || path === 'manifests') continue
      assert.equal(kept[moved(path)], entry, path)
    }
  })

  test('put the restored data in place with the owner and mode of before, and a manifest with all members', () => {
    assert.equal(golden.read('lib/etcd/member/snap/db'), SNAPSHOT_BYTES)
    assert.equal(golden.state('lib/etcd')['lib/etcd'], before['lib/etcd'])
    const [was, is] = [before, golden.state('manifests')].map((state) =>
      state['manifests/etcd.yaml']!.split(' '),
    )
    assert.deepEqual(is!.slice(0, 2), was!.slice(0, 2), 'mode and owner')
    assert.match(
      golden.read('manifests/etcd.yaml'),
      /--initial-cluster=cp-01=[^,]*,cp-02=[^,]*,cp-03=.*\n.*--initial-cluster-state=existing\n/,
    )
    assert.equal(golden.exists('manifests/kube-apiserver.yaml'), false)
  })

  test('hand etcdutl what the plan says', () => {
    const said = golden.read('lib/etcd/member/wal/0.wal')
    const restore = action(golden, 'restore')
    for (const word of [
      `--name=cp-01`,
      `--initial-cluster=${restore.initialCluster}`,
      `--initial-cluster-token=${restore.token}`,
      `--initial-advertise-peer-urls=https://10.0.1.11:2380`,
      `--bump-revision=1000000000`,
      '--mark-compacted',
    ]) {
      assert.ok(said.includes(word), word)
    }
  })

  test('leave a line of each thing done in the log that a person reads', () => {
    const log = golden
      .read(`${golden.recovery.slice(golden.root.length + 1)}/done.log`)
      .trim()
      .split('\n')
    assert.equal(log.length, golden.forward.length)
    for (const line of log) assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ /)
  })

  test('done twice have the effect of once', () => {
    const node = freshNode()
    for (const one of node.forward) {
      done(node.perform(one))
      const once = node.state('manifests', 'lib')
      done(node.perform(one))
      assert.deepEqual(node.state('manifests', 'lib'), once, one.kind)
    }
    assert.deepEqual(node.outcome(), golden.outcome())
    for (const one of node.back) {
      done(node.perform(one))
      const once = node.state('manifests', 'lib')
      done(node.perform(one))
      assert.deepEqual(node.state('manifests', 'lib'), once, one.kind)
    }
  })

  test('can be killed here in the middle of a copy, or the tests below would prove nothing', () => {
    const node = freshNode()
    const ended = node.perform(node.forward[0]!, { kill: { at: 2, when: 'middle' } })
    assert.equal(ended.code, null)
    assert.ok(node.exists('manifests/kube-apiserver.yaml'))
    const kept = join(node.recovery.slice(node.root.length + 1), 'manifests')
    assert.deepEqual(readdirSync(join(node.root, kept)), ['.kube-apiserver.yaml.partial'])
  })

  test('killed anywhere and done again end the same, and nothing half is ever in place', () => {
    const kills = fc.array(killing, { minLength: 1, maxLength: 2 })
    fc.assert(
      fc.property(fc.nat({ max: golden.forward.length - 1 }), kills, (step, kill) => {
        const node = freshNode()
        for (const [index, one] of node.forward.entries()) {
          for (const at of index === step ? kill : []) {
            node.perform(one, { kill: at })
            assertNothingHalfIsInPlace(node)
            assert.ok(oldDataIsWhole(node), 'the old data is nowhere whole')
          }
          done(node.perform(one))
        }
        assert.deepEqual(node.outcome(), golden.outcome())
        node.remove()
      }),
      {
        numRuns: 10,
        examples: [
          [2, [{ at: 4, when: 'middle' }]],
          [3, [{ at: 3, when: 'middle' }]],
        ],
      },
    )
  })

  for (const data of [true, false]) {
    test(`killed anywhere are undone to every byte, mode and time, ${data ? 'with' : 'without'} old data`, () => {
      const undoKill = fc.option(fc.tuple(fc.nat({ max: 3 }), killing))
      fc.assert(
        fc.property(
          fc.nat({ max: golden.forward.length }),
          fc.option(killing),
          undoKill,
          (prefix, kill, killedUndo) => {
            const node = freshNode({ data })
            const original = node.state('manifests', 'lib')
            for (const one of node.forward.slice(0, prefix)) done(node.perform(one))
            const next = node.forward[prefix]
            if (next !== undefined && kill !== null) node.perform(next, { kill })
            for (const [index, one] of node.back.entries()) {
              if (killedUndo?.[0] === index) {
                node.perform(one, { kill: killedUndo[1] })
                if (data) assert.ok(oldDataIsWhole(node))
              }
              done(node.perform(one))
            }
            const now = node.state('manifests', 'lib')
            for (const [path, entry] of Object.entries(original)) assert.equal(now[path], entry, path)
            const more = Object.keys(now).filter((path) => !(path in original))
            assert.deepEqual(
              more.filter(
                (path) =>
                  !/^lib\/etcd\.(undone|restore)\.20261122T021400Z(\/|$)/.test(path) &&
                  !/\/\.[^/]*\.partial$/.test(path),
              ),
              [],
              'only what was restored is left beside it',
            )
            node.remove()
          },
        ),
        {
          numRuns: data ? 10 : 4,
          examples: [
            [golden.forward.length, null, null],
            [0, null, null],
          ],
        },
      )
    })
  }

  test('set aside what an etcd that started late has made where the restored data belongs', () => {
    const node = freshNode()
    for (const one of untilSetAside(node)) done(node.perform(one))
    for (const directory of ['', 'member', 'member/snap']) mkdirSync(join(node.dataDir, directory))
    node.write('lib/etcd/member/snap/db', 'made anew')
    done(node.perform(action(node, 'restore')))
    assert.equal(node.read('lib/etcd/member/snap/db'), SNAPSHOT_BYTES)
    const late = readdirSync(join(node.root, 'lib')).filter((name) => name.startsWith('etcd.late.'))
    assert.equal(late.length, 1, 'nothing is deleted')
    assert.equal(node.read(`lib/${late[0]!}/member/snap/db`), 'made anew')
    for (const one of node.back) done(node.perform(one))
    assert.equal(node.read('lib/etcd/member/snap/db'), 'old member/snap/db')
  })

  test('are refused once the way back has begun, since a worker that slept may still ask for them', () => {
    const node = freshNode()
    const original = node.state('manifests', 'lib')
    for (const one of untilSetAside(node)) done(node.perform(one))
    for (const one of node.back) done(node.perform(one))
    for (const one of node.forward) refuses(node.perform(one), /is being undone/)
    assert.deepEqual(node.state('manifests', 'lib'), original)
  })

  test('undone where nothing was ever done change nothing', () => {
    const node = freshNode()
    const original = node.state('manifests', 'lib')
    for (const one of node.back) done(node.perform(one))
    assert.deepEqual(node.state('manifests', 'lib'), original)
  })
})

/** What is done up to the moment when the data directory is out of the way, that included. */
function untilSetAside(node: NodeOnDisk): readonly NodeAction[] {
  return node.forward.slice(0, node.forward.findIndex(({ kind }) => kind === 'set-aside') + 1)
}

describe('an action refuses a node that isn’t as the plan says', () => {
  const perform = (node: NodeOnDisk, one: NodeAction) => node.perform(one)

  test('stop-pods: a manifest that is gone and was not kept', () => {
    const node = freshNode()
    const stop = { ...action(node, 'stop-pods'), pods: ['kube-scheduler'] }
    refuses(perform(node, stop), /kube-scheduler\.yaml is gone, and nothing of it was kept/)
  })

  test(
    'stop-pods: a manifest that came back different while the first is kept',
    { skip: NO_ISOLATION },
    () => {
      const node = freshNode()
      const stop = action(node, 'stop-pods')
      done(perform(node, stop))
      node.write(`manifests/${stop.pods[0]!}.yaml`, 'somebody else’s\n')
      refuses(perform(node, stop), /both exist and differ/)
      assert.equal(node.read(`manifests/${stop.pods[0]!}.yaml`), 'somebody else’s\n')
    },
  )

  test('set-aside: a place that is taken', () => {
    const node = freshNode()
    node.write('lib/etcd.corrupt.20261122T021400Z', '')
    refuses(perform(node, action(node, 'set-aside')), /both exist/)
    assert.equal(node.read('lib/etcd/member/snap/db'), 'old member/snap/db')
  })

  test('restore: a data directory that is still there', () => {
    const node = freshNode()
    refuses(perform(node, action(node, 'restore')), /lib\/etcd exists already/)
    assert.equal(node.read('lib/etcd/member/snap/db'), 'old member/snap/db')
  })

  test('restore: a file that isn’t the snapshot of the plan', () => {
    const node = freshNode()
    done(perform(node, action(node, 'set-aside')))
    const restore = action(node, 'restore')
    node.write(restore.file.slice(node.root.length + 1), `${SNAPSHOT_BYTES}x`)
    refuses(perform(node, restore), /isn't the snapshot of the plan/)
    assert.equal(node.exists('lib/etcd'), false)
  })

  test('start-etcd: a kept manifest that isn’t the one of the plan', { skip: NO_ISOLATION }, () => {
    const node = freshNode({ pods: ['etcd'] })
    done(perform(node, action(node, 'stop-pods')))
    const start = { ...action(node, 'start-etcd'), manifestSha256: 'f'.repeat(64) }
    refuses(perform(node, start), /the new manifest isn't the one of the plan/)
    assert.equal(node.exists('manifests/etcd.yaml'), false)
  })

  test('start-etcd: where nothing was kept, the plan’s whole manifest, and a directory for it', () => {
    const node = freshNode({ pods: ['etcd'] })
    const start = action(node, 'start-etcd')
    const manifest = withFullMemberList(kubeadmManifest('cp-02'), start.initialCluster)
    rmSync(join(node.root, 'manifests'), { recursive: true })
    const made = { ...start, manifest, manifestSha256: sha256OfText(manifest) }
    done(perform(node, made))
    done(perform(node, made))
    assert.equal(node.read('manifests/etcd.yaml'), manifest)
  })

  test('start-etcd: a manifest that somebody has put there', { skip: NO_ISOLATION }, () => {
    const node = freshNode({ pods: ['etcd'] })
    done(perform(node, action(node, 'stop-pods')))
    node.write('manifests/etcd.yaml', kubeadmManifest('cp-01'))
    refuses(perform(node, action(node, 'start-etcd')), /neither gone nor ours/)
  })

  test(
    'start-pods: a manifest that is neither here nor there, or another one',
    { skip: NO_ISOLATION },
    () => {
      const node = freshNode()
      const stop = node.forward[0]!
      const start = node.back.at(-1)!
      assert.ok(isKind(stop, 'stop-pods') && isKind(start, 'start-pods'))
      done(perform(node, stop))
      node.write('manifests/kube-apiserver.yaml', 'other\n')
      refuses(perform(node, start), /isn't what was kept/)
      refuses(perform(node, { ...start, pods: ['kube-scheduler'] }), /neither .* exists/)
    },
  )

  test('put-back: a place for the restored data that is taken', { skip: NO_ISOLATION }, () => {
    const node = freshNode({ pods: ['etcd'] })
    for (const one of node.forward) done(node.perform(one))
    node.write('lib/etcd.undone.20261122T021400Z', '')
    done(perform(node, action(node, 'withdraw-etcd')))
    refuses(perform(node, action(node, 'put-back')), /both exist/)
    assert.ok(oldDataIsWhole(node))
  })
})

describe('every action', () => {
  for (const [kind, script] of Object.entries(ACTION_SCRIPTS)) {
    test(`${kind} says how it is admitted, executed and verified`, () => {
      // Defined once each, and called by what all of them share only: no action has an order of its own.
      for (const part of ['admit', 'execute', 'verify']) {
        assert.equal(script.match(new RegExp(`^${part}\\(\\) \\{`, 'gm'))?.length, 1, `${part}() of ${kind}`)
        assert.equal(
          script.match(new RegExp(`(^|; then )${part} "\\$@"`, 'gm'))?.length,
          1,
          `${part} is called`,
        )
      }
    })
  }
})

describe('an action looks again', { skip: NO_ISOLATION }, () => {
  test('and is not done when somebody has put a manifest back meanwhile', () => {
    const node = freshNode({ pods: ['etcd', 'rq-pod'] })
    const back = join(node.manifests, 'rq-pod.yaml')
    node.addTool('systemctl', `#!/bin/sh\n[ "$1" != start ] || echo other >${back}\n`)
    const ended = node.perform(action(node, 'stop-pods'))
    assert.equal(ended.code, 75)
    assert.match(ended.stderr, /rq-pod\.yaml is there again/)
    assert.equal(
      node.exists(`${node.recovery.slice(node.root.length + 1)}/done.log`),
      false,
      'nothing is said to be done',
    )
  })

  test('and is not done when etcdutl says that it has restored, and has not', () => {
    const node = freshNode({ pods: ['etcd'] })
    node.addTool(
      'etcdutl',
      '#!/bin/sh\nfor word; do case $word in --data-dir=*) mkdir -p "${word#--data-dir=}" ;; esac; done\n',
    )
    const [stop, aside, restore] = node.forward
    for (const one of [stop!, aside!]) done(node.perform(one))
    for (const attempt of ['the first', 'one that finds it']) {
      const ended = node.perform(restore!)
      assert.equal(ended.code, 75, attempt)
      assert.match(ended.stderr, /holds no database/)
    }
    for (const one of node.back) done(node.perform(one))
    assert.ok(oldDataIsWhole(node))
  })
})

describe('ending what runs', { skip: NO_ISOLATION }, () => {
  /** A program of this name, in the shell's words. */
  const named = (node: NodeOnDisk, name: string, deafTo = ''): string => {
    copyFileSync('/bin/sleep', join(node.root, name))
    return `(trap "" ${deafTo || 'USR1'}; exec ${join(node.root, name)} -- 60)`
  }
  const asked = (node: NodeOnDisk): string[] =>
    node
      .read('systemctl.log')
      .trim()
      .split('\n')
      .filter((line) => !line.startsWith('is-active'))

  for (const pod of ['rq-pod', 'rq-controller-manager']) {
    test(`ends 75 with its number when ${pod} outlives the limit, and goes on when it is gone`, () => {
      const node = freshNode({ pods: ['etcd', pod] })
      const stop = action(node, 'stop-pods')
      const ended = node.perform(stop, { beside: named(node, pod, 'TERM') })
      assert.equal(ended.code, 75, ended.stderr)
      assert.match(ended.stderr, new RegExp(`${pod} still runs after 1 s \\(process \\d+ ?\\)`))
      assert.equal(
        node.exists(`manifests/${pod}.yaml`),
        false,
        'its manifest is out of the kubelet’s sight all the same',
      )
      assert.deepEqual(asked(node), ['stop kubelet', 'start kubelet'], 'the kubelet runs again')
      done(node.perform(stop))
    })
  }

  test('tells what keeps something to end, and kills what keeps nothing', () => {
    const node = freshNode({ pods: ['etcd', 'rq-pod'] })
    const stop = action(node, 'stop-pods')
    done(node.perform(stop, { beside: named(node, 'rq-pod') }))
    done(node.perform({ ...stop, kill: ['rq-pod'] }, { beside: named(node, 'rq-pod', 'TERM') }))
  })

  test('does not wait for one whose name only begins the same', () => {
    const node = freshNode({ pods: ['etcd', 'rq-pod'] })
    done(node.perform(action(node, 'stop-pods'), { beside: named(node, 'rq-pod-other', 'TERM') }))
  })

  test('with the kubelet stopped, and starts it again when it is cut off in the middle', () => {
    const node = freshNode({ pods: ['etcd', 'rq-pod'] })
    const cut = `${named(node, 'rq-pod', 'TERM')} & (sleep 0.7; pkill -TERM dash)`
    const ended = node.perform(action(node, 'stop-pods'), { beside: cut, limitSeconds: 20 })
    assert.equal(ended.code, 75)
    assert.deepEqual(asked(node), ['stop kubelet', 'start kubelet'])
    assert.equal(node.exists(`${node.recovery.slice(node.root.length + 1)}/kubelet-held`), false)
  })

  test('leaves a mark when it is killed in the middle, and the way back starts the kubelet', () => {
    const node = freshNode({ pods: ['etcd', 'rq-pod'] })
    const cut = `${named(node, 'rq-pod', 'TERM')} & (sleep 0.7; pkill -KILL dash)`
    const ended = node.perform(action(node, 'stop-pods'), { beside: cut, limitSeconds: 20 })
    assert.equal(ended.code, null)
    assert.deepEqual(asked(node), ['stop kubelet'])
    done(node.perform(action(node, 'withdraw-etcd')))
    assert.equal(asked(node).at(-1), 'start kubelet')
    assert.equal(node.exists(`${node.recovery.slice(node.root.length + 1)}/kubelet-held`), false)
  })

  test('ends the containers of a pod whose process has another name, and its sandbox', () => {
    const node = freshNode({ pods: ['etcd', 'rq-pod'] })
    node.addTool('crictl', FAKE_CRICTL)
    node.addTool('hostname', '#!/bin/sh\necho node.example\n')
    done(node.perform(action(node, 'stop-pods')))
    assert.deepEqual(node.read('crictl.log').trim().split('\n'), [
      'pods --quiet --state Ready --name ^(rq-pod|etcd)-(cp-01|node.example)$',
      'ps --quiet --pod sandbox-1',
      'stop --timeout 30 container-1 container-2',
      'stopp sandbox-1',
    ])
  })

  test('leaves a kubelet stopped that somebody had stopped before, there and back', () => {
    const node = freshNode({ pods: ['etcd', 'rq-pod'] })
    node.write('kubelet', 'inactive\n')
    for (const one of [...node.forward, ...node.back]) done(node.perform(one))
    assert.ok(!asked(node).includes('start kubelet'))
    assert.match(node.read(`${node.recovery.slice(node.root.length + 1)}/done.log`), /stood still before/)
  })

  test('lets an etcd alone that works on another directory, and what runs in a network of its own', () => {
    const node = freshNode({ pods: ['etcd', 'rq-pod'] })
    copyFileSync('/bin/sleep', join(node.root, 'etcd'))
    copyFileSync('/bin/sleep', join(node.root, 'rq-pod'))
    const others = [
      `(trap "" TERM; exec ${join(node.root, 'etcd')} 60)`,
      `(trap "" TERM; exec unshare --net ${join(node.root, 'rq-pod')} 60)`,
    ]
    for (const beside of others) done(node.perform(action(node, 'stop-pods'), { beside }))
  })

  test('says so when the container runtime does not answer, and does not fail for it', () => {
    const node = freshNode({ pods: ['etcd', 'rq-pod'] })
    node.addTool('crictl', '#!/bin/sh\nexit 1\n')
    const ended = node.perform(action(node, 'stop-pods'))
    done(ended)
    assert.match(ended.stdout, /the container runtime did not answer/)
  })
})

/** What crictl prints for one sandbox with two containers, as its documentation has it. */
const FAKE_CRICTL = `#!/bin/sh
echo "$*" >>"$NODE_ROOT/crictl.log"
case $1 in
  pods) echo sandbox-1 ;;
  ps) printf 'container-1\\ncontainer-2\\n' ;;
esac
`

describe('the way back', { skip: NO_ISOLATION }, () => {
  test('ends the steps of this recovery that are still at work, and no others', () => {
    const node = freshNode({ pods: ['etcd'] })
    done(node.perform(node.forward[0]!))
    node.write(
      'units',
      'requorum-20261122t021400z-3fa9c1d2.restore-the-snapshot-1.service loaded active running Requorum step\n',
    )
    done(node.perform(action(node, 'withdraw-etcd')))
    const asked = node.read('systemctl.log').trim().split('\n')
    assert.match(asked.at(-2)!, /^list-units .* requorum-20261122t021400z-3fa9c1d2\.\*$/)
    assert.equal(asked.at(-1), 'stop requorum-20261122t021400z-3fa9c1d2.restore-the-snapshot-1.service')
  })

  test('keeps the restored data and its manifest beside, since nothing is deleted', () => {
    const node = freshNode({ pods: ['etcd'] })
    for (const one of [...node.forward, ...node.back]) done(node.perform(one))
    assert.equal(node.read('lib/etcd.undone.20261122T021400Z/member/snap/db'), SNAPSHOT_BYTES)
    const undone = `${node.recovery.slice(node.root.length + 1)}/manifests.undone/etcd.yaml`
    assert.match(node.read(undone), /--initial-cluster-state=existing/)
  })
})
