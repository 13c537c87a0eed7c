import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { parse } from 'yaml'
import { manifestOfMember, readEtcdFlags, withFullMemberList } from '../../domain/etcd-manifest.ts'
import { RequorumError } from '../../domain/failures.ts'
import { FULL_LIST, kubeadmManifest, NAMES } from './examples.ts'

const FIRST = kubeadmManifest('cp-01')
const SECOND = kubeadmManifest('cp-02')
const THIRD = kubeadmManifest('cp-03')
const STATE = '    - --initial-cluster-state=existing'

/** Lines of a manifest that are not the two that a restore sets. */
function otherLines(manifest: string): string[] {
  return manifest.split('\n').filter((line) => !/--initial-cluster(-state)?=/.test(line))
}

const refused = (error: unknown) => error instanceof RequorumError && error.code === 'etcd-output-unreadable'

describe('what kubeadm wrote', () => {
  test('is read as it stands: the first node knows only itself', () => {
    assert.deepEqual(readEtcdFlags(FIRST), {
      name: 'cp-01',
      dataDir: '/var/lib/etcd',
      walDir: null,
      peerUrl: 'https://10.0.1.11:2380',
      initialCluster: 'cp-01=https://10.0.1.11:2380',
      initialClusterState: null,
      quotaBytes: 0,
    })
  })

  test('is read as it stands: the second and third joined', () => {
    assert.equal(readEtcdFlags(SECOND).initialCluster.split(',').length, 2)
    assert.equal(readEtcdFlags(THIRD).initialCluster, FULL_LIST)
    assert.equal(readEtcdFlags(THIRD).initialClusterState, 'existing')
  })

  test('a WAL directory of its own is seen', () => {
    const apart = FIRST.replace('    - --name=', '    - --wal-dir=/var/lib/etcd-wal\n    - --name=')
    assert.equal(readEtcdFlags(apart).walDir, '/var/lib/etcd-wal')
  })

  test('a value may hold equal signs and be quoted', () => {
    const quoted = SECOND.replace(/- (--initial-cluster=.*)/, "- '$1'")
    assert.deepEqual(readEtcdFlags(quoted), readEtcdFlags(SECOND))
  })
})

describe('the full member list', () => {
  for (const [name, manifest] of [
    ['first', FIRST],
    ['second', SECOND],
    ['third', THIRD],
  ] as const) {
    test(`is given to the ${name} node, and every other byte stays`, () => {
      const edited = withFullMemberList(manifest, FULL_LIST)
      assert.equal(readEtcdFlags(edited).initialCluster, FULL_LIST)
      assert.equal(readEtcdFlags(edited).initialClusterState, 'existing')
      assert.deepEqual(otherLines(edited), otherLines(manifest))
      assert.deepEqual(
        edited.split('\n').filter((line) => line.includes('--initial-cluster')),
        [`    - --initial-cluster=${FULL_LIST}`, STATE],
      )
    })
  }

  test('leaves the third node’s manifest as it is, to the byte', () => {
    assert.equal(withFullMemberList(THIRD, FULL_LIST), THIRD)
  })

  test('given twice is given once', () => {
    for (const manifest of [FIRST, SECOND, THIRD]) {
      const once = withFullMemberList(manifest, FULL_LIST)
      assert.equal(withFullMemberList(once, FULL_LIST), once)
    }
  })

  test('turns `new` into `existing`', () => {
    const founding = SECOND.replace('state=existing', 'state=new')
    assert.equal(
      withFullMemberList(founding, FULL_LIST),
      SECOND.replace(/--initial-cluster=.*/, `--initial-cluster=${FULL_LIST}`),
    )
  })

  test('goes into quotes where the value was quoted', () => {
    for (const quote of ['"', "'"]) {
      const quoted = FIRST.replace(/- (--initial-cluster=.*)/, `- ${quote}$1${quote}`)
      const edited = withFullMemberList(quoted, FULL_LIST)
      assert.ok(edited.includes(`    - ${quote}--initial-cluster=${FULL_LIST}${quote}\n${STATE}\n`))
      assert.deepEqual(otherLines(edited), otherLines(quoted))
    }
  })

  test('takes quotes off the state, which needs none', () => {
    const quoted = SECOND.replace(/- (--initial-cluster-state=.*)/, '- "$1"')
    assert.deepEqual(
      parse(withFullMemberList(quoted, FULL_LIST)),
      parse(withFullMemberList(SECOND, FULL_LIST)),
    )
  })

  test('keeps comments, empty lines and the missing last line end of an edited manifest', () => {
    const edited = `# kept by ana\n${FIRST.replace('    - --name=', '\n    # the node\n    - --name=').trimEnd()}`
    assert.deepEqual(otherLines(withFullMemberList(edited, FULL_LIST)), otherLines(edited))
  })

  test('adds one line even where an empty line stands before the list', () => {
    const airy = FIRST.replace('    - --initial-cluster=', '\n    - --initial-cluster=')
    const edited = withFullMemberList(airy, FULL_LIST)
    assert.deepEqual(otherLines(edited), otherLines(airy))
  })

  test('keeps whatever else stands in the command', () => {
    // What YAML would read otherwise without quotes is not what kubeadm writes.
    const flag = fc.stringMatching(/^--[a-z]{3,12}=[A-Za-z0-9:/.,=$&-]{0,20}[A-Za-z0-9]$/)
    fc.assert(
      fc.property(fc.constantFrom(...NAMES), fc.array(flag, { maxLength: 4 }), (node, flags) => {
        const manifest = kubeadmManifest(node).replace(
          '    - --key-file',
          // By a function: `$&` in a replacement's text would stand for what it replaces.
          () => `${flags.map((one) => `    - ${one}\n`).join('')}    - --key-file`,
        )
        const edited = withFullMemberList(manifest, FULL_LIST)
        assert.deepEqual(otherLines(edited), otherLines(manifest))
      }),
      { numRuns: 25 },
    )
  })
})

describe('one member’s manifest as another’s', () => {
  const member = (name: string) => ({ name, peerUrl: `https://10.0.1.1${name.slice(-1)}:2380` })

  test('is what kubeadm would have written there, to the byte, whoever it is made from', () => {
    for (const helper of NAMES) {
      for (const name of NAMES) {
        assert.equal(
          manifestOfMember(kubeadmManifest(helper), member(name), FULL_LIST),
          withFullMemberList(kubeadmManifest(name), FULL_LIST),
        )
      }
    }
  })

  test('keeps what a person has added, quotes and comments', () => {
    const kept = ['    # by ana', '    - "--quota-backend-bytes=8589934592"', "    - '--snapshot-count=5000'"]
    const edited = SECOND.replace('    - --name=cp-02', `${kept.join('\n')}\n    - "--name=cp-02"`)
    const made = manifestOfMember(edited, member('cp-01'), FULL_LIST)
    for (const line of [...kept, '    - "--name=cp-01"']) assert.ok(made.split('\n').includes(line), line)
    assert.equal(readEtcdFlags(made).name, 'cp-01')
    assert.deepEqual(made.split('\n').length, edited.split('\n').length)
  })

  test('leaves addresses that belong to nobody: loopback, any, and another’s that only begins the same', () => {
    const open = SECOND.replace(/--listen-peer-urls=\S+/, '--listen-peer-urls=https://0.0.0.0:2380')
    const made = manifestOfMember(
      open,
      { name: 'cp-22', peerUrl: 'https://10.0.1.122:2380' },
      'cp-22=https://10.0.1.122:2380',
    )
    assert.match(made, /--listen-peer-urls=https:\/\/0\.0\.0\.0:2380/)
    assert.match(made, /--listen-client-urls=https:\/\/127\.0\.0\.1:2379,https:\/\/10\.0\.1\.122:2379/)
    assert.match(made, /--listen-metrics-urls=http:\/\/127\.0\.0\.1:2381/)
    assert.match(made, /etcd\.advertise-client-urls: https:\/\/10\.0\.1\.122:2379/)
    assert.doesNotMatch(made, /10\.0\.1\.12[:,]|cp-02/)
  })

  test('works for names and IPv6 as peer hosts', () => {
    const named = (text: string, host: string): string => text.replaceAll('10.0.1.12', host)
    for (const [from, to] of [
      ['cp-02.example', 'cp-04.example'],
      ['[fd00::2]', '[fd00::4]'],
    ] as const) {
      const made = manifestOfMember(
        named(SECOND, from),
        { name: 'cp-04', peerUrl: `https://${to}:2380` },
        `cp-04=https://${to}:2380`,
      )
      assert.equal(readEtcdFlags(made).peerUrl, `https://${to}:2380`)
      assert.ok(!made.includes(from))
    }
  })

  for (const [what, edit] of [
    [
      'tells clients another host',
      (text: string) => text.replace(/(--advertise-client-urls=)\S+/, '$1https://etcd-2.example:2379'),
    ],
    [
      'has files named after its member',
      (text: string) => text.replaceAll('pki/etcd/peer.crt', 'pki/etcd/cp-02.crt'),
    ],
    [
      'speaks of its address elsewhere',
      (text: string) => text.replaceAll('host: 127.0.0.1', 'host: 10.0.1.12'),
    ],
    ['is reached at another port', (text: string) => text.replaceAll(':2380', ':2390')],
    [
      'has two peer URLs',
      (text: string) => text.replace(/(--initial-advertise-peer-urls=\S+)/, '$1,https://10.9.9.9:2380'),
    ],
  ] as const) {
    test(`is refused with a reason when it ${what}`, () => {
      assert.throws(() => manifestOfMember(edit(SECOND), member('cp-01'), FULL_LIST), refused)
    })
  }
})

describe('a manifest that can’t be edited line by line', () => {
  const cases: Record<string, string> = {
    'has no list at all': FIRST.replace(/ *- --initial-cluster=.*\n/, ''),
    'has no name': FIRST.replace(/ *- --name=.*\n/, ''),
    'keeps its command in one line': 'spec: {containers: [{command: [etcd, --initial-cluster=a=b]}]}\n',
    'has the list in another container': FIRST.replace(/( *)- --initial-cluster=.*\n/, '').replace(
      '  hostNetwork',
      '  - command:\n    - etcd\n    - --initial-cluster=cp-01=https://10.0.1.11:2380\n    name: other\n  hostNetwork',
    ),
    'is no YAML': 'spec: [',
    'is empty': '',
    'is only a comment': '# gone\n',
    'holds a word': 'etcd\n',
    'names an anchor that is not there': 'spec: *nowhere\n',
    'has a command that is no list': 'spec:\n  containers:\n  - command: etcd --initial-cluster=a=b\n',
    'is cut in the middle': FIRST.slice(0, 300),
  }
  for (const [what, manifest] of Object.entries(cases)) {
    test(`is refused with a reason when it ${what}`, () => {
      assert.throws(() => withFullMemberList(manifest, FULL_LIST), refused)
    })
  }

  test('is refused with a reason when it is read, too', () => {
    for (const manifest of ['', '# gone\n', 'spec: *nowhere\n', 'spec: [']) {
      assert.throws(() => readEtcdFlags(manifest), refused)
    }
  })

  test('is refused with a reason whatever its bytes are, and never by an error of another kind', () => {
    const cut = fc.nat({ max: FIRST.length }).map((length) => FIRST.slice(0, length))
    fc.assert(
      fc.property(fc.oneof(cut, fc.string(), fc.string({ unit: 'binary' })), (manifest) => {
        try {
          readEtcdFlags(manifest)
        } catch (error) {
          assert.ok(refused(error), String(error))
        }
      }),
      { numRuns: 60 },
    )
  })
})
