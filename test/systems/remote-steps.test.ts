import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, afterEach, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { RequorumError, type FailureCode } from '../../domain/failures.ts'
import { killHost, startHost } from '../../lab/hosts/power.ts'
import { readLab } from '../../lab/hosts/lab-hosts.ts'
import { runRemoteStep, stopRemoteStep, type RemoteStep } from '../../systems/remote-steps/remote-steps.ts'
import type { NodeAddress, NodeShell } from '../../systems/ssh/node-shell.ts'
import { labDir, labNode, labShell, overLine, withoutLab } from './remote-steps-lab.ts'
import { until } from './ssh-daemon.ts'

const skip = withoutLab
let shell: NodeShell
/** Reached as a user with sudo; `rootNode` as root. */
let node: NodeAddress
let rootNode: NodeAddress
const scratch = `/var/tmp/requorum-test-${randomBytes(4).toString('hex')}`
const begun = new Set<string>()

before(async () => {
  if (skip) return
  shell = labShell()
  ;[rootNode, node] = [await labNode(0), await labNode(1)]
})
afterEach(async () => {
  if (skip) return
  for (const id of begun) {
    for (const on of [node, rootNode]) {
      await stopRemoteStep(shell, on, id)
      await shell.run(on, ['rm', '-rf', `/var/lib/requorum/steps/${id}`, scratch])
    }
  }
  begun.clear()
})
after(() => (skip ? undefined : shell.close()))

function step(script: string, rest: Partial<RemoteStep> = {}): RemoteStep {
  const id = `test.${randomBytes(6).toString('hex')}`
  begun.add(id)
  return { id, script: `mkdir -p ${scratch}\n${script}`, args: [], timeoutMs: 60_000, ...rest }
}

const failsWith = (code: FailureCode) => (error: unknown) => {
  assert.ok(error instanceof RequorumError, String(error))
  assert.equal(error.code, code, error.message)
  return true
}

async function lines(on: NodeAddress, name: string): Promise<string[]> {
  const { stdout } = await shell.script(on, 'cat "$1" 2>/dev/null || :', [`${scratch}/${name}`])
  return stdout.split('\n').slice(0, -1)
}

const written = (on: NodeAddress, name: string) =>
  until(`the step to write ${name}`, async () => (await lines(on, name)).length > 0, 20_000)

test(
  'a step runs as root with its arguments and its secret, and its receipt says how it went',
  { skip },
  async () => {
    const args = ["it's", '$HOME', 'a b\nc', '', '-n', '*', '%n', 'é€']
    for (const on of [rootNode, node]) {
      const work = step('id -u\ncat\nprintf "[%s]" "$@"\necho why >&2', { args, secret: 'top\n"secret"\n' })
      const receipt = await runRemoteStep(shell, on, work)
      assert.equal(receipt.stdout, `0\ntop\n"secret"\n${args.map((arg) => `[${arg}]`).join('')}`)
      assert.deepEqual(
        [receipt.attempt, receipt.code, receipt.cause, receipt.stderr, receipt.attached],
        [1, 0, 'exited', 'why\n', false],
      )
      assert.ok(Date.parse(receipt.startedAt) <= Date.parse(receipt.endedAt), JSON.stringify(receipt))
    }
  },
)

test('what succeeded is not done again', { skip }, async () => {
  const work = step(`echo done >> ${scratch}/once`)
  const first = await runRemoteStep(shell, node, work)
  const second = await runRemoteStep(shell, node, work)
  assert.deepEqual(second, { ...first, attached: true })
  assert.deepEqual(await lines(node, 'once'), ['done'])
})

test('what failed is its caller’s result, and is tried again by the next call', { skip }, async () => {
  const work = step(`echo try >> ${scratch}/tries; [ "$(wc -l < ${scratch}/tries)" -ge 2 ]`)
  const first = await runRemoteStep(shell, node, work)
  assert.deepEqual([first.attempt, first.code], [1, 1])
  const second = await runRemoteStep(shell, node, work)
  assert.deepEqual([second.attempt, second.code, second.attached], [2, 0, false])
  assert.equal((await lines(node, 'tries')).length, 2)
})

test('of callers at the same time one starts the step and the others attach', { skip }, async () => {
  const others = Array.from({ length: 3 }, () => labShell())
  const work = step(`echo did >> ${scratch}/effect; sleep 1`)
  const receipts = await Promise.all([shell, ...others].map((one) => runRemoteStep(one, node, work)))
  assert.deepEqual(await lines(node, 'effect'), ['did'])
  assert.deepEqual(receipts.map((r) => r.attached).sort(), [false, true, true, true])
  assert.deepEqual(new Set(receipts.map((r) => `${r.attempt} ${r.code}`)), new Set(['1 0']))
  await Promise.all(others.map((one) => one.close()))
})

test('a connection that drops in the middle costs nothing', { skip }, async () => {
  await using far = await overLine(node)
  const work = step(`echo did >> ${scratch}/effect; sleep 3; echo result`)
  const waiting = runRemoteStep(far.shell, far.node, work)
  await written(node, 'effect')
  far.line.reset()
  const receipt = await waiting
  assert.deepEqual([receipt.attempt, receipt.code, receipt.stdout], [1, 0, 'result\n'])
  assert.equal(receipt.attached, false)
  assert.deepEqual(await lines(node, 'effect'), ['did'])
})

test(
  'a failed step whose answer was lost with the connection is not started twice by its caller',
  { skip },
  async () => {
    await using far = await overLine(node)
    const work = step(`echo did >> ${scratch}/effect; sleep 1.5; exit 9`)
    const waiting = runRemoteStep(far.shell, far.node, work)
    await written(node, 'effect')
    far.line.reset()
    const receipt = await waiting
    assert.deepEqual([receipt.attempt, receipt.code, receipt.attached], [1, 9, false])
    assert.deepEqual(await lines(node, 'effect'), ['did'])
  },
)

test('a step that nobody waits for any more goes on, and its result is found', { skip }, async () => {
  const work = step(`echo did >> ${scratch}/effect; sleep 2; echo result`)
  const abort = new AbortController()
  const waiting = runRemoteStep(shell, node, work, { signal: abort.signal })
  await written(node, 'effect')
  abort.abort()
  await assert.rejects(waiting, failsWith('cancelled'))

  const attached = await runRemoteStep(shell, node, work)
  assert.deepEqual(
    [attached.attempt, attached.code, attached.stdout, attached.attached],
    [1, 0, 'result\n', true],
  )
  assert.deepEqual(await lines(node, 'effect'), ['did'])
})

test('after a power cut the step is started again, as attempt 2', { skip, timeout: 180_000 }, async (t) => {
  const lab = await readLab(labDir)
  if (!lab) return t.skip('the lab has no hosts to switch off')
  const victim = await labNode(2)
  const flag = `/var/lib/${scratch.split('/').at(-1)}`
  const work = step(
    `if [ -e ${flag} ]; then echo again; else touch ${flag}; sync ${flag} /var/lib; sleep 600; fi`,
  )
  begun.delete(work.id)
  const waiting = runRemoteStep(shell, victim, work)
  await until('the step', async () => (await shell.run(victim, ['test', '-e', flag])).code === 0, 20_000)
  await killHost(lab, victim.name)
  await sleep(500)
  await startHost(lab, victim.name)
  const receipt = await waiting
  assert.deepEqual(
    [receipt.attempt, receipt.code, receipt.stdout, receipt.attached],
    [2, 0, 'again\n', false],
  )
  await shell.run(victim, ['rm', '-rf', flag, `/var/lib/requorum/steps/${work.id}`])
})

test('an attempt over its time is ended, children and all', { skip }, async () => {
  const work = step(`sleep 47.11 & sleep 47.11`, { timeoutMs: 1_500 })
  const receipt = await runRemoteStep(shell, node, work)
  assert.deepEqual([receipt.code, receipt.cause], [124, 'timed-out'])
  assert.equal((await shell.run(node, ['pgrep', '-fx', 'sleep 47.11'])).code, 1)
})

test('a unit that is killed outright still leaves a receipt', { skip }, async () => {
  const work = step(`touch ${scratch}/up; echo x > ${scratch}/up; sleep 60`)
  const waiting = runRemoteStep(shell, node, work)
  await written(node, 'up')
  await shell.run(node, ['systemctl', 'kill', '--signal=KILL', `requorum-${work.id}-1.service`])
  const receipt = await waiting
  assert.deepEqual([receipt.code, receipt.cause], [137, 'killed'])
})

test('a step can be stopped, and its receipt says so', { skip }, async () => {
  const work = step(`trap 'echo cleaned; exit 7' TERM; echo x > ${scratch}/up; sleep 60 & wait`)
  const waiting = runRemoteStep(shell, node, work)
  await written(node, 'up')
  const stopped = await stopRemoteStep(shell, node, work.id)
  assert.deepEqual([stopped?.code, stopped?.cause, stopped?.stdout], [143, 'stopped', 'cleaned\n'])
  assert.equal((await waiting).cause, 'stopped')
  assert.equal(await stopRemoteStep(shell, node, 'test.never'), undefined)
})

test('an id stands for one script with its arguments', { skip }, async () => {
  const work = step('true', { args: ['a'] })
  await runRemoteStep(shell, node, work)
  await assert.rejects(runRemoteStep(shell, node, { ...work, args: ['b'] }), failsWith('step-refused'))
  await assert.rejects(runRemoteStep(shell, node, { ...work, script: 'false' }), failsWith('step-refused'))
  await assert.rejects(runRemoteStep(shell, node, { ...work, id: '../etc' }), failsWith('unexpected'))
})

test('10 MiB of output are kept as their last 64 KiB', { skip }, async () => {
  const work = step('yes 0123456789abcde | head -c 10485760; printf END; yes err | head -c 10485760 >&2')
  const receipt = await runRemoteStep(shell, node, work)
  assert.equal(receipt.code, 0)
  assert.match(receipt.stdout, /^\[the beginning is left out\]\n/)
  assert.ok(receipt.stdout.endsWith('0123456789abcde\nEND'))
  assert.ok(receipt.stdout.length < 66_000 && receipt.stderr.length < 66_000)
  const { stdout } = await shell.run(node, ['du', '-sb', `/var/lib/requorum/steps/${work.id}`])
  assert.ok(Number.parseInt(stdout) < 200_000, stdout)
})

test('a process left behind does not hold the receipt up for long', { skip }, async () => {
  const receipt = await runRemoteStep(shell, node, step('setsid sleep 48.12 & sleep 0.5; echo out'))
  assert.equal(receipt.code, 0)
  assert.match(receipt.stdout, /output lost/)
  const gone = async () => (await shell.run(node, ['pgrep', '-fx', 'sleep 48.12'])).code === 1
  await until('systemd to end it', gone)
})

test('a property that systemd refuses is said in the receipt', { skip }, async () => {
  const receipt = await runRemoteStep(shell, node, step('true', { properties: { Nice: 'abc' } }))
  assert.deepEqual([receipt.code, receipt.cause], [125, 'not-started'])
  assert.match(receipt.stderr, /Nice/)
  const nice = await runRemoteStep(shell, node, step('nice', { properties: { Nice: '7' } }))
  assert.equal(nice.stdout, '7\n')
})

test('a secret shows in no process list, no unit, no journal and no file', { skip }, async () => {
  const secret = `hush${randomBytes(12).toString('hex')}`
  const work = step(`read -r given; echo "\${#given}" > ${scratch}/up; sleep 2`, { secret: `${secret}\n` })
  const waiting = runRemoteStep(shell, node, work)
  await written(node, 'up')
  const seen = async () => {
    const { stdout } = await shell.script(
      node,
      `cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'
       systemctl show 'requorum-*'; systemctl cat 'requorum-*' || :; journalctl --no-pager -o verbose --since -5min`,
      [],
      { maxOutputBytes: 64 * 1024 * 1024 },
    )
    const files = await shell.script(
      node,
      `grep -rlsF -e "$(printf %s "${Array.from(secret).reverse().join('')}" | rev)" -e "${Buffer.from(secret).toString('base64').slice(0, 28)}" \\
        /var/lib/requorum /run /tmp /var/tmp /var/log /etc /root /home || :`,
      [],
    )
    return { stdout, files: files.stdout }
  }
  for (const when of ['while it runs', 'afterwards']) {
    const { stdout, files } = await seen()
    assert.ok(stdout.includes(work.id), `the search has to see the step itself ${when}`)
    assert.ok(!stdout.includes(secret), when)
    assert.ok(!stdout.includes(Buffer.from(secret).toString('base64').slice(0, 28)), when)
    assert.equal(files, '', when)
    assert.equal((await waiting).code, 0)
  }
  assert.deepEqual(await lines(node, 'up'), [String(secret.length)])

  // And the search would have found it.
  await shell.run(node, ['sh', '-c', 'cat > "$1"', 'sh', `${scratch}/planted`], { stdin: secret })
  assert.equal((await seen()).files, `${scratch}/planted\n`)
})

test(
  'an attempt of which nothing came is given up for good, and the next one is made',
  { skip },
  async () => {
    const work = step(`echo did >> ${scratch}/effect`)
    const directory = `/var/lib/requorum/steps/${work.id}`
    // As a node looks that lost its power between the note and the start.
    const note = 'mkdir -p "$1"; printf "attempt=1\\nboot=x\\ncaller=x\\nstarted=x\\n" > "$1/1.started"'
    await shell.script(node, note, [directory])
    const receipt = await runRemoteStep(shell, node, work)
    assert.deepEqual([receipt.attempt, receipt.code, receipt.attached], [2, 0, false])

    // A start that was merely late finds that it was given up.
    const unit = `requorum-${work.id}-1.service`
    const late = await shell.run(node, [
      'sh',
      `${directory}/unit.sh`,
      'run',
      directory,
      '1',
      unit,
      '65536',
      'none',
    ])
    assert.equal(late.code, 125)
    assert.deepEqual(await lines(node, 'effect'), ['did'])
  },
)

test('a node without room for the step says so', { skip }, async (t) => {
  const work = step('true')
  const directory = `/var/lib/requorum/steps/${work.id}`
  const small = 'mkdir -p "$1"; mount -t tmpfs -o size=4k,mode=700 tmpfs "$1"'
  if ((await shell.script(node, small, [directory])).code !== 0) return t.skip('the host mounts no tmpfs')
  try {
    await assert.rejects(runRemoteStep(shell, node, work), failsWith('no-space'))
  } finally {
    await shell.run(node, ['umount', directory])
  }
})
