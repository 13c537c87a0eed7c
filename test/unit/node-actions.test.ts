import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { readEtcdFlags, withFullMemberList } from '../../domain/etcd-manifest.ts'
import { handCommands, quote, type NodeAction } from '../../domain/node-actions.ts'
import { sha256OfText } from '../../domain/plan-step.ts'
import { planRestore, planSteps, undoSteps } from '../../domain/restore-plan.ts'
import {
  clusterConfig,
  FULL_LIST,
  kubeadmManifest,
  NAMES,
  quorumLost,
  RECOVERY,
  snapshotOf,
} from './examples.ts'

function parses(script: string): boolean {
  return spawnSync('sh', ['-n'], { input: script }).status === 0
}

/** The words that a shell makes of a line. */
function wordsOf(line: string): string[] {
  const { stdout, status } = spawnSync('sh', ['-c', `printf '%s\\0' ${line}`], { encoding: 'utf8' })
  assert.equal(status, 0, line)
  return stdout.split('\0').slice(0, -1)
}

describe('a manifest that the node does not have', () => {
  test('is written by hand byte for byte, for root alone, and marked before the kubelet sees it', () => {
    const root = mkdtempSync(join(tmpdir(), 'requorum-hand-'))
    try {
      const manifest = withFullMemberList(kubeadmManifest('cp-03'), FULL_LIST)
      const recovery = join(root, 'recoveries', RECOVERY)
      const script = handCommands({
        kind: 'start-etcd',
        kept: join(recovery, 'manifests/etcd.yaml'),
        to: join(root, 'etc/manifests'),
        manifestSha256: sha256OfText(manifest),
        initialCluster: FULL_LIST,
        manifest,
      }).join('\n')
      const { status, stderr } = spawnSync('sh', ['-e'], { input: script, encoding: 'utf8' })
      assert.equal(status, 0, stderr)
      const file = join(root, 'etc/manifests/etcd.yaml')
      assert.equal(readFileSync(file, 'utf8'), manifest)
      assert.equal(statSync(file).mode & 0o777, 0o600)
      assert.ok(existsSync(join(recovery, 'etcd-started')))
    } finally {
      rmSync(root, { recursive: true })
    }
  })
})

describe('quoting', () => {
  test('leaves plain words plain', () => {
    for (const word of ['/var/lib/etcd', 'cp-01=https://10.0.1.11:2380,cp-02=x', 'a@b', '100%'])
      assert.equal(quote(word), word)
  })

  test('gives every word back from a shell, byte for byte', () => {
    const words = fc.array(
      fc.string({ unit: 'grapheme' }).map((word) => word.replaceAll('\0', '')),
      { minLength: 1, maxLength: 20 },
    )
    fc.assert(
      fc.property(words, (all) => {
        assert.deepEqual(wordsOf(all.map(quote).join(' ')), all)
      }),
      { numRuns: 25 },
    )
  })

  test('of the dangerous ones too', () => {
    const dangerous = [
      '',
      ' ',
      "'",
      "it's",
      '$(id)',
      '`id`',
      '!!',
      '-n',
      '~',
      '*',
      'a\nb',
      '"',
      '\\',
      ';',
      '&&',
      '#x',
      "''\\'",
    ]
    assert.deepEqual(wordsOf(dangerous.map(quote).join(' ')), dangerous)
  })
})

describe('the commands for a person’s hands', () => {
  const config = clusterConfig()
  const pods = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler']
  const plan = planRestore(
    config,
    RECOVERY,
    quorumLost({ staticPods: pods }),
    snapshotOf('2026-11-22T02:00:00.000Z'),
  )
  const actions = [...planSteps(plan), ...undoSteps(plan)].flatMap((step) =>
    step.actions.map(({ action }) => action),
  )

  test('are there for every kind of action, and a shell can read them', () => {
    assert.equal(new Set(actions.map(({ kind }) => kind)).size, 8)
    for (const action of actions) {
      const lines = handCommands(action)
      assert.ok(lines.length > 0)
      assert.ok(parses(lines.join('\n')), lines.join('\n'))
    }
  })

  test('delete nothing', () => {
    for (const line of actions.flatMap(handCommands)) assert.doesNotMatch(line, /\b(rm|shred|truncate)\b/)
  })

  test('stay commands when a file on the node has a name that a shell would take apart', () => {
    const strange = ["it's", 'two words', '$(reboot)', ';reboot', '`x`', '-f']
    const odd: NodeAction[] = [
      { kind: 'stop-pods', pods: strange, from: '/m', to: '/kept', dataDir: '/data' },
      { kind: 'start-pods', pods: strange, from: '/kept', to: '/m' },
      ...strange.flatMap((name): NodeAction[] => [
        { kind: 'set-aside', from: `/data/${name}`, to: `/data/${name}.corrupt` },
        {
          kind: 'put-back',
          aside: `/data/${name}.corrupt`,
          dataDir: `/data/${name}`,
          undone: `/data/${name}.undone`,
          absent: '/kept/data-was-absent',
        },
        {
          kind: 'withdraw-etcd',
          kept: '/kept/etcd.yaml',
          from: `/m/${name}`,
          to: '/undone',
          dataDir: `/data/${name}`,
        },
        {
          kind: 'restore',
          file: `/b/${name}.db`,
          sha256: 'a'.repeat(64),
          staging: `/data/${name}.restore`,
          dataDir: `/data/${name}`,
          name,
          peerUrl: 'https://10.0.1.11:2380',
          initialCluster: `${name}=https://10.0.1.11:2380`,
          token: 'requorum-prod-x',
          bump: '1000000000',
          owner: '0:0',
          mode: '700',
          etcdutl: 'etcdutl',
        },
        {
          kind: 'start-etcd',
          kept: `/kept/${name}.yaml`,
          to: '/m',
          manifestSha256: 'a'.repeat(64),
          initialCluster: `${name}=x`,
        },
      ]),
    ]
    for (const action of odd) {
      const lines = handCommands(action)
      assert.ok(parses(lines.join('\n')), lines.join('\n'))
    }
    const moves = handCommands(odd[0]!).flatMap((line) => /else (mv .*); fi$/.exec(line)?.[1] ?? [])
    assert.deepEqual(
      moves.map((line) => wordsOf(line)[1]),
      strange.map((name) => `/m/${name}.yaml`),
    )
  })

  test('that edit the manifest by hand give the same bytes as the action would', () => {
    const directory = mkdtempSync(`${tmpdir()}/requorum-hand-`)
    try {
      const kubeadm = Object.fromEntries(NAMES.map((name) => [name, kubeadmManifest(name)]))
      const quoted = kubeadmManifest('cp-02').replace(/- (--initial-cluster=.*)/, '- "$1"')
      for (const [node, manifest] of Object.entries({ ...kubeadm, quoted })) {
        mkdirSync(`${directory}/${node}`)
        writeFileSync(`${directory}/kept.yaml`, manifest)
        const commands = handCommands({
          kind: 'start-etcd',
          kept: `${directory}/kept.yaml`,
          to: `${directory}/${node}`,
          manifestSha256: '',
          initialCluster: FULL_LIST,
        })
        const { status, stderr } = spawnSync('sh', ['-e'], { input: commands.join('\n'), encoding: 'utf8' })
        assert.equal(status, 0, stderr)
        const byHand = readFileSync(`${directory}/${node}/etcd.yaml`, 'utf8')
        assert.deepEqual(readEtcdFlags(byHand), readEtcdFlags(withFullMemberList(manifest, FULL_LIST)))
        if (node !== 'quoted') assert.equal(byHand, withFullMemberList(manifest, FULL_LIST))
      }
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})
