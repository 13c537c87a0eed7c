import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { apiServerAddress, judgeReadiness, readReadyz } from '../../domain/validation/api-servers.ts'
import { judgeSecrets, judgeTokens } from '../../domain/validation/credentials.ts'
import { judgeNodes, judgePods } from '../../domain/validation/workloads.ts'

/** As Kubernetes 1.33 answers `/readyz?verbose`. */
const READY = `[+]ping ok
[+]log ok
[+]etcd ok
[+]etcd-readiness ok
[+]informer-sync ok
[+]poststarthook/start-apiserver-admission-initializer ok
[+]poststarthook/rbac/bootstrap-roles ok
[+]shutdown ok
readyz check passed
`
/** As kubectl prints the answer 500 of it. */
const NOT_READY = `Error from server (InternalError): an error on the server ("[+]ping ok\\n[+]log ok\\n[-]etcd failed: reason withheld\\n[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\\nreadyz check failed") has prevented the request from succeeding
`

const said = ({ verdict, evidence }: { verdict: string; evidence: string }): string =>
  `${verdict}: ${evidence}`

const manifest = (...flags: string[]): string =>
  [
    'spec:',
    '  containers:',
    '  - command:',
    '    - kube-apiserver',
    ...flags.map((flag) => `    - ${flag}`),
  ].join('\n')

describe('an API server', () => {
  test('is asked where its manifest says that it listens', () => {
    assert.equal(
      apiServerAddress(manifest('--advertise-address=10.0.1.11', '--secure-port=6444'), '192.168.0.1'),
      '10.0.1.11:6444',
    )
    assert.equal(apiServerAddress(manifest(), '192.168.0.1'), '192.168.0.1:6443')
    assert.equal(apiServerAddress(manifest('--advertise-address=fd00::11'), 'x'), '[fd00::11]:6443')
    assert.equal(apiServerAddress('not: a pod', '10.0.1.11'), '10.0.1.11:6443')
  })

  test('names its own checks, as an answer and as an error of kubectl', () => {
    assert.deepEqual(readReadyz(READY), { checks: 8, failed: [] })
    assert.deepEqual(readReadyz(NOT_READY), {
      checks: 4,
      failed: ['etcd', 'poststarthook/rbac/bootstrap-roles'],
    })
    assert.deepEqual(readReadyz('ok'), { checks: 0, failed: [] })
  })

  test('passes only when it says that it is ready', () => {
    const ready = ['cp-01', 'cp-02'].map((node) => ({ node, code: 0, text: READY }))
    assert.equal(
      said(judgeReadiness(ready, [])),
      'pass: 2 API servers ready (cp-01, cp-02), each with 8 checks of its own',
    )
    assert.equal(
      said(judgeReadiness([...ready, { node: 'cp-03', code: 1, text: NOT_READY }], [])),
      "fail: cp-03 isn't ready: etcd, poststarthook/rbac/bootstrap-roles",
    )
    const refused =
      'The connection to the server 10.0.1.13:6443 was refused - did you specify the right host or port?'
    assert.equal(
      said(judgeReadiness([{ node: 'cp-03', code: 1, text: refused }], [])),
      `fail: cp-03 doesn't say that it is ready: ${refused}`,
    )
    assert.match(said(judgeReadiness(ready, ['cp-03'])), /^warn: cp-03 has no kube-apiserver manifest/)
    assert.equal(judgeReadiness([], []).verdict, 'fail')
  })
})

describe('nodes', () => {
  const line = (name: string, ready = 'True', reason = 'KubeletReady', unschedulable = ''): string =>
    `${name}\t${ready}\t${reason}\t${unschedulable}\n`

  test('pass when all are Ready', () => {
    assert.equal(said(judgeNodes(line('cp-01') + line('w-1'), ['cp-01'])), 'pass: 2 nodes Ready')
  })

  test('that are not, or that nobody knows, are named', () => {
    assert.equal(
      said(judgeNodes(line('cp-01') + line('w-1', 'Unknown', 'NodeStatusUnknown'), ['cp-01', 'cp-02'])),
      'fail: not Ready: w-1 (NodeStatusUnknown) of 2 nodes; the API knows no node cp-02',
    )
    assert.match(said(judgeNodes(line('w-9', '', ''), [])), /w-9 \(unknown\)/)
    assert.equal(said(judgeNodes('', ['cp-01'])), 'fail: the API knows no node')
  })

  test('that are cordoned are a warning', () => {
    assert.equal(
      said(judgeNodes(line('cp-01', 'True', 'KubeletReady', 'true'), ['cp-01'])),
      'warn: cp-01 takes no new pods (cordoned); otherwise 1 node Ready',
    )
  })

  test('of which many are down fill no history', () => {
    const many = Array.from({ length: 400 }, (_, at) => line(`w-${at}`, 'Unknown', 'NodeStatusUnknown'))
    const { evidence } = judgeNodes(many.join(''), [])
    assert.match(evidence, /and 395 more of 400 nodes/)
    assert.ok(evidence.length < 300)
  })
})

describe('pods of kube-system', () => {
  const line = (
    name: string,
    fields: Partial<Record<'phase' | 'gone' | 'ready' | 'reason' | 'waiting', string>> = {},
  ) => {
    const { phase = 'Running', gone = '', ready = 'True', reason = '', waiting = ' ' } = fields
    return `${[name, phase, gone, ready, reason, waiting].join('\t')}\n`
  }

  test('pass when ready or completed; those that leave count for nothing', () => {
    const text =
      line('coredns-1') +
      line('job-1', { phase: 'Succeeded', ready: 'False' }) +
      line('old', { ready: 'False', gone: '2026-11-22T02:14:00Z' })
    assert.equal(said(judgePods(text)), 'pass: 1 pod ready, 1 completed')
  })

  test('that crash, wait, were evicted or are not ready fail with what the kubelet says', () => {
    const text =
      line('coredns-1', { ready: 'False', waiting: ' CrashLoopBackOff' }) +
      line('proxy', { phase: 'Pending', ready: 'False', waiting: 'ImagePullBackOff ' }) +
      line('evicted', { phase: 'Failed', ready: 'False', reason: 'Evicted' }) +
      line('slow', { ready: 'False' })
    assert.equal(
      said(judgePods(text)),
      'fail: not ready: coredns-1 (CrashLoopBackOff), proxy (ImagePullBackOff), evicted (Evicted), slow (Running) of 4 pods in kube-system',
    )
  })

  test('that there are none of are a failure', () => {
    assert.equal(said(judgePods('\n')), 'fail: kube-system has no pods')
  })
})

describe('Secrets', () => {
  const read = { node: 'cp-01', listed: 12, asked: 12, read: 12, error: '' }

  test('pass when each was read through each API server; one that was deleted meanwhile is no matter', () => {
    assert.equal(
      said(judgeSecrets([read, { ...read, node: 'cp-02', read: 11 }])),
      'pass: 12 Secrets read whole from etcd, one by one, through 2 API servers',
    )
    assert.match(
      said(judgeSecrets([{ ...read, listed: 900, asked: 500, read: 500 }])),
      /pass: 500 of 900 Secrets read/,
    )
  })

  test('that one API server can not decrypt, or not even list, fail with its words', () => {
    const error = 'Error from server (InternalError): Internal error occurred: no matching key was found'
    assert.equal(
      said(judgeSecrets([read, { ...read, node: 'cp-02', read: 9, error }])),
      `fail: cp-02 reads 9 of 12 Secrets (12 listed): ${error}`,
    )
    assert.equal(
      said(judgeSecrets([{ ...read, listed: 0, asked: 0, read: 0, error }])),
      `fail: cp-01 can't list the Secrets: ${error}`,
    )
    assert.equal(judgeSecrets([]).verdict, 'fail')
  })
})

test('tokens pass when each is accepted as the service account that it is of', () => {
  const user = 'system:serviceaccount:kube-system:default'
  const ring = [
    { issuer: 'cp-01', reviewer: 'cp-02', user, error: '' },
    { issuer: 'cp-02', reviewer: 'cp-01', user, error: '' },
  ]
  assert.equal(
    said(judgeTokens(user, ring)),
    `pass: tokens of ${user} accepted: cp-01's by cp-02, cp-02's by cp-01`,
  )
  assert.equal(
    said(
      judgeTokens(user, [{ issuer: 'cp-01', reviewer: 'cp-02', user: null, error: 'invalid bearer token' }]),
    ),
    "fail: cp-02 doesn't accept a token of cp-01: invalid bearer token",
  )
  assert.match(
    said(judgeTokens(user, [{ issuer: 'cp-01', reviewer: 'cp-02', user: 'somebody', error: '' }])),
    /^fail: cp-02 takes a token of .* for somebody/,
  )
  assert.equal(judgeTokens(user, []).verdict, 'fail')
})
