import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { RequorumError, type FailureCode } from '../../domain/failures.ts'
import { sudoRefusal } from '../../systems/ssh/errors.ts'
import { createNodeShell, type NodeShellOptions } from '../../systems/ssh/node-shell.ts'
import {
  execute,
  kill,
  running,
  startDaemon,
  startLine,
  until,
  withoutSshd,
  type Daemon,
} from './ssh-daemon.ts'

const skip = withoutSshd

const refusedWith = (code: FailureCode, words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof RequorumError, String(error))
  assert.equal(error.code, code, error.message)
  assert.match(error.message, words)
  return true
}

async function hello(daemon: Daemon, options: Partial<NodeShellOptions> = {}): Promise<string> {
  const shell = createNodeShell({ home: daemon.home, config: daemon.config, ...options })
  try {
    return (await shell.run(daemon.node, ['echo', 'hello'])).stdout
  } finally {
    await shell.close()
  }
}

test(
  'a host whose key changed is refused with the key that it showed and the one expected',
  { skip },
  async () => {
    await using daemon = await startDaemon()
    const wrong = (await readFile(join(daemon.home, 'wrong_id.pub'), 'utf8')).split(' ').slice(0, 2).join(' ')
    await daemon.pin(`[127.0.0.1]:${daemon.port} ${wrong}\n`)
    const { stdout } = await execute('ssh-keygen', ['-lf', join(daemon.home, 'host_ed25519.pub')])
    const seen = stdout.split(' ')[1] ?? ''
    await assert.rejects(hello(daemon), (error) => {
      assert.ok(error instanceof RequorumError && error.text.what.includes(seen))
      return refusedWith('host-key-refused', /expects ssh-ed25519 SHA256:.* \(line 1\)/)(error)
    })
  },
)

test('a host that is not in known_hosts is refused, and the way to add it is said', { skip }, async () => {
  await using daemon = await startDaemon()
  await daemon.pin('')
  await assert.rejects(
    hello(daemon),
    refusedWith('host-key-refused', /not in .*known_hosts; .*ssh-keyscan -p/s),
  )
})

test('a revoked host key is refused', { skip }, async () => {
  await using daemon = await startDaemon()
  const key = await daemon.hostKey('ed25519')
  await daemon.pin(`[127.0.0.1]:${daemon.port} ${key}\n@revoked * ${key}\n`)
  await assert.rejects(hello(daemon), refusedWith('host-key-refused', /revoked/))
})

test('without a known_hosts file nobody is trusted', { skip }, async () => {
  await using daemon = await startDaemon()
  const config = { ...daemon.config, knownHosts: 'nowhere' }
  await assert.rejects(hello(daemon, { config }), refusedWith('host-key-refused', /nowhere/))
})

test('whichever type of key is pinned is the one that is negotiated', { skip }, async () => {
  await using daemon = await startDaemon()
  for (const type of ['rsa', 'ecdsa', 'ed25519'] as const) {
    await daemon.pin(`[127.0.0.1]:${daemon.port} ${await daemon.hostKey(type)}\n`)
    assert.equal(await hello(daemon), 'hello\n', type)
  }
})

test(
  'a known_hosts file that ssh-keygen hashed works, and is read anew for each connection',
  { skip },
  async () => {
    await using daemon = await startDaemon()
    const shell = createNodeShell({ home: daemon.home, config: daemon.config })
    try {
      await daemon.pin('')
      await assert.rejects(shell.run(daemon.node, ['true']), refusedWith('host-key-refused', /not in/))
      await daemon.pin(`[127.0.0.1]:${daemon.port} ${await daemon.hostKey('ed25519')}\n`)
      await execute('ssh-keygen', ['-H', '-f', join(daemon.home, 'known_hosts')])
      assert.equal((await shell.run(daemon.node, ['true'])).code, 0)
    } finally {
      await shell.close()
    }
  },
)

test('a wrong, missing or encrypted key is a refused login', { skip }, async () => {
  await using daemon = await startDaemon()
  const using_ = (identityFile: string) => hello(daemon, { config: { ...daemon.config, identityFile } })
  await assert.rejects(using_('wrong_id'), refusedWith('ssh-login-refused', /did not let root in.*wrong_id/))
  await assert.rejects(using_('nowhere'), refusedWith('ssh-login-refused', /nowhere/))
  await execute('ssh-keygen', ['-p', '-q', '-P', '', '-N', 'secret', '-f', join(daemon.home, 'id')])
  await assert.rejects(using_('id'), refusedWith('ssh-login-refused', /passphrase/))
  const { identityFile: _, ...keyless } = daemon.config
  await assert.rejects(hello(daemon, { config: keyless }), refusedWith('ssh-login-refused', /SSH_AUTH_SOCK/))
})

test('a key in an agent opens the door', { skip }, async () => {
  await using daemon = await startDaemon()
  const agentSocket = join(daemon.home, 'agent')
  const agent = spawn('ssh-agent', ['-D', '-a', agentSocket], { stdio: 'ignore' })
  const { identityFile: _, ...config } = daemon.config
  try {
    await assert.rejects(
      hello(daemon, { config, agentSocket }),
      refusedWith('ssh-login-refused', /the agent at/),
    )
    const add = () =>
      execute('ssh-add', ['-q', join(daemon.home, 'id')], { env: { SSH_AUTH_SOCK: agentSocket } })
    await until('the agent', () =>
      add().then(
        () => true,
        () => false,
      ),
    )
    assert.equal(await hello(daemon, { config, agentSocket }), 'hello\n')
  } finally {
    agent.kill()
  }
})

test('a closed port and a host that says nothing are unreachable nodes', { skip }, async () => {
  await using daemon = await startDaemon()
  const line = await startLine(daemon.port)
  const config = { ...daemon.config, connectTimeout: 400 }
  const shell = createNodeShell({ home: daemon.home, config })
  const through = { ...daemon.node, port: line.port }
  line.silence()
  await assert.rejects(shell.run(through, ['true']), refusedWith('node-unreachable', /Timed out/))
  line[Symbol.dispose]()
  await assert.rejects(shell.run(through, ['true']), refusedWith('node-unreachable', /ECONNREFUSED/))
  await shell.close()
})

test('a node is reached through a jump host, whose key is checked too', { skip }, async () => {
  await using bastion = await startDaemon()
  await using node = await startDaemon([`AuthorizedKeysFile ${bastion.home}/id.pub`])
  const pins = async (key: string) =>
    bastion.pin(
      `[127.0.0.1]:${bastion.port} ${key}\n[127.0.0.1]:${node.port} ${await node.hostKey('ed25519')}\n`,
    )
  await writeFile(join(node.home, 'id.pub'), await readFile(join(bastion.home, 'id.pub')))
  const config = { ...bastion.config, jump: `root@127.0.0.1:${bastion.port}` }
  const shell = createNodeShell({ home: bastion.home, config })
  try {
    await pins(await node.hostKey('ed25519'))
    await assert.rejects(shell.run(node.node, ['true']), refusedWith('host-key-refused', /jump host/))

    await pins(await bastion.hostKey('ed25519'))
    const { stdout } = await shell.run(node.node, ['sh', '-c', 'echo $SSH_CONNECTION'])
    assert.equal(stdout.trim().split(' ')[3], String(node.port))
    assert.equal((await bastion.sessions()).length, 1)

    // With the jump host's connection goes the node's; the next command makes both anew.
    const lost = assert.rejects(
      shell.run(node.node, ['sleep', '20.021']),
      refusedWith('connection-lost', /sleep 20/),
    )
    await until('the command', () => running('20.021'))
    for (const pid of await bastion.sessions()) kill(pid)
    await lost
    assert.equal((await shell.run(node.node, ['true'])).code, 0)
  } finally {
    await shell.close()
  }
})

test("sudo's refusals are told apart from a failing command", { skip }, (t) => {
  const asNobody = [
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    'env',
    'LC_ALL=C',
    'sudo',
    '-n',
    'true',
  ]
  const { status, stderr, error } = spawnSync('setpriv', asNobody, { encoding: 'utf8' })
  if (error || !stderr) return t.skip('needs sudo and setpriv')
  const node = { name: 'cp-01', address: '10.0.1.11', port: 22, user: 'ops' }
  assert.equal(sudoRefusal(node, status ?? 0, stderr)?.code, 'sudo-refused', stderr)
  assert.equal(
    sudoRefusal(node, 1, 'sudo: ops is not allowed to execute /bin/x as root')?.code,
    'sudo-refused',
  )
  assert.equal(sudoRefusal(node, 127, 'env: ‘sudo’: No such file or directory')?.code, 'sudo-refused')
  assert.equal(sudoRefusal(node, 1, 'etcdctl: permission denied'), undefined)
  assert.equal(sudoRefusal({ ...node, user: 'root' }, status ?? 0, stderr), undefined)
})
