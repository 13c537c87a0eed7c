/** A lab that was killed: whoever brings up one of its name, from wherever, finds a machine as if it had never been. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { readAll } from '../../lab/hosts/keyspace.ts'
import { hostPaths } from '../../lab/hosts/lab-hosts.ts'
import { hostInit } from '../../lab/hosts/power.ts'
import { labDown, labUp, type Lab } from '../../lab/lab.ts'
import { killWorker } from '../../lab/services/worker.ts'
import { tracesOf } from '../lab/traces.ts'

const name = `r${process.pid.toString(36)}`
const quiet = (): void => undefined
let one: string
let other: string

before(async () => {
  one = await mkdtemp(join(tmpdir(), 'requorum-one-'))
  other = await mkdtemp(join(tmpdir(), 'requorum-other-'))
})

after(async () => {
  for (const dir of [other, one]) {
    await labDown({ name, dir, say: quiet })
    await rm(dir, { recursive: true, force: true })
  }
})

test('a lab killed with SIGKILL is reclaimed from another directory, and a census after down finds nothing', async (t) => {
  const clean = await tracesOf(name, one)
  assert.deepEqual(clean, { ...clean, processes: [], mounts: [], loops: [], cgroups: [], links: [] })
  const killed = await labUp({ name, dir: one, say: quiet })

  await assert.rejects(labUp({ name, dir: other, say: quiet }), (error: Error) => {
    assert.match(error.message, new RegExp(`A lab "${name}" is up already, from ${one}`))
    return true
  })
  assert.equal((await readAll(killed.hosts)).keys.length, 0, 'the refusal left it as it was')

  await kill(killed)
  const inits = await Promise.all(killed.hosts.hosts.map((host) => hostInit(killed.hosts, host)))
  assert.ok(
    inits.every((init) => init !== undefined),
    'the hosts live on without their nspawn: the old cluster would still answer',
  )
  const left = await tracesOf(name, one)
  t.diagnostic(`left behind: ${left.processes.length} processes, ${left.mounts.length} mounts`)
  assert.ok(
    left.processes.length > 3 && left.mounts.length > 0 && left.links.length > 0,
    'the census sees them',
  )

  const lab = await labUp({ name, dir: other, say: quiet })
  assert.equal(existsSync(one), false, 'what the first one kept is gone')
  assert.equal((await readAll(lab.hosts)).keys.length, 0)
  for (const init of inits) assert.equal(existsSync(`/proc/${init}`), false, `init ${init} is gone`)

  await assert.rejects(labDown({ name, dir: one, say: quiet }), (error: Error) => {
    assert.match(error.message, new RegExp(`One of that name lives in ${other}`))
    return true
  })
  assert.equal((await readAll(lab.hosts)).keys.length, 0, 'it is still up')

  await labDown({ name, dir: other, say: quiet })
  assert.deepEqual(await tracesOf(name, other), clean)
  assert.deepEqual(await tracesOf(name, one), clean)
  assert.equal(existsSync(`/run/requorum/labs/${name}`), false)
})

const identity = z.object({ pid: z.number() })

/** Every process that holds something of it, but none of the hosts' own. */
async function kill(lab: Lab): Promise<void> {
  for (const host of lab.hosts.hosts) {
    const text = await readFile(hostPaths(lab, host.name).supervisor, 'utf8')
    // eslint-disable-next-line no-restricted-properties -- written by the lab
    const supervisor = identity.parse(JSON.parse(text))
    const nspawn = execFileSync('pgrep', ['-P', String(supervisor.pid)], { encoding: 'utf8' })
    for (const pid of [supervisor.pid, ...nspawn.trim().split('\n').map(Number)]) process.kill(pid, 'SIGKILL')
  }
  await killWorker(lab.dir)
  for (const pid of [lab.engine.pid, lab.store.pids.objects, lab.store.pids.kms]) process.kill(pid, 'SIGKILL')
  await sleep(100)
}
