import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { RequorumError, type FailureCode } from '../../domain/failures.ts'
import { createNodeShell, type NodeShell } from '../../systems/ssh/node-shell.ts'
import { kill, running, startDaemon, startLine, until, withoutSshd, type Daemon } from './ssh-daemon.ts'

const skip = withoutSshd
let daemon: Daemon
let shell: NodeShell

before(async () => {
  if (skip) return
  daemon = await startDaemon()
  shell = createNodeShell({ home: daemon.home, config: daemon.config })
})
after(async () => {
  if (skip) return
  await shell.close()
  await daemon[Symbol.asyncDispose]()
})

const failsWith = (code: FailureCode) => (error: unknown) => {
  assert.ok(error instanceof RequorumError, String(error))
  assert.equal(error.code, code, error.message)
  return true
}

test('a command resolves with its code, stdout and stderr, whatever the code', { skip }, async () => {
  const result = await shell.run(daemon.node, ['sh', '-c', 'echo out; echo err >&2; exit 3'])
  assert.deepEqual(result, { code: 3, stdout: 'out\n', stderr: 'err\n' })
})

test('a command that a signal ended has code 128 + n', { skip }, async () => {
  assert.equal((await shell.run(daemon.node, ['sh', '-c', 'kill -KILL $$'])).code, 137)
})

test('every argument arrives as it was given, whatever is in it', { skip }, async () => {
  const nasty = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(
      '',
      ' ',
      "'",
      '"',
      '$(id)',
      '`id`',
      '\\',
      '\n',
      '-n',
      '--',
      '*',
      '~',
      'a=b',
      '!!',
      '%s',
      '#',
    ),
    fc.string({ unit: fc.constantFrom("'", '"', '\\', '$', '\n', ' ', '\t', '`', '!', '*', 'x') }),
  )
  const argument = nasty.filter((text) => !text.includes('\0'))
  await fc.assert(
    fc.asyncProperty(fc.array(argument, { minLength: 1, maxLength: 6 }), async (args) => {
      const plain = await shell.run(daemon.node, ['printf', '%s\\0', ...args])
      assert.deepEqual(plain.stdout.split('\0').slice(0, -1), args)
      const scripted = await shell.script(daemon.node, 'printf "%s\\0" "$@"', args)
      assert.deepEqual(scripted.stdout.split('\0').slice(0, -1), args)
    }),
    { numRuns: 60 },
  )
})

test('an argument that no command can be given is refused before anything runs', { skip }, async () => {
  await assert.rejects(shell.run(daemon.node, ['echo', 'a\0b']), failsWith('input-invalid'))
  await assert.rejects(shell.run(daemon.node, ['echo', '\ud800']), failsWith('input-invalid'))
  await assert.rejects(shell.run(daemon.node, ['echo', 'x'.repeat(200_000)]), failsWith('input-invalid'))
})

test('standard input is given whole, and is empty when none is given', { skip }, async () => {
  const stdin = 'é€😀\n'.repeat(20_000)
  assert.equal((await shell.run(daemon.node, ['cat'], { stdin })).stdout, stdin)
  assert.equal((await shell.run(daemon.node, ['cat'])).stdout, '')
})

test('a character that is split between chunks is read whole', { skip }, async () => {
  const text =
    'printf "\\342"; sleep 0.1; printf "\\202"; sleep 0.1; printf "\\254 \\303"; sleep 0.1; printf "\\251"'
  assert.equal((await shell.script(daemon.node, text, [])).stdout, '€ é')
})

test(
  "a script's commands cannot swallow the rest of it, and half a script runs nothing",
  { skip },
  async () => {
    const greedy = await shell.script(daemon.node, 'cat\necho "after $1"\nexit 4', ['cat'])
    assert.deepEqual([greedy.code, greedy.stdout], [4, 'after cat\n'])
    const cutShort = await shell.run(daemon.node, ['sh', '-s'], { stdin: '{\n:\necho begun\nsleep 1\n' })
    assert.notEqual(cutShort.code, 0)
    assert.equal(cutShort.stdout, '')
  },
)

test('stdout over its bound is an error, stderr over its bound keeps the end', { skip }, async () => {
  const bound = { maxOutputBytes: 1000 }
  await assert.rejects(
    shell.run(daemon.node, ['head', '-c', '1001', '/dev/zero'], bound),
    failsWith('output-too-large'),
  )
  await assert.rejects(shell.run(daemon.node, ['yes'], bound), failsWith('output-too-large'))
  const exact = await shell.run(daemon.node, ['head', '-c', '1000', '/dev/zero'], bound)
  assert.equal(exact.stdout.length, 1000)
  const noisy = await shell.script(
    daemon.node,
    'yes noise | head -c 500000 >&2; printf end >&2; exit 1',
    [],
    bound,
  )
  assert.equal(noisy.code, 1)
  assert.match(noisy.stderr, /^\[499003 bytes left out\]\n[noise\n]+end$/)
})

test('a command that takes too long is given up here and ended on the node', { skip }, async () => {
  const timeoutMs = 600
  await assert.rejects(
    shell.run(daemon.node, ['sleep', '60.017'], { timeoutMs }),
    failsWith('command-timed-out'),
  )
  assert.ok(await running('60.017'))
  await until('the node to end it', async () => !(await running('60.017')), 12_000)
  assert.equal((await shell.run(daemon.node, ['true'])).code, 0)
})

test('a cancelled command is given up at once', { skip }, async () => {
  const abort = new AbortController()
  const command = shell.run(daemon.node, ['sleep', '3.018'], { signal: abort.signal })
  await until('the command', () => running('3.018'))
  abort.abort(new Error('enough'))
  await assert.rejects(command, failsWith('cancelled'))
  await assert.rejects(shell.run(daemon.node, ['true'], { signal: abort.signal }), failsWith('cancelled'))
})

test('more commands at once than sshd has sessions all run, over one connection', { skip }, async () => {
  const results = await Promise.all(
    Array.from({ length: 30 }, (_, i) =>
      shell.script(daemon.node, 'sleep 0.1; echo "$1 $PPID"', [String(i)]),
    ),
  )
  assert.deepEqual(
    results.map((r) => r.stdout.split(' ')[0]),
    Array.from({ length: 30 }, (_, i) => String(i)),
  )
  assert.equal((await daemon.sessions()).length, 1)
})

test('an sshd that allows fewer sessions is not asked for more', { skip }, async () => {
  await using narrow = await startDaemon(['MaxSessions 2'])
  const other = createNodeShell({ home: narrow.home, config: narrow.config })
  const codes = await Promise.all(
    Array.from({ length: 12 }, () => other.run(narrow.node, ['sleep', '0.05']).then((r) => r.code)),
  )
  assert.deepEqual(new Set(codes), new Set([0]))
  await other.close()
})

test(
  'a dropped connection is neither success nor failure, and the next command connects anew',
  { skip },
  async () => {
    const command = shell.run(daemon.node, ['sleep', '2.019'])
    await until('the command', () => running('2.019'))
    for (const pid of await daemon.sessions()) kill(pid)
    await assert.rejects(command, failsWith('connection-lost'))
    assert.equal((await shell.run(daemon.node, ['true'])).code, 0)
  },
)

test('a reset of an idle connection ends nothing, and the next command connects anew', { skip }, async () => {
  using line = await startLine(daemon.port)
  const other = createNodeShell({ home: daemon.home, config: daemon.config })
  const node = { ...daemon.node, port: line.port }
  await daemon.pin(`127.0.0.1 ${await daemon.hostKey('ed25519')}\n`)
  assert.equal((await other.run(node, ['true'])).code, 0)
  line.reset()
  // At once, when the loss has not been noticed yet: the command can't have begun, so it is given again.
  assert.equal((await other.run(node, ['true'])).code, 0)
  line.reset()
  await sleep(100)
  assert.equal((await other.run(node, ['true'])).code, 0)
  await other.close()
})

test('a connection without commands is closed after a while', { skip }, async () => {
  const other = createNodeShell({ home: daemon.home, config: daemon.config, idleMs: 200 })
  using line = await startLine(daemon.port)
  const node = { ...daemon.node, port: line.port }
  await daemon.pin(`127.0.0.1 ${await daemon.hostKey('ed25519')}\n`)
  assert.equal((await other.run(node, ['sleep', '0.5'])).code, 0)
  assert.equal(line.open, 1)
  await until('the connection to be closed', () => line.open === 0, 2_000)
  assert.equal((await other.run(node, ['true'])).code, 0)
  await other.close()
})
