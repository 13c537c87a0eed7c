import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  canaryNamespace,
  canaryObjects,
  clusterDomain,
  leftOvers,
  withRemoval,
} from '../../domain/validation/canary.ts'
import { addressHex, dnsQuestion, hexText, readDnsAnswer, textHex } from '../../domain/validation/dns.ts'
import { fail, pass, skipped, warn } from '../../domain/validation/finding.ts'

describe('the canary', () => {
  const text = JSON.stringify(
    canaryObjects('1a2b3c4d', 'registry.k8s.io/coredns/coredns:v1.12.0', 1_800_000_000),
  )

  test('lies whole in a namespace of its own, which says until when it may be there', () => {
    assert.equal(canaryNamespace('1a2b3c4d'), 'requorum-canary-1a2b3c4d')
    assert.deepEqual(
      new Set(text.match(/"namespace":"[^"]*"/g)),
      new Set(['"namespace":"requorum-canary-1a2b3c4d"']),
    )
    assert.match(text, /"requorum\.io\/until":"1800000000"/)
  })

  test('pulls nothing that is there, and may do what CoreDNS may and no more', () => {
    assert.match(
      text,
      /"image":"registry\.k8s\.io\/coredns\/coredns:v1\.12\.0","imagePullPolicy":"IfNotPresent"/,
    )
    assert.match(text, /"capabilities":\{"add":\["NET_BIND_SERVICE"\],"drop":\["ALL"\]\}/)
    assert.match(text, /"allowPrivilegeEscalation":false,"readOnlyRootFilesystem":true/)
    assert.match(text, /"runAsNonRoot":true,"runAsUser":65532/)
    assert.match(text, /"automountServiceAccountToken":false/)
  })

  test('is left over when its time is over, and never while a run of somebody else goes on', () => {
    const now = new Date(1_800_000_000_000)
    const lines = [
      'requorum-canary-old 1799999999',
      'requorum-canary-young 1800000001',
      'requorum-canary-own 1',
      'requorum-canary-nobody',
      '',
    ].join('\n')
    assert.deepEqual(leftOvers(lines, 'requorum-canary-own', now), [
      'requorum-canary-old',
      'requorum-canary-nobody',
    ])
  })

  test('passes only when it is gone again', () => {
    assert.equal(withRemoval(pass('a'), pass('b')).verdict, 'pass')
    assert.equal(withRemoval(pass('a'), fail('b')).verdict, 'fail')
    assert.equal(withRemoval(warn('a'), pass('b')).verdict, 'warn')
    assert.equal(withRemoval(fail('a'), pass('b')).verdict, 'fail')
    assert.deepEqual(withRemoval(skipped('a'), fail('b')), skipped('a'))
  })
})

test("the cluster's domain is what CoreDNS is told", () => {
  const corefile = `.:53 {
    errors
    kubernetes prod.example in-addr.arpa ip6.arpa {
       pods insecure
    }
}`
  assert.equal(clusterDomain(corefile), 'prod.example')
  assert.equal(clusterDomain(''), 'cluster.local')
})

describe('a DNS question', () => {
  test('is what a resolver would send over TCP', () => {
    assert.equal(
      dnsQuestion('a.bc', 4),
      ['0016', '7251', '0100', '0001', '000000000000', '0161', '026263', '00', '0001', '0001'].join(''),
    )
    assert.match(dnsQuestion('a.bc.', 6), /00001c0001$/)
  })

  test('is answered by addresses, behind names that point elsewhere and records of other kinds', () => {
    const question = '0161026263000001000 1'.replace(' ', '')
    const cname = 'c00c' + '0005' + '0001' + '0000001e' + '0003' + '016400'
    const address = 'c00c' + '0001' + '0001' + '0000001e' + '0004' + '0a600001'
    const answer = `7251` + '8580' + '0001' + '0002' + '0000' + '0000' + question + cname + address
    assert.deepEqual(readDnsAnswer(answer), { addresses: ['0a600001'] })
    assert.equal(addressHex('10.96.0.1'), '0a600001')
  })

  test('that is refused gives the reason', () => {
    assert.deepEqual(readDnsAnswer('7251' + '8583' + '0001' + '0000' + '0000' + '0000'), {
      refused: 'no such name',
    })
    assert.deepEqual(readDnsAnswer('7251' + '8580' + '0000' + '0000' + '0000' + '0000'), {
      refused: 'the answer holds no address',
    })
    for (const wrong of ['', '00', '1111' + '8580' + '0000' + '0000' + '0000' + '0000']) {
      assert.deepEqual(readDnsAnswer(wrong), { refused: 'what came is no answer to the question' })
    }
  })

  test('never hangs or throws over an answer, whatever its bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        readDnsAnswer(`7251${Buffer.from(bytes).toString('hex')}`)
      }),
    )
  })
})

test('addresses are the same however they are written', () => {
  assert.equal(addressHex('fd00::10'), 'fd000000000000000000000000000010')
  assert.equal(addressHex('FD00:0:0:0:0:0:0:10'), 'fd000000000000000000000000000010')
  assert.equal(addressHex('::1'), '00000000000000000000000000000001')
  assert.equal(addressHex('canary'), null)
  assert.equal(hexText(textHex('GET / HTTP/1.0\r\n')), 'GET / HTTP/1.0\r\n')
})
