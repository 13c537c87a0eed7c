import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { fingerprint, parseKnownHosts } from '../../systems/ssh/known-hosts.ts'
import { execute } from './ssh-daemon.ts'

const ED25519 = 'AAAAC3NzaC1lZDI1NTE5AAAAIK/XMHTjg4mR0OU0ni6bpYsMay+f/uEwoVqnXkWmjvlx'
const OTHER = 'AAAAC3NzaC1lZDI1NTE5AAAAIDYg8TtxDAFxQD5fLDbmIO88+nppXrfJGrCATPO3RVh5'
const key = Buffer.from(ED25519, 'base64')
const other = Buffer.from(OTHER, 'base64')

test('a host is trusted by exactly the key that is pinned for it', () => {
  const hosts = parseKnownHosts(`# a comment\n\ncp-01,10.0.1.11 ssh-ed25519 ${ED25519} root@cp-01\r\n`)
  assert.deepEqual(hosts.judge('10.0.1.11', 22, key), { kind: 'trusted' })
  assert.deepEqual(hosts.judge('CP-01', 22, key), { kind: 'trusted' })
  assert.deepEqual(hosts.judge('10.0.1.12', 22, key), { kind: 'unknown' })
  assert.deepEqual(hosts.judge('10.0.1.11', 22, other), {
    kind: 'changed',
    expected: [{ type: 'ssh-ed25519', fingerprint: fingerprint(key), line: 3 }],
  })
})

test('a port of its own is written [host]:port; without such an entry the plain one counts, as in OpenSSH', () => {
  const hosts = parseKnownHosts(`[cp-01]:2222 ssh-ed25519 ${ED25519}\ncp-02 ssh-ed25519 ${ED25519}\n`)
  assert.equal(hosts.judge('cp-01', 2222, key).kind, 'trusted')
  assert.equal(hosts.judge('cp-01', 22, key).kind, 'unknown')
  assert.equal(hosts.judge('cp-02', 2222, key).kind, 'trusted')
})

test('a revoked key is refused even where it is pinned as well', () => {
  const hosts = parseKnownHosts(`cp-01 ssh-ed25519 ${ED25519}\n@revoked * ssh-ed25519 ${ED25519}\n`)
  assert.deepEqual(hosts.judge('cp-01', 22, key), { kind: 'revoked', line: 2 })
})

test('patterns match as in OpenSSH, and a negated one wins', () => {
  const hosts = parseKnownHosts(`*.example.org,!bad.example.org,10.0.?.1 ssh-ed25519 ${ED25519}\n`)
  assert.equal(hosts.judge('cp-01.example.org', 22, key).kind, 'trusted')
  assert.equal(hosts.judge('bad.example.org', 22, key).kind, 'unknown')
  assert.equal(hosts.judge('10.0.7.1', 22, key).kind, 'trusted')
  assert.equal(hosts.judge('10x0.7.1', 22, key).kind, 'unknown')
})

test('certificate authorities and lines that cannot be read pin nothing', () => {
  const hosts = parseKnownHosts(
    [
      `@cert-authority * ssh-ed25519 ${ED25519}`,
      `cp-01 ssh-rsa ${ED25519}`,
      'cp-01 ssh-ed25519 not/base64',
      'cp-01 ssh-ed25519',
      '|1|broken ssh-ed25519 ' + ED25519,
    ].join('\n'),
  )
  assert.equal(hosts.judge('cp-01', 22, key).kind, 'unknown')
})

test('the algorithms of the pinned key come first', () => {
  const hosts = parseKnownHosts(`cp-01 ssh-ed25519 ${ED25519}\n`)
  assert.equal(hosts.algorithms('cp-01', 22)[0], 'ssh-ed25519')
  const rsa = Buffer.concat([Buffer.from([0, 0, 0, 7]), Buffer.from('ssh-rsa'), Buffer.alloc(300)])
  const pinned = parseKnownHosts(`cp-01 ssh-rsa ${rsa.toString('base64')}\n`)
  assert.deepEqual(pinned.algorithms('cp-01', 22).slice(0, 2), ['rsa-sha2-512', 'rsa-sha2-256'])
})

test('names that ssh-keygen hashed are found, and its fingerprints are ours', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'requorum-known-hosts-'))
  try {
    const file = join(directory, 'known_hosts')
    await writeFile(file, `cp-01 ssh-ed25519 ${ED25519}\n[10.0.1.12]:2222 ssh-ed25519 ${OTHER}\n`)
    const { stdout } = await execute('ssh-keygen', ['-lf', file])
    assert.ok(stdout.includes(fingerprint(key)) && stdout.includes(fingerprint(other)))

    await execute('ssh-keygen', ['-H', '-f', file])
    const text = await readFile(file, 'utf8')
    assert.ok(!text.includes('cp-01'))
    const hosts = parseKnownHosts(text)
    assert.equal(hosts.judge('cp-01', 22, key).kind, 'trusted')
    assert.equal(hosts.judge('10.0.1.12', 2222, other).kind, 'trusted')
    assert.equal(hosts.judge('10.0.1.12', 2222, key).kind, 'changed')
    assert.equal(hosts.judge('cp-03', 22, key).kind, 'unknown')
  } finally {
    await rm(directory, { recursive: true })
  }
})

test('no text makes the parser throw, or trust a key that is not in it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string(), (text, host) => {
      assert.notEqual(parseKnownHosts(text).judge(host, 22, key).kind, 'trusted')
    }),
  )
})
