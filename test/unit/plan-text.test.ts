import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, test } from 'node:test'
import { handCommands } from '../../domain/node-actions.ts'
import { journalText, lossOf, planCommands, restorePlanMarkdown } from '../../domain/plan-text.ts'
import { digestOf, planRestore, planSteps, undoSteps } from '../../domain/restore-plan.ts'
import type { ReachedNode } from '../../domain/survey.ts'
import { revision } from '../../domain/values.ts'
import { answering, clusterConfig, MEMBERS, NAMES, quorumLost, RECOVERY, snapshotOf } from './examples.ts'

const config = clusterConfig()
const snapshot = snapshotOf('2026-11-22T02:00:00.000Z')
const NOW = '2026-11-22T02:14:00.000Z'
const lost = quorumLost({ staticPods: ['etcd', 'kube-apiserver', 'kube-scheduler'] })
const plan = planRestore(config, RECOVERY, lost, snapshot)
const survivor = (of: string, differs: Partial<ReachedNode> = {}): ReachedNode[] =>
  lost.map((node) =>
    node.node === 'cp-03'
      ? {
          ...node,
          member: answering('cp-03', { healthy: false, members: [], revision: revision.parse(of) }),
          ...differs,
        }
      : node,
  )
const show = (survey = lost, skipped: { key: string; reason: string }[] = []) =>
  restorePlanMarkdown(plan, { snapshot, survey, skipped, now: NOW, staged: true })

describe('the loss', () => {
  test('is the time since the snapshot, and the revisions as far as a member knows', () => {
    assert.deepEqual(lossOf(snapshot, lost, NOW), { seconds: 840, revisions: null })
    assert.deepEqual(lossOf(snapshot, survivor('48211'), NOW), { seconds: 840, revisions: '211' })
  })

  test('is never negative', () => {
    assert.deepEqual(lossOf(snapshot, survivor('47000'), '2026-11-22T01:59:00.000Z'), {
      seconds: 0,
      revisions: '0',
    })
  })

  test('does not believe an empty cluster that stands beside', () => {
    const impostor = survivor('1', {
      member: answering('cp-03', { members: [MEMBERS[2]!], revision: revision.parse('12') }),
    })
    assert.equal(lossOf(snapshot, impostor, NOW).revisions, null)
    assert.match(show(impostor), /\| cp-03 \| \*\*etcd runs as a cluster of its own\*\* \(revision 12\)/)
  })
})

describe('the plan as a person reads it', () => {
  test('says which snapshot, how old it is, and what is lost', () => {
    const text = show(survivor('48211'))
    assert.match(text, /Restores prod from `daily\/snapshot-20261122T020000Z\.db`/)
    assert.ok(text.includes(`(plan ${digestOf(plan).slice(0, 8)})`))
    assert.match(text, /Taken 2026-11-22T02:00:00\.000Z, 14 min ago: 4000 keys, revision 48000, 24 MiB/)
    assert.match(text, /Lost: everything written since, 14 min\*\* \(at least 211 revisions\)/)
    assert.match(text, /go on from 1000048000/)
  })

  test('says that the loss is unknown when nobody answers', () => {
    assert.match(show(), /no member answers, so how many revisions is unknown/)
  })

  test('names each candidate that was passed over, with its reason', () => {
    const text = show(lost, [
      {
        key: 'daily/snapshot-20261122T080000Z.json',
        reason: 'the store holds 0 bytes, the manifest says 99',
      },
    ])
    assert.match(text, /- Not taken: `daily\/snapshot-20261122T080000Z\.json`: the store holds 0 bytes/)
  })

  test('has a line for every node: how it is, what stops, where its data goes', () => {
    for (const node of NAMES) {
      assert.ok(
        show().includes(
          `| ${node} | etcd is silent; data directory of 181 MiB | kube-apiserver, kube-scheduler, etcd | \`/var/lib/etcd.corrupt.20261122T021400Z\` |`,
        ),
        show(),
      )
    }
  })

  test('says where the way back stands', () => {
    assert.ok(show().includes(`/var/lib/requorum/recoveries/${RECOVERY}/journal.md`))
  })

  test('warns when a majority of the data directories is still there, since starting etcd loses nothing', () => {
    assert.match(show(), /⚠ Data directories of cp-01, cp-02, cp-03 are still there/)
    const gone = lost.map((node, index) =>
      index < 2 ? { ...node, dataDir: { ...node.dataDir, exists: false, bytes: 0 } } : node,
    )
    assert.doesNotMatch(show(gone), /⚠/)
    assert.match(show(gone), /\| cp-01 \| etcd is silent; no data/)
  })
})

describe('the journal of a node', () => {
  const journal = (node: string) => journalText(plan, node, NOW)
  const block = (text: string, heading: string): string => {
    const after = text.slice(text.indexOf(heading))
    return /```sh\n([\s\S]*?)\n```/.exec(after)?.[1] ?? ''
  }

  test('holds every command of its node, in order, there and back', () => {
    for (const node of NAMES) {
      for (const [heading, steps] of [
        ['## Go on by hand', planSteps(plan)],
        ['## Go back by hand', undoSteps(plan)],
      ] as const) {
        const expected = steps.flatMap((step) =>
          step.actions.flatMap(({ node: at, action }) => (at === node ? handCommands(action) : [])),
        )
        const lines = block(journal(node), heading).split('\n')
        assert.deepEqual(
          lines.filter((line) => line !== '' && !/^# \d+\. /.test(line)),
          expected,
        )
      }
    }
  })

  test('holds no other node’s commands', () => {
    assert.ok(journal('cp-02').includes('--name=cp-02'))
    for (const other of ['--name=cp-01', '--name=cp-03']) assert.ok(!journal('cp-02').includes(other))
  })

  test('says what was restored, by whose plan, and that the run has to be stopped first', () => {
    const text = journal('cp-01')
    for (const said of [
      digestOf(plan),
      snapshot.key,
      snapshot.versionId,
      snapshot.sha256,
      'recovery/prod',
      NOW,
    ]) {
      assert.ok(text.includes(said), said)
    }
  })

  test('is a script that a shell can read', () => {
    for (const heading of ['## Go on by hand', '## Go back by hand']) {
      const script = block(journal('cp-01'), heading)
      assert.ok(script.length > 100)
      assert.equal(spawnSync('sh', ['-n'], { input: script }).status, 0)
    }
  })

  test('numbers its steps as the plan does, so that people on three nodes keep step', () => {
    const numbers = NAMES.map((node) =>
      [...journal(node).matchAll(/^# (\d+)\. (.*)$/gm)].map((match) => match.slice(1, 3)),
    )
    // One node takes the leases out for all; the numbers of what comes after are the same all the same.
    const shared = numbers[0]?.filter(([, title]) => title !== plan.removeLeases?.title)
    assert.deepEqual(numbers[1], shared)
    assert.deepEqual(numbers[2], shared)
  })
})

describe('the commands of a plan', () => {
  test('say which steps come before the cluster is open', () => {
    assert.deepEqual(
      planCommands(plan).map(({ title, beforeOpen }) => [title, beforeOpen]),
      planSteps(plan).map(({ title }) => [title, !/^Start (API|controllers)/.test(title)]),
    )
  })

  test('are the ones of the journal', () => {
    for (const step of planCommands(plan)) {
      for (const { node, commands } of step.nodes) {
        for (const command of commands) assert.ok(journalText(plan, node, NOW).includes(command))
      }
    }
  })
})
