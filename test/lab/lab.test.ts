/** The lab itself: quick to find again, and nothing of it is left when it is down, however it came to that. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { run } from '../../lab/hosts/commands.ts'
import { readAll, seedKeyspace } from '../../lab/hosts/keyspace.ts'
import { bridgeName } from '../../lab/hosts/network.ts'
import { writeLab } from '../../lab/hosts/lab-hosts.ts'
import { findLab, labDown, labStatus, labUp, type Lab } from '../../lab/lab.ts'
import { findWorker } from '../../lab/services/worker.ts'
import { tracesOf, type Traces } from './traces.ts'

const PROMISED_UP_SECONDS = 6
const PROMISED_DOWN_SECONDS = 1
const name = `u${process.pid.toString(36)}`
const made: { name: string; dir: string }[] = []
let lab: Lab
let traces: Traces

after(async () => {
  for (const { name: each, dir } of made) {
    await labDown({ name: each, dir, say: () => undefined })
    await rm(dir, { recursive: true, force: true })
  }
})

test('a lab comes up with hosts, etcd, store, engine and worker', async (t) => {
  const dir = await place(name)
  traces = await tracesOf(nameOf(dir), dir)
  assert.deepEqual(
    traces,
    { ...traces, processes: [], mounts: [], cgroups: [] },
    'nothing of it is there before',
  )
  const began = performance.now()
  lab = await labUp({ name, dir, say: () => undefined })
  t.diagnostic(`up: ${since(began)} s (promised: ${PROMISED_UP_SECONDS} s on an idle machine)`)
  const status = await labStatus(name, dir)
  assert.deepEqual(
    status?.hosts.map(({ power, ssh, etcd, disk }) => ({ power, ssh, etcd, disk })),
    Array.from({ length: 3 }, () => ({ power: 'on', ssh: 'answers', etcd: 'answers', disk: 'mounted' })),
  )
  assert.ok(status?.engine && status.ui && status.store && status.worker)
  await seedKeyspace(lab.hosts, { keys: 30, seed: 1 })
})

test('up again finds what runs and changes nothing', async (t) => {
  const [keys, worker] = [await readAll(lab.hosts), await findWorker(lab.dir)]
  const began = performance.now()
  const again = await labUp({ name, dir: lab.dir, say: () => undefined })
  t.diagnostic(`up again: ${since(began)} s`)
  assert.equal(again.engine.pid, lab.engine.pid)
  assert.deepEqual(again.store.pids, lab.store.pids)
  assert.deepEqual(again.hosts, lab.hosts)
  assert.equal(await findWorker(lab.dir), worker)
  assert.deepEqual(await readAll(again.hosts), keys)
})

test('two labs stand side by side and know nothing of each other', async (t) => {
  const dir = await place(`${name}b`)
  const before = await tracesOf(nameOf(dir), dir)
  const other = await labUp({ name: `${name}b`, dir, say: () => undefined })
  assert.notEqual(other.hosts.subnet, lab.hosts.subnet)
  await seedKeyspace(other.hosts, { keys: 7, seed: 2 })
  assert.equal((await readAll(other.hosts)).keys.length, 7)
  assert.equal((await readAll(lab.hosts)).keys.length, 30)

  const began = performance.now()
  await labDown({ name: `${name}b`, dir, say: () => undefined })
  t.diagnostic(`the second one down: ${since(began)} s`)
  assert.deepEqual(await tracesOf(nameOf(dir), dir), before)
  assert.equal(existsSync(dir), false)
  assert.ok(await findLab(name, lab.dir), 'the first one still runs')
  assert.equal((await readAll(lab.hosts)).keys.length, 30)
})

test('a lab that can not come up cleans up after itself and says what to do', async (t) => {
  // Its place is taken by a lab of another name: the hosts refuse, while store and engine come up beside them.
  const dir = await place(`${name}c`)
  const before = await tracesOf(nameOf(dir), dir)
  await writeLab({ ...lab.hosts, name: 'somebody-elses', dir, hosts: [], ready: true })
  await assert.rejects(
    labUp({ name: `${name}c`, dir, say: () => undefined }),
    /holds lab "somebody-elses".*Use another directory/,
  )
  await labDown({ name: `${name}c`, dir, say: () => undefined })
  assert.deepEqual(await tracesOf(nameOf(dir), dir), before)

  const broken = await place(`${name}d`)
  const clean = await tracesOf(nameOf(broken), broken)
  // Its bridge's name is taken by a link that is no bridge: hosts can't be plugged in, when much of it stands.
  const bridge = bridgeName({ name: `${name}d` })
  await run('ip', ['link', 'add', bridge, 'type', 'veth', 'peer', 'name', `${bridge}-x`])
  const began = performance.now()
  await assert.rejects(labUp({ name: `${name}d`, dir: broken, say: () => undefined }), /ip /)
  t.diagnostic(`failed and cleaned up: ${since(began)} s`)
  assert.deepEqual(await tracesOf(nameOf(broken), broken), clean)
})

test('a name that can not be one is refused before anything is made', async () => {
  const dir = await place('bad')
  const before = await tracesOf(nameOf(dir), dir)
  await assert.rejects(labUp({ name: 'Not A Name', dir, say: () => undefined }), /can't be a lab's name/)
  assert.deepEqual(await tracesOf(nameOf(dir), dir), before)
})

test('down leaves nothing: no process, namespace, link, route, mount, cgroup, sysctl or file', async (t) => {
  const began = performance.now()
  await labDown({ name, dir: lab.dir, say: () => undefined })
  t.diagnostic(`down: ${since(began)} s (promised: ${PROMISED_DOWN_SECONDS} s on an idle machine)`)
  assert.deepEqual(await tracesOf(nameOf(lab.dir), lab.dir), traces)
  assert.equal(existsSync(lab.dir), false)
  const links = (await run('ip', ['-o', 'link'])).stdout
  assert.ok(!links.includes(bridgeName(lab.hosts)))
})

test('down of a lab that is not there is fine', async () => {
  await labDown({ name, dir: lab.dir, say: () => undefined })
})

function since(began: number): string {
  return ((performance.now() - began) / 1_000).toFixed(1)
}

function nameOf(dir: string): string {
  return made.find((each) => each.dir === dir)?.name ?? name
}

async function place(labName: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'requorum-lab-'))
  made.push({ name: labName, dir })
  return dir
}
