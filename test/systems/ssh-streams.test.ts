import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { RequorumError, type FailureCode } from '../../domain/failures.ts'
import { createNodeShell, type NodeShell } from '../../systems/ssh/node-shell.ts'
import { kill, running, startDaemon, until, withoutSshd, type Daemon } from './ssh-daemon.ts'

const skip = withoutSshd
const MIB = 1024 * 1024
let daemon: Daemon
let shell: NodeShell

before(async () => {
  if (skip) return
  daemon = await startDaemon()
  shell = createNodeShell({ home: daemon.home, config: daemon.config })
  await shell.run(daemon.node, ['true'])
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

/** How far resident memory rose above its start while `work` ran, in bytes. */
async function memoryOf(work: () => Promise<void>): Promise<number> {
  globalThis.gc?.()
  const start = process.memoryUsage.rss()
  let highest = start
  const watch = setInterval(() => (highest = Math.max(highest, process.memoryUsage.rss())), 20)
  try {
    await work()
  } finally {
    clearInterval(watch)
  }
  return highest - start
}

const pattern = (index: number) => Buffer.alloc(64 * 1024, `block ${index} `)

test('200 MiB are read at constant memory and come out whole', { skip }, async () => {
  const hash = createHash('sha256')
  let bytes = 0
  const rise = await memoryOf(async () => {
    const { stdout, done } = await shell.read(daemon.node, ['head', '-c', String(200 * MIB), '/dev/zero'])
    for await (const chunk of stdout) {
      if (!Buffer.isBuffer(chunk)) throw new TypeError('not bytes')
      hash.update(chunk)
      bytes += chunk.length
    }
    assert.deepEqual(await done, { code: 0, stderr: '' })
  })
  assert.equal(bytes, 200 * MIB)
  assert.equal(
    hash.digest('hex'),
    createHash('sha256')
      .update(Buffer.alloc(200 * MIB))
      .digest('hex'),
  )
  assert.ok(rise < 120 * MIB, `memory rose by ${Math.round(rise / MIB)} MiB`)
})

test('a reader who does not read holds the command back', { skip }, async () => {
  const rise = await memoryOf(async () => {
    const { stdout, done } = await shell.read(daemon.node, ['cat', '/dev/zero'], { timeoutMs: 300 })
    await sleep(1000) // over the limit on silence too, but the silence is ours
    assert.ok(stdout.readableLength <= 256 * 1024)
    stdout.destroy()
    await assert.rejects(done, failsWith('cancelled'))
  })
  assert.ok(rise < 60 * MIB, `memory rose by ${Math.round(rise / MIB)} MiB`)
})

test('a reader who leaves early gives the place back, however much was still to come', { skip }, async () => {
  // More than one connection has places for.
  for (let reader = 0; reader < 12; reader++) {
    const { stdout, done } = await shell.read(daemon.node, ['head', '-c', String(8 * MIB), '/dev/zero'])
    done.catch(() => undefined)
    await once(stdout, 'readable')
    stdout.destroy()
  }
  const { stdout } = await shell.run(daemon.node, ['echo', 'there'], { timeoutMs: 5_000 })
  assert.equal(stdout, 'there\n')
})

test('200 MiB are written at constant memory and arrive whole', { skip }, async () => {
  const hash = createHash('sha256')
  const blocks = function* () {
    for (let i = 0; i < (200 * MIB) / (64 * 1024); i += 1) {
      const block = pattern(i)
      hash.update(block)
      yield block
    }
  }
  let sum = ''
  const rise = await memoryOf(async () => {
    const result = await shell.write(daemon.node, ['sha256sum'], Readable.from(blocks()))
    assert.equal(result.code, 0)
    sum = result.stdout.split(' ')[0] ?? ''
  })
  assert.equal(sum, hash.digest('hex'))
  assert.ok(rise < 120 * MIB, `memory rose by ${Math.round(rise / MIB)} MiB`)
})

test('a stream that is cut off fails: it never looks like an end', { skip }, async () => {
  const { stdout, done } = await shell.read(daemon.node, ['sh', '-c', 'echo begun; sleep 20'])
  const cut = done.catch((error: unknown) => error)
  await assert.rejects(async () => {
    for await (const chunk of stdout) {
      assert.equal(String(chunk), 'begun\n')
      for (const pid of await daemon.sessions()) kill(pid)
    }
  }, failsWith('connection-lost'))
  failsWith('connection-lost')(await cut)

  const source = Readable.from(
    (function* () {
      for (;;) yield pattern(0)
    })(),
  )
  const writing = shell.write(daemon.node, ['sleep', '20.020'], source)
  await until('the command', () => running('20.020'))
  for (const pid of await daemon.sessions()) kill(pid)
  await assert.rejects(writing, failsWith('connection-lost'))
  assert.ok(source.destroyed)
})

test("the exit code of a stream's command and its stderr are told", { skip }, async () => {
  const { stdout, done } = await shell.read(daemon.node, ['sh', '-c', 'echo part; echo why >&2; exit 5'])
  assert.equal((await stdout.toArray()).join(''), 'part\n')
  assert.deepEqual(await done, { code: 5, stderr: 'why\n' })
})

test('a command that stops reading ends the writing, with its own code', { skip }, async () => {
  const endless = Readable.from(
    (function* () {
      for (;;) yield pattern(1)
    })(),
  )
  const result = await shell.write(
    daemon.node,
    ['sh', '-c', 'head -c 10 >/dev/null; echo full >&2; exit 28'],
    endless,
  )
  assert.deepEqual(result, { code: 28, stdout: '', stderr: 'full\n' })
  assert.ok(endless.destroyed)
})

test('a source that fails fails the writing, with its own error', { skip }, async () => {
  const source = Readable.from(
    (function* () {
      yield pattern(2)
      throw new Error('the store hung up')
    })(),
  )
  await assert.rejects(shell.write(daemon.node, ['cat'], source), /^Error: the store hung up$/)
  assert.equal((await shell.run(daemon.node, ['true'])).code, 0)
})

test('silence beyond its limit ends a stream', { skip }, async () => {
  const { stdout, done } = await shell.read(daemon.node, ['sleep', '3'], { timeoutMs: 200 })
  stdout.on('error', () => {})
  await assert.rejects(done, failsWith('command-timed-out'))
  const stuck = shell.write(daemon.node, ['sleep', '3'], Readable.from([Buffer.from('x')]), {
    timeoutMs: 200,
  })
  await assert.rejects(stuck, failsWith('command-timed-out'))
})
