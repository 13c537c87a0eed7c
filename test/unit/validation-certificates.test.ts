import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  apiCertificates,
  etcdCertificates,
  judgeCertificates,
  type CertificateSeen,
} from '../../domain/validation/certificates.ts'
import { clusterConfig, kubeadmManifest } from './examples.ts'

const NOW = new Date('2026-11-22T02:14:00Z')

function seen(differs: Partial<CertificateSeen> = {}): CertificateSeen {
  return {
    node: 'cp-01',
    name: 'etcd server',
    problem: null,
    endsAt: '2027-11-22T02:14:00Z',
    chain: 'ok',
    served: 'same',
    ...differs,
  }
}

function judge(...differs: Partial<CertificateSeen>[]): string {
  const { verdict, evidence } = judgeCertificates(differs.map(seen), NOW)
  return `${verdict}: ${evidence}`
}

describe('certificates', () => {
  test('that are good pass, and the first to end is named', () => {
    assert.equal(
      judge({}, { name: 'etcd peer', endsAt: '2027-01-21T02:14:00Z' }),
      'pass: 2 certificates good; the first to end is cp-01: etcd peer, in 60 days',
    )
  })

  test('that have expired, even by a minute, or are not of their authority, fail', () => {
    assert.match(
      judge({ endsAt: '2026-11-22T02:13:00Z' }),
      /^fail: cp-01: etcd server has expired, 2026-11-22/,
    )
    assert.match(
      judge({ chain: 'error 20 at 0 depth lookup: unable to get local issuer certificate' }),
      /^fail: cp-01: etcd server is not of its authority: error 20/,
    )
  })

  test('that end within a month are a warning, from the thirtieth day on', () => {
    assert.match(judge({ endsAt: '2026-12-22T02:13:00Z' }), /^warn: cp-01: etcd server ends in 29 days/)
    assert.match(judge({ endsAt: '2026-12-22T02:14:00Z' }), /^pass: /)
  })

  test('that are not what is served, or served nowhere, are a warning', () => {
    assert.match(judge({ served: 'other' }), /^warn: .*another one is served than lies on disk/)
    assert.match(judge({ served: 'nothing' }), /^warn: .*nothing answers where it should be served/)
    assert.match(judge({ served: null }), /^pass: /)
  })

  test('that could not be looked at, and none at all, fail', () => {
    assert.equal(
      judge({ problem: '/etc/x.crt is not there' }),
      'fail: cp-01: etcd server: /etc/x.crt is not there',
    )
    assert.equal(judge(), 'fail: no manifest names a certificate')
  })
})

test("etcd's certificates are those that its manifest names, and the one that we ask it with", () => {
  const found = etcdCertificates(kubeadmManifest('cp-02'), clusterConfig())
  assert.deepEqual(
    found.map(
      ({ name, file, servedAt }) => `${name} ${file.replace('/etc/kubernetes/pki/etcd/', '')} ${servedAt}`,
    ),
    [
      'etcd server server.crt 127.0.0.1:2379',
      'etcd peer peer.crt 10.0.1.12:2380',
      'etcd health check client healthcheck-client.crt null',
      'etcd authority ca.crt null',
    ],
  )
  assert.deepEqual(etcdCertificates('no pod', clusterConfig()), [])
})

test("an API server's certificates are those that its manifest names, with the authority of each", () => {
  const pki = '/etc/kubernetes/pki'
  const manifest = `
apiVersion: v1
kind: Pod
spec:
  containers:
  - command:
    - kube-apiserver
    - --client-ca-file=${pki}/ca.crt
    - --etcd-cafile=${pki}/etcd/ca.crt
    - --etcd-certfile=${pki}/apiserver-etcd-client.crt
    - --kubelet-client-certificate=${pki}/apiserver-kubelet-client.crt
    - --proxy-client-cert-file=${pki}/front-proxy-client.crt
    - --requestheader-client-ca-file=${pki}/front-proxy-ca.crt
    - --tls-cert-file=${pki}/apiserver.crt
`
  assert.deepEqual(
    apiCertificates(manifest, '10.0.1.11:6443').map(({ file, authority, servedAt }) =>
      [file, authority, servedAt].join(' ').replaceAll(`${pki}/`, ''),
    ),
    [
      'apiserver.crt ca.crt 10.0.1.11:6443',
      'apiserver-etcd-client.crt etcd/ca.crt ',
      'apiserver-kubelet-client.crt ca.crt ',
      'front-proxy-client.crt front-proxy-ca.crt ',
      'ca.crt ca.crt ',
    ],
  )
})
