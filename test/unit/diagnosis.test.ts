import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { diagnose, worthAnotherLook, type Diagnosis } from '../../domain/diagnosis.ts'
import {
  NO_LEADER,
  quorumHolds,
  unaskableNodes,
  unreachedNodes,
  type MemberStatus,
  type NodeSurvey,
  type ReachedNode,
  type Symptoms,
} from '../../domain/survey.ts'
import { etcdId, revision } from '../../domain/values.ts'
import {
  answering,
  certificate,
  clusterConfig,
  CLUSTER_ID,
  kubeadmManifest,
  MEMBER_IDS,
  MEMBERS,
  NAMES,
  reached,
  SILENT,
  symptoms,
  unreached,
} from './examples.ts'

const config = clusterConfig()
const EXPIRED = { from: '2025-11-21T00:00:00.000Z', until: '2026-11-21T00:00:00.000Z' }
const SECOND_LEADS = MEMBER_IDS[1]!

const well = (node: string, differs: Partial<MemberStatus> = {}, more: Partial<Symptoms> = {}): ReachedNode =>
  reached(node, { member: answering(node, differs), symptoms: symptoms(more) })

const alone = (
  node: string,
  differs: Partial<MemberStatus> = {},
  more: Partial<Symptoms> = {},
): ReachedNode => well(node, { healthy: false, leaderId: NO_LEADER, members: [], ...differs }, more)

const down = (node: string, more: Partial<Symptoms> = {}, differs: Partial<ReachedNode> = {}): ReachedNode =>
  reached(node, {
    member: { answers: false, reason: 'no etcd process runs' },
    etcdPids: [],
    symptoms: symptoms({ etcdAgeSeconds: null, ...more }),
    ...differs,
  })

const silent = (
  node: string,
  more: Partial<Symptoms> = {},
  differs: Partial<ReachedNode> = {},
): ReachedNode => reached(node, { member: SILENT, symptoms: symptoms(more), ...differs })

const died = (fatal: string, restarts = 4): Pick<Symptoms, 'etcdLog'> => ({
  etcdLog: { restarts, fatal, fatalBefore: null },
})
const UNREADABLE = died('failed to find database snapshot file (snap: snapshot file doesn’t exist)')
const corrupted = (node: string) => down(node, UNREADABLE)
const wiped = (node: string) =>
  down(node, { kubelet: 'active' }, { dataDir: { ...reached(node).dataDir, bytes: 0 } })
const switchedOff = (node: string) => down(node, { kubelet: 'inactive' })

const all = (of: (node: string) => NodeSurvey): NodeSurvey[] => NAMES.map((node) => of(node))

function said(diagnosis: Diagnosis): string {
  return JSON.stringify(diagnosis)
}

function commands(diagnosis: Diagnosis): string[] {
  return diagnosis.next.flatMap((step) => step.commands)
}

function is(diagnosis: Diagnosis, kind: Diagnosis['kind'], nodes: readonly string[]): Diagnosis {
  assert.equal(diagnosis.kind, kind, said(diagnosis))
  assert.deepEqual(diagnosis.nodes, nodes, said(diagnosis))
  return diagnosis
}

describe('a healthy cluster', () => {
  test('is healthy, with who leads, and nothing to do', () => {
    const diagnosis = is(diagnose(config, [all((node) => well(node))]), 'healthy', [])
    assert.match(diagnosis.summary, /3 of 3 members stand in the quorum, cp-01 leads/)
    assert.deepEqual(diagnosis.next, [])
    assert.deepEqual(diagnosis.findings, [])
  })

  test('is healthy by a survey without symptoms, as old ones are', () => {
    is(diagnose(config, [all((node) => reached(node))]), 'healthy', [])
  })

  test('is healthy whatever its revisions, terms, indexes and sizes are', () => {
    const number = fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }).map(String)
    const node = fc.record({
      revision: number.map((text) => revision.parse(text)),
      raftTerm: number,
      raftIndex: number,
      raftAppliedIndex: number,
      dbSizeBytes: fc.integer({ min: 0, max: 1_000_000_000 }),
      leaderId: fc.constantFrom(...MEMBER_IDS),
    })
    fc.assert(
      fc.property(fc.tuple(node, node, node), ([one, two, three]) => {
        const look = [well('cp-01', one), well('cp-02', two), well('cp-03', three)]
        assert.equal(worthAnotherLook(config, [look]), false)
        assert.equal(diagnose(config, [look]).kind, 'healthy')
      }),
    )
  })

  test('tells beside it what is going to be a trouble', () => {
    const soon = { from: '2025-12-01T00:00:00.000Z', until: '2026-12-01T00:00:00.000Z' }
    const { findings } = diagnose(config, [
      [
        well('cp-01', {}, { certificates: [certificate('etcd-server', soon)] }),
        well('cp-02', { dbSizeBytes: 1_900_000_000 }),
        { ...well('cp-03'), clockSkewMs: 3_000, strayManifests: ['etcd.yaml.bak'] },
      ],
    ])
    assert.deepEqual(
      findings.map(({ node, fact }) => `${node ?? ''} ${fact.slice(0, 24)}`),
      [
        'cp-01 etcd-server expires in 9 d'.slice(0, 30),
        'cp-03 its clock says 2026-11-2',
        'cp-02 its database has 88 % of',
        'cp-03 etcd.yaml.bak lies among',
      ],
    )
  })
})

describe('the opening scene of the source runbook', () => {
  test('one member corrupt, the others hold: replace that one', () => {
    const diagnosis = is(
      diagnose(config, [[well('cp-01'), corrupted('cp-02'), well('cp-03')]]),
      'replace-member',
      ['cp-02'],
    )
    assert.match(said(diagnosis), /failed to find database snapshot file/)
    const typed = commands(diagnosis).join('\n')
    assert.match(typed, /^requorum backup now prod --wait$/m)
    assert.match(typed, /member remove 91bc3c398fb3c146$/m)
    assert.match(typed, /member add cp-02 --learner --peer-urls=https:\/\/10\.0\.1\.12:2380;/)
    assert.match(typed, /mv -T \/var\/lib\/etcd \/var\/lib\/etcd\.corrupt\.\$\(date -u/)
    assert.ok(typed.indexOf('mv -T') < typed.indexOf('member remove'), 'set aside before it is removed')
    assert.doesNotMatch(typed, /\brm\b/, 'nothing is deleted')
    assert.doesNotMatch(said(diagnosis), /requorum restore/)
    assert.match(said(diagnosis), /requorum replace prod/)
  })

  test('one corrupt and two that flap, so that quorum comes and goes: still that one, and steady first', () => {
    const looks = [
      [alone('cp-01'), corrupted('cp-02'), down('cp-03')],
      [well('cp-01'), corrupted('cp-02'), well('cp-03', {}, { etcdAgeSeconds: 3 })],
      [alone('cp-01'), corrupted('cp-02'), down('cp-03')],
    ]
    const diagnosis = is(diagnose(config, looks), 'replace-member', ['cp-02'])
    assert.match(diagnosis.next[0]?.say ?? '', /cp-01 and cp-03 come and go/)
  })

  test('the same when no look met the quorum, as long as somebody answered', () => {
    const looks = [
      [alone('cp-01'), corrupted('cp-02'), down('cp-03')],
      [down('cp-01'), corrupted('cp-02'), silent('cp-03', { etcdAgeSeconds: 4 })],
    ]
    is(diagnose(config, looks), 'replace-member', ['cp-02'])
  })

  test('two that run and never find each other are the network’s, and the corrupt one waits', () => {
    const diagnosis = diagnose(config, [[alone('cp-01'), corrupted('cp-02'), alone('cp-03')]])
    is(diagnosis, 'hands-off', ['cp-01', 'cp-03'])
    assert.match(said(diagnosis), /failed to find database snapshot file/)
  })

  test('a process that has only begun is judged by what the one before it said', () => {
    const young = silent('cp-02', {
      etcdAgeSeconds: 2,
      etcdLog: {
        restarts: 5,
        fatal: null,
        fatalBefore: 'panic: freepages: failed to get all reachable pages',
      },
    })
    is(diagnose(config, [[well('cp-01'), young, well('cp-03')]]), 'replace-member', ['cp-02'])
  })

  test('one whose data directory is empty or became a cluster of its own is replaced as well', () => {
    is(diagnose(config, [[well('cp-01'), wiped('cp-02'), well('cp-03')]]), 'replace-member', ['cp-02'])
    const impostor = well('cp-01', { members: [MEMBERS[0]!] })
    is(diagnose(config, [[impostor, well('cp-02'), well('cp-03')]]), 'replace-member', ['cp-01'])
  })

  test('one that its peers removed is added again, without a removal of what is not there', () => {
    const removed = down('cp-03', died('the member has been permanently removed from the cluster'))
    const members = MEMBERS.filter(({ name }) => name !== 'cp-03')
    const look = [well('cp-01', { members }), well('cp-02', { members }), removed]
    const diagnosis = is(diagnose(config, [look]), 'replace-member', ['cp-03'])
    assert.doesNotMatch(commands(diagnosis).join('\n'), /member remove/)
  })

  test('one that a restore went on without is replaced, and nobody is told to start what is fenced', () => {
    const fenced = {
      ...down('cp-03'),
      etcdManifest: null,
      staticPods: [],
      fenced: { pods: ['etcd'], etcdManifest: kubeadmManifest('cp-03') },
    }
    const members = MEMBERS.filter(({ name }) => name !== 'cp-03')
    const look = [well('cp-01', { members }), well('cp-02', { members }), fenced]
    const diagnosis = is(diagnose(config, [look]), 'replace-member', ['cp-03'])
    assert.match(said(diagnosis), /kept from starting, in \/var\/lib\/requorum\/fenced\/manifests/)
    assert.doesNotMatch(commands(diagnosis).join('\n'), /mv .*manifests|systemctl start kubelet/)
    assert.match(commands(diagnosis).join('\n'), /requorum replace prod cp-03/)
  })

  test('one that etcd itself calls corrupt is replaced although it answers', () => {
    const errors = [`memberID:${BigInt(`0x${MEMBER_IDS[2]!}`)} alarm:CORRUPT `]
    const look = all((node) => well(node, { leaderId: SECOND_LEADS, errors }))
    const diagnosis = is(diagnose(config, [look]), 'replace-member', ['cp-03'])
    assert.match(commands(diagnosis).join('\n'), /alarm disarm/)
    const nobody = all((node) =>
      well(node, { leaderId: SECOND_LEADS, errors: ['memberID:0 alarm:CORRUPT '] }),
    )
    is(diagnose(config, [nobody]), 'hands-off', [])
  })
})

describe('quorum loss', () => {
  test('is a restore where the data of a majority can’t be used, with each one’s evidence', () => {
    const diagnosis = is(
      diagnose(config, [[corrupted('cp-01'), wiped('cp-02'), wiped('cp-03')]]),
      'restore-quorum',
      NAMES,
    )
    assert.deepEqual(commands(diagnosis), ['requorum plan restore prod', 'requorum restore prod'])
    assert.match(said(diagnosis), /cp-01.*database snapshot file.*cp-02.*holds no log/)
  })

  test('with a survivor says so, and that its data is to be kept', () => {
    const diagnosis = is(
      diagnose(config, [[alone('cp-01'), wiped('cp-02'), wiped('cp-03')]]),
      'restore-quorum',
      ['cp-02', 'cp-03'],
    )
    assert.match(diagnosis.next[0]?.say ?? '', /data directory of cp-01 survives/)
  })

  test('that is only a stop is a restart', () => {
    const diagnosis = is(diagnose(config, [all(switchedOff)]), 'restart', NAMES)
    assert.ok(commands(diagnosis).includes('systemctl start kubelet'))
    is(diagnose(config, [[switchedOff('cp-01'), alone('cp-02'), corrupted('cp-03')]]), 'restart', ['cp-01'])
    is(
      diagnose(config, [all((node) => down(node, {}, { etcdManifest: null, staticPods: [] }))]),
      'restart',
      NAMES,
    )
  })

  test('a member that hangs while the others hold is woken or ended, by its process', () => {
    const diagnosis = is(
      diagnose(config, [[well('cp-01'), silent('cp-02', { etcdState: 'T' }), well('cp-03')]]),
      'restart',
      ['cp-02'],
    )
    assert.ok(commands(diagnosis).includes('kill -CONT 812'))
  })

  test('a member that was started without a quorum is silent until it has one, and is nobody’s fault', () => {
    const look = [switchedOff('cp-01'), switchedOff('cp-02'), silent('cp-03')]
    is(diagnose(config, [look]), 'restart', ['cp-01', 'cp-02'])
    is(diagnose(config, [[well('cp-01'), silent('cp-02'), well('cp-03')]]), 'hands-off', ['cp-02'])
    is(diagnose(config, [[wiped('cp-01'), wiped('cp-02'), silent('cp-03')]]), 'restore-quorum', [
      'cp-01',
      'cp-02',
    ])
  })

  test('is never called where a node was not looked at, and hands stay off with the reason', () => {
    const diagnosis = diagnose(config, [[wiped('cp-01'), wiped('cp-02'), unreached('cp-03')]])
    is(diagnosis, 'hands-off', ['cp-03'])
    assert.match(diagnosis.summary, /cp-03 can't be reached/)
    assert.match(said(diagnosis), /connect ETIMEDOUT/)
  })

  test('is never called where a recovery is at work', () => {
    const lock = { owner: 'recovery/prod/1', since: '2026-11-22T02:00:00Z' }
    const diagnosis = diagnose(config, [all((node) => ({ ...corrupted(node), lock }))])
    is(diagnosis, 'hands-off', NAMES)
    assert.deepEqual(commands(diagnosis), ['requorum status prod'])
  })

  test('three that end for a reason nobody knows are left alone', () => {
    const diagnosis = diagnose(config, [all((node) => down(node, died('panic: out of cheese')))])
    is(diagnosis, 'hands-off', NAMES)
    assert.match(said(diagnosis), /out of cheese/)
  })
})

describe('what looks like a dead cluster and is none', () => {
  const refused = { answers: false, reason: 'x509: certificate has expired or is not yet valid' } as const

  test('expired certificates: renew, with the dates', () => {
    const old = ['etcd-server', 'etcd-peer'].map((name) => certificate(name, EXPIRED))
    const look = all((node) =>
      reached(node, {
        member: refused,
        symptoms: symptoms({ certificates: [...old, certificate('etcd-ca')] }),
      }),
    )
    const diagnosis = is(diagnose(config, [look]), 'expired-certificates', NAMES)
    assert.ok(commands(diagnosis).includes('kubeadm certs renew all'))
    assert.match(said(diagnosis), /etcd-peer: valid from 2025-11-21T00:00:00.000Z until 2026-11-21/)
  })

  test('an expired authority, which kubeadm doesn’t renew, is said to be one', () => {
    const look = all((node) =>
      reached(node, {
        member: refused,
        symptoms: symptoms({ certificates: [certificate('etcd-ca', EXPIRED)] }),
      }),
    )
    const diagnosis = is(diagnose(config, [look]), 'expired-certificates', NAMES)
    assert.match(diagnosis.next[0]?.say ?? '', /authority itself/)
    assert.deepEqual(commands(diagnosis), [])
  })

  test('a clock that makes good certificates bad: the clock, and not the certificates', () => {
    const year = 365 * 86_400_000
    const ahead = reached('cp-02', {
      member: refused,
      clockSkewMs: year,
      symptoms: symptoms({ clock: '2027-11-22T02:14:00.000Z' }),
    })
    const diagnosis = is(diagnose(config, [[well('cp-01'), ahead, well('cp-03')]]), 'hands-off', ['cp-02'])
    assert.match(diagnosis.summary, /clock of cp-02 is wrong/)
    assert.match(said(diagnosis), /by this clock it is not valid, by the others it is/)
  })

  test('a clock that is off in a cluster that is well; ours alone being wrong is nobody’s trouble', () => {
    const off = { ...well('cp-03'), clockSkewMs: -120_000 }
    const diagnosis = is(diagnose(config, [[well('cp-01'), well('cp-02'), off]]), 'hands-off', ['cp-03'])
    assert.match(said(diagnosis), /at least 2 min behind/)
    is(diagnose(config, [all((node) => ({ ...well(node), clockSkewMs: -120_000 }))]), 'healthy', [])
  })

  test('a clock is only called wrong beyond the doubt of the measurement', () => {
    const doubtful = { ...well('cp-03', {}, { clockErrorMs: 130_000 }), clockSkewMs: -120_000 }
    is(diagnose(config, [[well('cp-01'), well('cp-02'), doubtful]]), 'healthy', [])
  })

  test('the alarm NOSPACE: compact, defragment one by one with the leader last, disarm', () => {
    const errors = [`memberID:${BigInt(`0x${MEMBER_IDS[0]!}`)} alarm:NOSPACE `]
    const look = all((node) => well(node, { errors, leaderId: SECOND_LEADS, dbSizeBytes: 2_147_000_000 }))
    const diagnosis = is(diagnose(config, [look]), 'no-space', NAMES)
    // Requorum first, then what it does, by hand.
    assert.equal(commands(diagnosis)[0], 'requorum relieve prod')
    assert.deepEqual(
      diagnosis.next.slice(0, 2).map(({ on }) => on),
      [null, 'cp-01'],
    )
    assert.match(diagnosis.next[1]?.say ?? '', /^Or by hand: /)
    assert.match(commands(diagnosis).join('\n'), /compact --physical 48211/)
    const defrags = diagnosis.next.filter(({ commands: typed }) =>
      typed.some((one) => one.endsWith(' defrag')),
    )
    assert.deepEqual(
      defrags.map(({ on }) => on),
      ['cp-01', 'cp-03', 'cp-02'],
    )
    assert.match(commands(diagnosis).at(-3) ?? '', /alarm disarm$/)
    assert.match(said(diagnosis), /alarm:NOSPACE; database 2.0 GiB.*quota 2.0 GiB/)
  })

  test('the quota is the manifest’s own', () => {
    const small = kubeadmManifest('cp-02').replace(
      '    - etcd\n',
      '    - etcd\n    - --quota-backend-bytes=20971520\n',
    )
    const look = [well('cp-01'), { ...well('cp-02'), etcdManifest: small }, well('cp-03')]
    assert.match(said(diagnose(config, [look])), /its database has 119 % of its quota/)
  })

  test('a database that holds mostly nothing is told of, with what gives it back', () => {
    const loose = { dbSizeBytes: 1_500_000_000, dbSizeInUseBytes: 300_000_000 }
    const diagnosis = is(
      diagnose(config, [all((node) => well(node, node === 'cp-02' ? loose : {}))]),
      'healthy',
      [],
    )
    assert.match(
      said(diagnosis),
      /its database holds 1\.1 GiB that nothing uses: requorum relieve prod gives/,
    )
  })

  test('a quota that is switched off is never reached', () => {
    const off = kubeadmManifest('cp-02').replace(
      '    - etcd\n',
      '    - etcd\n    - --quota-backend-bytes=-1\n',
    )
    const big = {
      ...well('cp-02', { dbSizeBytes: 9_000_000_000, dbSizeInUseBytes: 8_900_000_000 }),
      etcdManifest: off,
    }
    assert.doesNotMatch(said(diagnose(config, [[well('cp-01'), big, well('cp-03')]])), /quota/)
  })

  test('a full disk, by bytes, by inodes, or by etcd’s last words', () => {
    const disk = symptoms().dataDisk
    const bytes = well('cp-02', {}, { dataDisk: { ...disk, freeBytes: 4_096 } })
    assert.match(
      said(is(diagnose(config, [[well('cp-01'), bytes, well('cp-03')]]), 'no-space', ['cp-02'])),
      /4.0 KiB of 93 GiB free/,
    )
    const inodes = well('cp-02', {}, { dataDisk: { ...disk, freeInodes: 0 } })
    is(diagnose(config, [[well('cp-01'), inodes, well('cp-03')]]), 'no-space', ['cp-02'])
    const btrfs = well('cp-02', {}, { dataDisk: { ...disk, inodes: 0, freeInodes: 0 } })
    is(diagnose(config, [[well('cp-01'), btrfs, well('cp-03')]]), 'healthy', [])
    const words = died(
      'failed to save Raft hard state and entries: write /var/lib/etcd/member/wal: no space left on device',
    )
    is(diagnose(config, [all((node) => down(node, words))]), 'no-space', NAMES)
  })

  test('a leader cut off from its peers: the network, and its data is left alone', () => {
    const cut = alone('cp-01', { raftTerm: '7' })
    const others = ['cp-02', 'cp-03'].map((node) => well(node, { leaderId: SECOND_LEADS, raftTerm: '8' }))
    const diagnosis = is(diagnose(config, [[cut, ...others]]), 'hands-off', ['cp-01'])
    assert.match(diagnosis.summary, /cut off from its peers; the others hold the quorum/)
    assert.match(commands(diagnosis).join('\n'), /dev\/tcp\/10\.0\.1\.12\/2380/)
  })

  test('all members cut off from each other', () => {
    is(diagnose(config, [all((node) => alone(node))]), 'hands-off', NAMES)
  })

  test('an API server that alone is ill: etcd is healthy, look there', () => {
    const ok = { status: 200, why: '' }
    const api = (readyz: { status: number | null; why: string }, pids = [77]) => ({
      apiServer: { pids, readyz, livez: readyz },
    })
    const having = (ill: Pick<Symptoms, 'apiServer'>) => [
      [well('cp-01', {}, api(ok)), well('cp-02', {}, ill), well('cp-03', {}, api(ok))],
    ]
    for (const [ill, why] of [
      [api({ status: 500, why: '[-]poststarthook/rbac failed' }), /says 500 to \/readyz .*rbac/],
      [api({ status: 0, why: 'curl: (28) timed out' }), /does not answer: curl: \(28\)/],
      [api(ok, []), /does not run/],
    ] as const) {
      const diagnosis = is(diagnose(config, having(ill)), 'hands-off', ['cp-02'])
      assert.match(diagnosis.summary, /etcd is healthy\. The API server on cp-02 alone is ill/)
      assert.match(said(diagnosis), why)
    }
    for (const untold of [api({ status: 401, why: '' }), api({ status: null, why: 'no curl' })]) {
      is(diagnose(config, having(untold)), 'healthy', [])
    }
    const noneWell = diagnose(config, [all((node) => well(node, {}, api({ status: 0, why: 'refused' })))])
    assert.match(noneWell.summary, /Every API server is ill/)
  })

  test('an API server is not blamed while etcd is not well', () => {
    const dead = { apiServer: { pids: [], readyz: { status: 0, why: 'x' }, livez: { status: 0, why: 'x' } } }
    const look = [well('cp-01', {}, dead), corrupted('cp-02'), well('cp-03', {}, dead)]
    assert.doesNotMatch(said(diagnose(config, [look])), /API server on/)
  })

  test('a cluster that can’t be asked: a path, a right, a missing etcdctl', () => {
    const look = all((node) =>
      silent(node, {}, { member: { answers: false, reason: 'open /x.crt: no such file or directory' } }),
    )
    is(diagnose(config, [look]), 'hands-off', NAMES)
    const bare = all((node) => silent(node, {}, { tools: { etcdctl: null, etcdutl: null } }))
    assert.match(said(is(diagnose(config, [bare]), 'hands-off', NAMES)), /no etcdctl/)
  })

  test('an etcd that can’t start because of its set-up', () => {
    const bound = down('cp-02', died('listen tcp 10.0.1.12:2380: bind: address already in use'))
    assert.match(
      is(diagnose(config, [[well('cp-01'), bound, well('cp-03')]]), 'hands-off', ['cp-02']).summary,
      /not its data/,
    )
  })

  test('a replacement that was left half done', () => {
    const members = MEMBERS.map((member, at) => ({ ...member, isLearner: at === 2 }))
    const look = [
      well('cp-01', { members }),
      well('cp-02', { members }),
      alone('cp-03', { isLearner: true, leaderId: SECOND_LEADS }),
    ]
    assert.match(said(is(diagnose(config, [look]), 'hands-off', [])), /learner that was not promoted/)
  })
})

describe('flapping', () => {
  test('nobody is judged by one moment: a restart between two looks is told, and waited for', () => {
    const looks = [
      [well('cp-01'), down('cp-02'), well('cp-03')],
      [well('cp-01'), { ...well('cp-02', {}, { etcdAgeSeconds: 2 }), etcdPids: [4_711] }, well('cp-03')],
    ]
    assert.equal(worthAnotherLook(config, [looks[0]!]), true)
    assert.equal(worthAnotherLook(config, looks), true)
    const diagnosis = is(diagnose(config, looks), 'hands-off', ['cp-02'])
    assert.match(diagnosis.summary, /not steady/)
    assert.match(said(diagnosis), /stood in the quorum at 1 of 2 looks, and was restarted between them/)
  })

  test('what no look can change is not looked at again: dates, disks, alarms, clocks, locks', () => {
    const certificates = [certificate('etcd-peer', EXPIRED)]
    assert.equal(worthAnotherLook(config, [all((node) => silent(node, { certificates }))]), false)
    const dataDisk = { ...symptoms().dataDisk, freeBytes: 0 }
    assert.equal(worthAnotherLook(config, [all((node) => down(node, { dataDisk }))]), false)
    assert.equal(worthAnotherLook(config, [all(corrupted)]), true)
  })

  test('a settled, healthy or hopelessly unreachable picture needs one look', () => {
    assert.equal(worthAnotherLook(config, [all((node) => well(node))]), false)
    assert.equal(worthAnotherLook(config, [all(unreached)]), false)
    assert.equal(worthAnotherLook(config, [all((node) => reached(node))]), false)
  })
})

describe('whatever is seen', () => {
  const fatal = fc.constantFrom(
    null,
    'wal: crc mismatch',
    'panic: freepages: failed',
    'no space left on device',
    'permanently removed from the cluster',
    'bind: address already in use',
    'panic: out of cheese',
  )
  const anySymptoms = fc.record({
    clock: fc.constantFrom('2026-11-22T02:14:00.000Z', '2027-11-22T02:14:00.000Z'),
    kubelet: fc.constantFrom('active', 'inactive', null),
    etcdAgeSeconds: fc.constantFrom(null, 3, 86_400),
    etcdState: fc.constantFrom(null, 'S', 'T'),
    etcdLog: fc.record({ restarts: fc.nat(20), fatal, fatalBefore: fatal }),
    certificates: fc.constantFrom([], [certificate('etcd-server', EXPIRED)], [certificate('etcd-ca')]),
  })
  const anyNode = fc.record({
    what: fc.constantFrom(
      'well',
      'well',
      'alone',
      'silent',
      'silent',
      'down',
      'down',
      'unreached',
      'unaskable',
      'impostor',
    ),
    bytes: fc.constantFrom(0, 190_000_000),
    manifest: fc.boolean(),
    skew: fc.constantFrom(0, 0, 0, 365 * 86_400_000),
    more: fc.option(anySymptoms, { nil: undefined }),
  })
  const anyLook = fc.tuple(anyNode, anyNode, anyNode).map((nodes) =>
    nodes.map(({ what, bytes, manifest, skew, more }, at): NodeSurvey => {
      const node = NAMES[at]!
      if (what === 'unreached') return unreached(node)
      const member = {
        well: answering(node),
        alone: answering(node, { healthy: false, leaderId: NO_LEADER, members: [] }),
        impostor: answering(node, { members: [MEMBERS[at]!] }),
        silent: SILENT,
        down: { answers: false, reason: 'no etcd process runs' } as const,
        unaskable: { answers: false, reason: 'tls: failed to verify certificate: x509' } as const,
      }[what]
      return reached(node, {
        member: member ?? SILENT,
        etcdPids: what === 'down' ? [] : [812],
        etcdManifest: manifest ? kubeadmManifest(node) : null,
        dataDir: { ...reached(node).dataDir, bytes: what === 'well' ? 190_000_000 : bytes },
        clockSkewMs: skew,
        ...(more === undefined ? {} : { symptoms: symptoms(more) }),
      })
    }),
  )
  const anyLooks = fc.array(anyLook, { minLength: 1, maxLength: 4 })

  test('nothing is restored while quorum holds, at whichever look', () => {
    fc.assert(
      fc.property(anyLooks, (looks) => {
        const { kind } = diagnose(config, looks)
        if (looks.some((look) => quorumHolds(look))) assert.notEqual(kind, 'restore-quorum')
      }),
      { numRuns: 400 },
    )
  })

  test('nothing is restored past a node that was not reached or can’t be asked, nor is it called healthy', () => {
    fc.assert(
      fc.property(anyLooks, (looks) => {
        const last = looks.at(-1)!
        const { kind } = diagnose(config, looks)
        if (unreachedNodes(last).length > 0 || unaskableNodes(last).length > 0) {
          assert.notEqual(kind, 'restore-quorum')
          assert.notEqual(kind, 'healthy')
        }
      }),
      { numRuns: 400 },
    )
  })

  test('a restore names a majority, each by evidence of its own and none by mere silence', () => {
    fc.assert(
      fc.property(anyLooks, (looks) => {
        const { kind, nodes, evidence } = diagnose(config, looks)
        if (kind !== 'restore-quorum') return
        assert.ok(nodes.length >= 2)
        for (const node of nodes) {
          const fact = evidence.find((one) => one.node === node)?.fact ?? ''
          assert.match(fact, /last words|no log|doesn't exist|cluster of its own/)
        }
      }),
      { numRuns: 500 },
    )
  })

  test('who is healthy is all of them, at every look; everything else comes with evidence and a next step', () => {
    fc.assert(
      fc.property(anyLooks, (looks) => {
        const { kind, evidence, next, summary } = diagnose(config, looks)
        assert.ok(summary.length > 0 && evidence.length > 0)
        if (kind === 'healthy') assert.ok(looks.every((look) => quorumHolds(look)) && next.length === 0)
        else assert.ok(next.length > 0)
      }),
      { numRuns: 400 },
    )
  })

  test('"restore" is a word that only the diagnosis "restore" says as a command', () => {
    fc.assert(
      fc.property(anyLooks, (looks) => {
        const diagnosis = diagnose(config, looks)
        const says = commands(diagnosis).some((command) => /requorum (plan )?restore/.test(command))
        assert.equal(says, diagnosis.kind === 'restore-quorum')
      }),
      { numRuns: 500 },
    )
  })
})

test('IDs of the alarm are read to the last digit', () => {
  const id = etcdId.parse('8e9e05c52164694d')
  const errors = [`memberID:${BigInt(`0x${id}`)} alarm:CORRUPT `]
  assert.equal(id, MEMBER_IDS[0])
  const look = all((node) => well(node, { leaderId: SECOND_LEADS, errors, clusterId: CLUSTER_ID }))
  is(diagnose(config, [look]), 'replace-member', ['cp-01'])
})
