/** The scripts of the validation, each against the real thing: an etcd, openssl, a server on loopback. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { readKindCounts } from '../../systems/etcd/kind-counts.ts'
import { NO_ETCD, ThrowawayEtcd } from './throwaway-etcd.ts'

const systems = join(import.meta.dirname, '../../systems')
const script = (name: string) => readFileSync(join(systems, name), 'utf8')

/** Not blocking: a server of this process has to answer meanwhile. */
function sh(
  text: string,
  args: readonly string[],
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn('dash', ['-c', text, 'sh', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (some: string) => (stdout += some))
  child.stderr.setEncoding('utf8').on('data', (some: string) => (stderr += some))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout, stderr }))
  })
}

describe('kind-counts', { skip: NO_ETCD }, () => {
  let etcd: ThrowawayEtcd
  let since = ''
  const counted = async (page: number) => {
    const { code, stdout, stderr } = await sh(script('etcd/keys-a-page.sh') + script('etcd/kind-counts.sh'), [
      since,
      String(page),
      ...etcd.etcdctl(),
    ])
    assert.equal(code, 0, stderr)
    return readKindCounts(stdout)
  }

  before(async () => {
    etcd = await ThrowawayEtcd.start()
    for (let index = 0; index < 7; index += 1) await etcd.put(`/registry/pods/default/web-${index}`, 'x')
    for (const key of [
      '/registry/secrets/default/a',
      '/registry/services/specs/default/web',
      '/registry/services/endpoints/default/web',
      '/registry/argoproj.io/applications/argocd/shop',
      '/registry/masterleases/10.0.1.11',
      '/registry/ranges/serviceips',
      'compact_rev_key',
    ]) {
      await etcd.put(key, 'x')
    }
    since = await etcd.put('/registry/pods/default/web-0', 'written again')
    await etcd.put('/registry/pods/default/young', 'x')
    await etcd.put('/registry/pods/default/web-1', 'written again, and as old as before')
    for (const key of [
      '/registry/namespaces/requorum-canary-1a2b3c4d',
      '/registry/pods/requorum-canary-1a2b3c4d/canary-x',
      '/registry/services/specs/requorum-canary-1a2b3c4d/canary',
    ]) {
      await etcd.put(key, 'x')
    }
  })
  after(() => etcd.stop())

  test('counts each kind and what of it is younger, without canaries and bookkeeping, whatever the pages are', async () => {
    const expected = {
      'argoproj.io/applications': { now: 1, created: 0 },
      pods: { now: 8, created: 1 },
      secrets: { now: 1, created: 0 },
      'services/endpoints': { now: 1, created: 0 },
      'services/specs': { now: 1, created: 0 },
    }
    for (const page of [2, 3, 16, 17, 5_000]) {
      assert.deepEqual((await counted(page)).kinds, expected, `pages of ${page}`)
    }
  })

  test('says at which revision it counted, and leaves nothing behind', async () => {
    assert.equal((await counted(3)).revision, String(BigInt(since) + 5n))
    assert.deepEqual(
      readdirSync('/run').filter((name) => name.startsWith('requorum-counts.')),
      [],
    )
  })

  test('ends with an error where etcd does not answer', async () => {
    const dead = etcd
      .etcdctl()
      .map((word) => word.replace(/^--endpoints=.*/, '--endpoints=http://127.0.0.1:1'))
    const { code, stdout } = await sh(script('etcd/keys-a-page.sh') + script('etcd/kind-counts.sh'), [
      '1',
      '10',
      ...dead,
      '--command-timeout=1s',
    ])
    assert.notEqual(code, 0)
    assert.equal(stdout, '')
  })
})

describe('certificates', () => {
  const dir = mkdtempSync(join(tmpdir(), 'requorum-certificates-'))
  const file = (name: string) => join(dir, name)
  const look = async (...args: readonly string[]) => (await sh(script('node/certificates.sh'), args)).stdout
  let server: ReturnType<typeof spawn>
  let port = 0

  before(async () => {
    const openssl = (...args: string[]) => {
      const { status, stderr } = spawnSync('openssl', args, { cwd: dir, encoding: 'utf8' })
      assert.equal(status, 0, stderr)
    }
    const key = ['-newkey', 'rsa:2048', '-nodes', '-days', '20']
    for (const name of ['ca', 'stranger']) {
      openssl('req', '-x509', ...key, '-keyout', `${name}.key`, '-out', `${name}.crt`, '-subj', `/CN=${name}`)
    }
    for (const name of ['leaf', 'other']) {
      openssl(
        'req',
        '-x509',
        ...key,
        '-keyout',
        `${name}.key`,
        '-out',
        `${name}.crt`,
        '-subj',
        `/CN=${name}`,
        '-CA',
        'ca.crt',
        '-CAkey',
        'ca.key',
      )
    }
    const free = createServer()
    port = await new Promise((resolve) => {
      free.listen(0, '127.0.0.1', () => {
        const address = free.address()
        resolve(typeof address === 'object' && address !== null ? address.port : 0)
      })
    })
    await new Promise((resolve) => free.close(resolve))
    // As etcd does, it wants a client's certificate and shows its own before.
    server = spawn(
      'openssl',
      [
        's_server',
        '-accept',
        `127.0.0.1:${port}`,
        '-cert',
        'leaf.crt',
        '-key',
        'leaf.key',
        '-CAfile',
        'ca.crt',
        '-Verify',
        '1',
      ],
      { cwd: dir, stdio: ['pipe', 'ignore', 'ignore'] },
    )
    for (let tries = 0; tries < 100; tries += 1) {
      if ((await look('x', file('leaf.crt'), file('ca.crt'), `127.0.0.1:${port}`)).includes('served=same'))
        break
    }
  })
  after(() => {
    server.kill()
    rmSync(dir, { recursive: true })
  })

  test('that are good, of their authority, and served', async () => {
    const text = await look(
      'one',
      file('leaf.crt'),
      file('ca.crt'),
      `127.0.0.1:${port}`,
      'ca',
      file('ca.crt'),
      file('ca.crt'),
      '-',
    )
    assert.match(
      text,
      /^certificate=one\nends=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\nchain=ok\nserved=same\ncertificate=ca\nends=.*\nchain=ok\n$/,
    )
  })

  test('that are of another authority, not served, not there, or none', async () => {
    assert.match(
      await look('x', file('leaf.crt'), file('stranger.crt'), '-'),
      /^chain=.*unable to get local issuer/m,
    )
    assert.match(await look('x', file('other.crt'), file('ca.crt'), `127.0.0.1:${port}`), /^served=other$/m)
    assert.match(await look('x', file('leaf.crt'), file('ca.crt'), '127.0.0.1:1'), /^served=nothing$/m)
    assert.match(
      await look('x', file('gone.crt'), file('ca.crt'), '-'),
      /^problem=.*gone\.crt is not there$/m,
    )
    assert.match(
      await look('x', file('ca.key'), file('ca.crt'), '-'),
      /^problem=.*ca\.key holds no certificate$/m,
    )
  })
})

describe('an exchange over TCP', () => {
  let server: Server
  let port = 0
  const received: string[] = []
  const exchange = (...args: string[]) =>
    sh(script('kubernetes/canary/exchange.sh'), ['127.0.0.1', String(port), ...args])

  before(async () => {
    server = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', (question) => {
        received.push(question.toString('hex'))
        if (question.toString('latin1').startsWith('GET')) socket.end('HTTP/1.0 200 OK\r\n\r\nOK')
        // In two pieces and without an end, as DNS servers keep their connections.
        else {
          socket.write(Buffer.from([0]))
          setTimeout(() => socket.write(Buffer.from([3, 0, 10, 255, 99])), 50)
        }
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    port = typeof address === 'object' && address !== null ? address.port : 0
  })
  after(() => void server.close())

  test('sends any bytes, and reads as many as the answer says', async () => {
    const { code, stdout, stderr } = await exchange('0003000aff', 'length')
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: '000aff', stderr: '' })
    assert.equal(received.at(-1), '0003000aff')
  })

  test('reads to the end of the connection', async () => {
    const { stdout } = await exchange(Buffer.from('GET / HTTP/1.0\r\n\r\n').toString('hex'), 'close')
    assert.equal(Buffer.from(stdout, 'hex').toString(), 'HTTP/1.0 200 OK\r\n\r\nOK')
  })

  test('ends with an error where nobody listens', async () => {
    const { code, stdout, stderr } = await sh(script('kubernetes/canary/exchange.sh'), [
      '127.0.0.1',
      '1',
      '00',
      'close',
    ])
    assert.notEqual(code, 0)
    assert.equal(stdout, '')
    assert.match(stderr, /refused/i)
  })
})
