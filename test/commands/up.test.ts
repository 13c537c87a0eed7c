import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, describe, test } from 'node:test'
import { isRunning } from '../../lab/services/process.ts'
import { partTarget } from '../../lab/parts/parts.mjs'
import { doubling, keepRunning } from '../../scripts/commands/supervise.ts'
import { readUp } from '../../scripts/commands/up-supervisor.ts'
import { clusterYaml, TestHome } from './command-line.ts'

const home = new TestHome({ prod: clusterYaml('prod') })
after(() => home.remove())

describe('a program that is kept running', () => {
  test('starts again when it dies, waits longer each time, and ends when it is told to', async () => {
    const script = join(home.dir, 'short.mjs')
    const logFile = join(home.dir, 'short.log')
    // The fourth start stays.
    writeFileSync(
      script,
      `import { appendFileSync, readFileSync } from 'node:fs'
       appendFileSync('${home.dir}/starts', 'x')
       console.log('last words')
       if (readFileSync('${home.dir}/starts', 'utf8').length < 4) process.exit(7)
       setInterval(() => undefined, 1_000)`,
    )
    const said: string[] = []
    const deaths: number[] = []
    const stop = new AbortController()
    const running = keepRunning(
      {
        name: 'worker',
        command: process.execPath,
        args: [script],
        env: {},
        logFile,
        say: (line) => said.push(line),
        endGraceMs: 5_000,
        backOff: (count) => {
          deaths.push(count)
          return 10
        },
      },
      stop.signal,
    )
    await until(
      () =>
        existsSync(join(home.dir, 'starts')) && readFileSync(join(home.dir, 'starts'), 'utf8').length === 4,
    )
    stop.abort()
    await running
    assert.deepEqual(deaths, [1, 2, 3])
    assert.match(
      said.join('\n'),
      /The worker ended \(exit code 7\); it starts again in 0\.01 s\.\n[\s\S]*last words/,
    )
  })

  test('is left alone for half a minute at most', () => {
    assert.deepEqual([1, 2, 3, 6, 20].map(doubling), [1_000, 2_000, 4_000, 30_000, 30_000])
  })

  test('that can not be started at all says why', async () => {
    const said: string[] = []
    const stop = new AbortController()
    const program = {
      name: 'worker',
      command: '/no/such/program',
      args: [],
      env: {},
      endGraceMs: 1,
      backOff: () => 10,
    }
    const logFile = join(home.dir, 'none.log')
    const running = keepRunning({ ...program, logFile, say: (line) => said.push(line) }, stop.signal)
    await until(() => said.length > 0)
    stop.abort()
    await running
    assert.match(said[0] ?? '', /The worker ended \(spawn \/no\/such\/program ENOENT\)/)
  })
})

const server = partTarget('temporal')
const skip = existsSync(server) ? false : `${server} isn't there: run node scripts/setup.mjs --for test`

describe('requorum up', { skip }, () => {
  test('brings engine and worker up, starts what is killed, and leaves nothing behind when it is down', async () => {
    try {
      const up = await home.run(['up', '--detach'])
      assert.equal(up.code, 0, up.error)
      assert.match(up.out, /Up: engine at 127\.0\.0\.1:\d+, UI http:\/\/127\.0\.0\.1:\d+/)
      const first = readUp(home.dir)?.worker
      assert.ok(first)

      // Wherever it is typed: it is the home that has one.
      const second = await home.run(['up'], {}, '/')
      assert.equal(second.code, 2)
      assert.match(second.error, /runs already/)
      assert.match((await home.run(['status'])).out, /^engine {2}127\.0\.0\.1/)

      process.kill(first.pid, 'SIGKILL')
      await until(() => {
        const now = readUp(home.dir)?.worker
        return now !== null && now !== undefined && now.pid !== first.pid && isRunning(now)
      })
    } finally {
      const before = readUp(home.dir)
      const down = await home.run(['down'])
      assert.equal(down.code, 0, down.error)
      assert.ok(before?.worker)
      assert.equal(isRunning(before.worker), false)
      assert.equal((await home.run(['restore', 'prod'])).code, 5)
    }
  })
})

async function until(condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline;) {
    if (condition()) return
    await sleep(50)
  }
  assert.fail('it did not happen within a minute')
}
