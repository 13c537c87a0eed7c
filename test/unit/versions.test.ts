import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { judgeVersions, readVersion, versionsOn } from '../../domain/versions.ts'
import { answering, kubeadmManifest, NAMES, quorumLost, reached, SILENT, unreached } from './examples.ts'

/** Three nodes whose manifests start these versions of etcd, with these of etcdutl. */
function nodes(etcd: string | readonly string[], etcdutl: string | readonly string[]) {
  const of = (versions: string | readonly string[], at: number): string =>
    typeof versions === 'string' ? versions : (versions[at] ?? '')
  return NAMES.map((node, at) =>
    reached(node, {
      member: SILENT,
      etcdManifest: kubeadmManifest(node).replace('etcd:3.5.16-0', `etcd:${of(etcd, at)}-0`),
      tools: { etcdctl: '3.5.16', etcdutl: of(etcdutl, at) },
    }),
  )
}

function judge(snapshot: string, etcd: string | readonly string[], etcdutl: string | readonly string[]) {
  const { refusals, warnings } = judgeVersions(
    { key: 'daily/snapshot.db', etcd: { version: snapshot } },
    nodes(etcd, etcdutl),
  )
  return { refusals: refusals.map(({ node, what }) => `${node}: ${what}`), warnings: [...warnings] }
}

describe('a snapshot is restored', () => {
  test('by the same versions, whatever the patch, without a word', () => {
    assert.deepEqual(judge('3.5.16', '3.5.16', '3.5.16'), { refusals: [], warnings: [] })
    assert.deepEqual(judge('3.5.9', '3.5.21', '3.5.10'), { refusals: [], warnings: [] })
    assert.deepEqual(judge('3.6.4', '3.6.1', '3.6.0'), { refusals: [], warnings: [] })
  })

  test('by an etcd that is one minor newer, with the warning that it is an upgrade', () => {
    const { refusals, warnings } = judge('3.5.16', '3.6.4', '3.6.4')
    assert.deepEqual(refusals, [])
    assert.equal(warnings.length, 3)
    assert.match(warnings[0] ?? '', /^cp-01: the snapshot is of etcd 3\.5\.16 and etcd 3\.6\.4 .* an upgrade/)
  })

  test('in the middle of an upgrade, with a warning that names the versions', () => {
    const { refusals, warnings } = judge('3.5.16', ['3.5.16', '3.6.4', '3.5.16'], '3.5.16')
    assert.deepEqual(refusals, [])
    assert.match(
      warnings.at(-1) ?? '',
      /different versions of etcd \(cp-01 3\.5\.16, cp-02 3\.6\.4, cp-03 3\.5\.16\)/,
    )
  })

  test('by an etcdutl that is a minor newer than etcd, with a warning', () => {
    const { refusals, warnings } = judge('3.5.16', '3.5.16', ['3.5.16', '3.6.14', '3.5.16'])
    assert.deepEqual(refusals, [])
    assert.deepEqual(warnings, ['cp-02: etcdutl 3.6.14 is a minor newer than etcd 3.5.16'])
  })
})

describe('a restore is refused', () => {
  const cases: [string, Parameters<typeof judge>, RegExp][] = [
    [
      'with an older etcd',
      ['3.6.1', '3.5.16', '3.6.1'],
      /^cp-01: etcd 3\.5\.16 is of an older minor .* 3\.6\.1/,
    ],
    [
      'with an etcd that skips a minor',
      ['3.5.16', '3.7.1', '3.7.1'],
      /^cp-01: etcd 3\.7\.1 is more than one/,
    ],
    [
      'with an older etcdutl',
      ['3.6.1', '3.6.1', '3.5.16'],
      /^cp-01: etcdutl 3\.5\.16 is older than etcd 3\.6\.1/,
    ],
    [
      'with an etcdutl without --bump-revision',
      ['3.5.9', '3.5.9', '3.5.9'],
      /^cp-01: etcdutl 3\.5\.9 doesn't/,
    ],
    ['with an etcdutl two minors ahead', ['3.5.16', '3.5.16', '3.7.1'], /^cp-01: etcdutl 3\.7\.1 makes data/],
    ['with another major', ['3.5.16', '4.0.0', '3.5.16'], /^cp-01: etcd 4\.0\.0 is more than one/],
  ]
  for (const [what, versions, words] of cases) {
    test(what, () => {
      const { refusals } = judge(...versions)
      assert.equal(refusals.length, NAMES.length, refusals.join('\n'))
      assert.match(refusals[0] ?? '', words)
    })
  }

  test('for the one node that does not fit', () => {
    const { refusals } = judge('3.6.1', ['3.6.1', '3.5.16', '3.6.1'], '3.6.1')
    assert.deepEqual(
      refusals.map((refusal) => refusal.slice(0, 18)),
      ['cp-02: etcd 3.5.16'],
    )
  })

  test('exactly where etcd is outside of the snapshot’s minor and the next, or etcdutl outside of its bounds', () => {
    const minor = fc.integer({ min: 5, max: 9 })
    fc.assert(
      fc.property(minor, minor, minor, (snapshot, etcd, etcdutl) => {
        const { refusals } = judge(`3.${snapshot}.20`, `3.${etcd}.20`, `3.${etcdutl}.20`)
        const fits = etcd >= snapshot && etcd <= snapshot + 1 && etcdutl >= snapshot && etcdutl <= etcd + 1
        assert.equal(refusals.length === 0, fits, refusals.join('\n'))
      }),
    )
  })
})

describe('what is not known', () => {
  test('is said and refuses nothing', () => {
    const { refusals, warnings } = judge('3.5.16', 'latest', 'devel')
    assert.deepEqual(refusals, [])
    assert.match(warnings[0] ?? '', /^cp-01: which version of etcd its manifest starts is not known/)
    assert.match(judge('', '3.5.16', '3.5.16').warnings[0] ?? '', /doesn't say which etcd it is of/)
  })

  test('of an image without a version is known of the member that runs from it', () => {
    const image = 'image: registry.example/etcd@sha256:abc'
    const etcdManifest = kubeadmManifest('cp-01').replace(/image: .*etcd.*/, image)
    assert.equal(versionsOn(reached('cp-01', { etcdManifest })).etcd, '3.5.16')
    assert.equal(versionsOn(reached('cp-01', { etcdManifest, member: SILENT })).etcd, null)
    const tagged = kubeadmManifest('cp-01').replace('etcd:3.5.16-0', 'etcd:v3.6.4@sha256:abc')
    const running = answering('cp-01', { version: '3.5.16' })
    assert.equal(versionsOn(reached('cp-01', { etcdManifest: tagged, member: running })).etcd, 'v3.6.4')
  })

  test('of a registry with a port and no tag is not taken from the port', () => {
    const etcdManifest = kubeadmManifest('cp-01').replace(
      /image: .*etcd.*/,
      'image: registry.example:5000/etcd',
    )
    assert.equal(versionsOn(reached('cp-01', { etcdManifest, member: SILENT })).etcd, null)
  })

  test('of a node that was not reached is somebody else’s matter', () => {
    const snapshot = { key: 'k', etcd: { version: '3.5.16' } }
    assert.deepEqual(judgeVersions(snapshot, [...quorumLost().slice(0, 2), unreached('cp-03')]), {
      refusals: [],
      warnings: [],
    })
  })
})

test('versions are read as tools and image tags write them', () => {
  const minors = (words: readonly string[]) => words.map((word) => readVersion(word)?.minor ?? null)
  assert.deepEqual(minors(['3.5.16', 'v3.6.0', '3.5.21-0', '3.6.0-rc.1', '3.7.0+git']), [5, 6, 5, 6, 7])
  assert.deepEqual(minors(['', 'latest', '3.5', '3.5.16.1', 'release-3.5.16']), [
    null,
    null,
    null,
    null,
    null,
  ])
})
