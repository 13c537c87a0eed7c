/** Signed consent against the machine's own ssh-keygen, with keys that are made for it. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, before, describe, test } from 'node:test'
import { parse } from 'yaml'
import { createClusterActivities } from '../../activities/cluster.ts'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { consentStatement, decisionSchema, type StatedConsent } from '../../domain/consent.ts'
import { RequorumError } from '../../domain/failures.ts'
import { signedDecisionCommands } from '../../domain/messages.ts'
import { planDigest } from '../../domain/values.ts'
import { createSshIdentity, findSigner } from '../../systems/identity/ssh.ts'
import { signConsent } from '../../systems/identity/ssh-sign.ts'
import { clusterConfig } from '../unit/examples.ts'

const dir = mkdtempSync(join(tmpdir(), 'requorum-signers-'))
after(() => rmSync(dir, { recursive: true, force: true }))

const signersFile = join(dir, 'allowed_signers')
const identity = createSshIdentity(signersFile)

const consent: StatedConsent = {
  cluster: 'prod',
  workflowId: 'recovery/prod',
  runId: '0198c0de-77',
  checkpoint: 'destroy',
  decision: 'approve',
  digest: planDigest.parse('3fa9c1d2'.padEnd(64, '0')),
  until: '2026-11-23T02:14:00.000Z',
}
const statement = consentStatement(consent)

const key = (name: string): string => join(dir, name)
const publicKey = (name: string): string =>
  readFileSync(`${key(name)}.pub`, 'utf8')
    .split(' ')
    .slice(0, 2)
    .join(' ')
const allow = (...lines: readonly string[]): void => writeFileSync(signersFile, `${lines.join('\n')}\n`)

function sshKeygen(args: readonly string[], input = ''): string {
  const { status, stdout, stderr } = spawnSync('ssh-keygen', args, {
    input,
    encoding: 'utf8',
    timeout: 10_000,
  })
  assert.equal(status, 0, stderr)
  return stdout
}

function sign(by: string, what = statement, namespace = 'requorum-consent'): string {
  return sshKeygen(['-q', '-Y', 'sign', '-n', namespace, '-f', key(by)], what)
}

async function refusal(by: string, proof: string | null, what = statement): Promise<string> {
  const proven = await identity.prove({ statement: what, by, proof })
  assert.ok('refused' in proven, JSON.stringify(proven))
  return proven.refused
}

before(() => {
  for (const name of ['ana', 'ana-phone', 'ben', 'eve']) {
    sshKeygen(['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', key(name)])
  }
  allow(
    `ana@example.com ${publicKey('ana')}`,
    `ana@example.com namespaces="requorum-consent" ${publicKey('ana-phone')}`,
    `ben@example.com ${publicKey('ben')}`,
  )
})

describe('a signature of an allowed signer over exactly the statement', () => {
  test('says whose word it is', async () => {
    for (const [who, by] of [
      ['ana', 'ana@example.com'],
      ['ben', 'ben@example.com'],
    ] as const) {
      assert.deepEqual(await identity.prove({ statement, by, proof: sign(who) }), { who: by })
    }
  })

  test('is of one person, whichever of her keys made it', async () => {
    const by = 'ana@example.com'
    assert.deepEqual(await identity.prove({ statement, by, proof: sign('ana-phone') }), { who: by })
  })

  test('may be made with RSA and ECDSA, and leaves nothing in the temporary directory', async () => {
    const own = mkdtempSync(join(dir, 'tmp-'))
    const before = process.env['TMPDIR']
    process.env['TMPDIR'] = own
    try {
      for (const type of ['rsa', 'ecdsa']) {
        sshKeygen(['-q', '-t', type, '-N', '', '-f', key(type)])
        const file = join(dir, `${type}-signers`)
        writeFileSync(file, `cid ${publicKey(type)}\n`)
        const proven = await createSshIdentity(file).prove({ statement, by: 'cid', proof: sign(type) })
        assert.deepEqual(proven, { who: 'cid' })
      }
      assert.deepEqual(readdirSync(own), [])
    } finally {
      if (before === undefined) delete process.env['TMPDIR']
      else process.env['TMPDIR'] = before
    }
  })

  test('of 64 KiB statements and of many at once is verified too', async () => {
    const long = `${'x'.repeat(65_536)}\n`
    const proofs = Array.from({ length: 8 }, () => sign('ben', long))
    const all = proofs.map((proof) => identity.prove({ statement: long, by: 'ben@example.com', proof }))
    for (const proven of await Promise.all(all)) assert.deepEqual(proven, { who: 'ben@example.com' })
  })
})

describe('what proves nothing is refused with its reason', () => {
  const others: Partial<StatedConsent>[] = [
    { cluster: 'staging' },
    { workflowId: 'recovery/staging' },
    { runId: '0198c0de-78' },
    { checkpoint: 'accept' },
    { decision: 'refuse' },
    { digest: planDigest.parse('3fa9c1d2'.padEnd(64, '1')) },
    { until: '2026-11-24T02:14:00.000Z' },
  ]
  for (const other of others) {
    test(`a signature over another ${Object.keys(other).join()}`, async () => {
      const proof = sign('ana', consentStatement({ ...consent, ...other }))
      assert.match(await refusal('ana@example.com', proof), /what was signed is something else/)
    })
  }

  test('a signature over the statement without its last line end', async () => {
    assert.match(await refusal('ana@example.com', sign('ana', statement.trimEnd())), /something else/)
  })

  test('one with another namespace', async () => {
    for (const namespace of ['git', 'file', 'requorum-consent-2']) {
      assert.match(await refusal('ana@example.com', sign('ana', statement, namespace)), /namespace/)
    }
  })

  test('one by a key that nobody allowed', async () => {
    assert.match(await refusal('ana@example.com', sign('eve')), /its key isn't one of an allowed signer/)
  })

  test('one that is said to be of somebody else', async () => {
    assert.match(
      await refusal('ben@example.com', sign('ana')),
      /ana@example\.com signed it, and it says it is by ben@example\.com/,
    )
    assert.match(await refusal('ANA@example.com', sign('ana')), /ana@example\.com signed it/)
    assert.match(await refusal('*', sign('ana')), /ana@example\.com signed it/)
  })

  test('one with bytes changed', async () => {
    const [head = '', ...rest] = sign('ana').split('\n')
    const body = rest.slice(0, -2).join('')
    for (const at of [0, 40, Math.floor(body.length / 2), body.length - 10]) {
      const bytes = Buffer.from(body, 'base64')
      const index = Math.min(bytes.length - 1, Math.floor((at * 3) / 4))
      bytes[index] = (bytes[index] ?? 0) ^ 1
      await refusal('ana@example.com', `${head}\n${bytes.toString('base64')}\n-----END SSH SIGNATURE-----\n`)
    }
  })

  test('what is no signature at all', async () => {
    for (const proof of [
      '',
      'yes',
      '-----BEGIN SSH SIGNATURE-----',
      publicKey('ana'),
      '\0'.repeat(100),
      'x'.repeat(20_000),
    ]) {
      assert.match(await refusal('ana@example.com', proof), /no SSH signature/)
    }
    assert.match(await refusal('ana@example.com', null), /asks for an SSH signature/)
  })

  test('one outside of the days for which its key is allowed', async () => {
    const dated = join(dir, 'dated')
    for (const [option, words] of [
      ['valid-before="20200101"', /expired/],
      ['valid-after="20990101"', /not yet valid/],
      ['valid-after="20190101",valid-before="20200101Z"', /expired/],
      ['namespaces="git"', /namespace/],
    ] as const) {
      writeFileSync(dated, `ana ${option} ${publicKey('ana')}\n`)
      const proven = await createSshIdentity(dated).prove({ statement, by: 'ana', proof: sign('ana') })
      assert.ok('refused' in proven)
      assert.match(proven.refused, words)
      assert.ok(!proven.refused.includes(tmpdir()), 'the words name the file as people know it')
    }
  })
})

describe('that it can not be told who it was is an error', () => {
  const cases: [string, string | null, RegExp][] = [
    ['when the file is gone', null, /no such file/],
    ['when it is huge', '#'.repeat(2_000_000), /2000000 bytes/],
    ['when a key stands for two names', 'ana KEY\nben KEY\n', /line 2 has the key of ana \(line 1\) for ben/],
    ['when a key stands for anybody', '* KEY\n', /line 1 has to name one person/],
  ]
  for (const [what, text, words] of cases) {
    test(what, async () => {
      const file = join(dir, `bad-${cases.findIndex(([name]) => name === what)}`)
      if (text !== null) writeFileSync(file, text.replaceAll('KEY', publicKey('ana')))
      await assert.rejects(
        createSshIdentity(file).prove({ statement, by: 'ana', proof: sign('ana') }),
        (error) => {
          assert.ok(error instanceof RequorumError)
          assert.equal(error.code, 'config-invalid')
          assert.match(error.message, words)
          return true
        },
      )
      const [fault] = await createSshIdentity(file).faults(1)
      assert.equal(fault?.field, 'allowedSigners')
    })
  }

  test('when there is no ssh-keygen', async () => {
    const proof = sign('ana')
    await withPath('/nonexistent', async () => {
      await assert.rejects(identity.prove({ statement, by: 'ana@example.com', proof }), {
        code: 'tools-missing',
      })
      const faults = await identity.faults(1)
      assert.deepEqual(
        faults.map(({ field }) => field),
        ['proof'],
      )
      assert.match(faults[0]!.what, /ssh-keygen/)
    })
  })

  test('when ssh-keygen is older than its signatures', async () => {
    const bin = join(dir, 'old')
    mkdirSync(bin)
    writeFileSync(join(bin, 'ssh-keygen'), '#!/bin/sh\necho "ssh-keygen: illegal option -- Y" >&2\nexit 1\n')
    chmodSync(join(bin, 'ssh-keygen'), 0o755)
    await withPath(bin, async () =>
      assert.match((await identity.faults(1))[0]?.what ?? '', /older than OpenSSH 8\.2/),
    )
  })
})

test('a recovery that nobody could consent to is refused where its cluster file is read; a backup is not', async () => {
  const config = (people: number): ClusterConfig =>
    clusterConfig({ approval: { proof: 'ssh', allowedSigners: 'x', destroy: { people } } })
  const read = (people: number, needs?: { consent: boolean }): Promise<ClusterConfig> =>
    createClusterActivities({
      loadCluster: async () => config(people),
      identityFor: () => identity,
    }).loadCluster('prod', needs)
  assert.deepEqual(await read(3), config(3))
  assert.deepEqual(await read(2, { consent: true }), config(2))
  await assert.rejects(read(3, { consent: true }), {
    code: 'config-invalid',
    message: /Nobody could consent[\s\S]*approval\.allowedSigners: .*3 different people/,
  })
})

test('what stands in the way is found before anybody is asked', async () => {
  assert.deepEqual(await identity.faults(2), [])
  const [fault] = await identity.faults(3)
  assert.equal(
    fault?.what,
    `${signersFile} names only ana@example.com, ben@example.com, and 3 different people have to decide`,
  )
})

describe('a person', () => {
  test('signs with a key file or through the agent, and is found by the key', async (t) => {
    const proof = await signConsent(statement, key('ben'))
    assert.deepEqual(await findSigner(signersFile, proof), { who: 'ben@example.com' })
    assert.deepEqual(await identity.prove({ statement, by: 'ben@example.com', proof }), {
      who: 'ben@example.com',
    })

    const socket = join(mkdtempSync(join(dir, 'agent-')), 'socket')
    const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' })
    t.after(() => agent.kill())
    for (let tries = 0; !existsSync(socket) && tries < 100; tries += 1) await sleep(20)
    process.env['SSH_AUTH_SOCK'] = socket
    t.after(() => delete process.env['SSH_AUTH_SOCK'])
    assert.equal(spawnSync('ssh-add', ['-q', key('ana')], { timeout: 10_000 }).status, 0)
    const only = join(mkdtempSync(join(dir, 'only-')), 'ana.pub')
    writeFileSync(only, readFileSync(`${key('ana')}.pub`))
    assert.deepEqual(await findSigner(signersFile, await signConsent(statement, only)), {
      who: 'ana@example.com',
    })
  })

  test('is told why nothing could be signed', async () => {
    await assert.rejects(signConsent(statement, key('nobody')), { code: 'signing-failed', message: /nobody/ })
    const lonely = join(mkdtempSync(join(dir, 'lonely-')), 'ana.pub')
    writeFileSync(lonely, readFileSync(`${key('ana')}.pub`))
    await assert.rejects(signConsent(statement, lonely), { code: 'signing-failed' })
    await withPath('/nonexistent', () =>
      assert.rejects(signConsent(statement, key('ana')), { code: 'tools-missing' }),
    )
  })

  test('without requorum types what is shown, and it counts', async () => {
    const home = mkdtempSync(join(dir, 'home-'))
    const bin = join(home, 'bin')
    mkdirSync(bin)
    mkdirSync(join(home, '.ssh'))
    writeFileSync(join(home, '.ssh/id_ed25519'), readFileSync(key('ana')), { mode: 0o600 })
    writeFileSync(join(home, '.ssh/id_ed25519.pub'), readFileSync(`${key('ana')}.pub`))
    writeFileSync(join(bin, 'temporal'), '#!/bin/sh\nfor word; do :; done\nprintf %s "$word"\n')
    chmodSync(join(bin, 'temporal'), 0o755)
    const commands = signedDecisionCommands(consent, 'ana@example.com')
    const { stdout, stderr, status } = spawnSync('sh', ['-euc', commands], {
      cwd: home,
      env: { PATH: `${bin}:/usr/bin:/bin`, HOME: home },
      encoding: 'utf8',
      timeout: 10_000,
    })
    assert.equal(status, 0, stderr)
    const sent = decisionSchema.parse(parse(stdout))
    assert.deepEqual(
      { ...sent, proof: undefined },
      {
        checkpoint: 'destroy',
        decision: 'approve',
        plan: '3fa9c1d2',
        by: 'ana@example.com',
        proof: undefined,
      },
    )
    const proven = await identity.prove({ statement, by: sent.by, proof: sent.proof ?? null })
    assert.deepEqual(proven, { who: 'ana@example.com' })
  })
})

async function withPath(path: string, work: () => Promise<unknown>): Promise<void> {
  const before = process.env['PATH']
  process.env['PATH'] = path
  try {
    await work()
  } finally {
    process.env['PATH'] = before
  }
}
