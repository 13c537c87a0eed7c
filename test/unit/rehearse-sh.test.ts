/** A real snapshot of a real etcd, restored and served by another, on this machine. */
import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  createReadStream,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { judgeRehearsal, type RehearsedFacts } from '../../domain/rehearsal.ts'
import { snapshotManifestSchema, type SnapshotManifest } from '../../domain/snapshot.ts'
import type { RequorumError } from '../../domain/failures.ts'
import { INVENTORY, readInventory } from '../../systems/etcd/inventory.ts'
import { OwnHost } from '../../systems/etcd/rehearsal/rehearsal-host.ts'
import { prepareHost, rehearse } from '../../systems/etcd/rehearsal/rehearse.ts'
import { revision as snapshotRevision } from '../../domain/values.ts'
import { clusterConfig, snapshotOf } from './examples.ts'
import { ETCDUTL, NO_ETCD, ThrowawayEtcd } from './throwaway-etcd.ts'

const TOOLS = dirname(ETCDUTL)
const PATH = '/usr/local/bin:/usr/bin:/bin'
const base = mkdtempSync(join(tmpdir(), 'requorum-rehearse-'))
const host = new OwnHost(join(base, 'rehearsals'), PATH)
const config = clusterConfig({ rehearsal: { tools: TOOLS } })
const never = new AbortController().signal
let file = ''
let manifest: SnapshotManifest

describe("a rehearsal on the worker's own host", { skip: NO_ETCD }, () => {
  before(async () => {
    const etcd = await ThrowawayEtcd.start()
    try {
      for (let one = 0; one < 40; one += 1) await etcd.put(`/registry/pods/default/web-${one}`, `pod ${one}`)
      const lease = await etcd.grantLease()
      await etcd.put('/registry/leases/kube-node-lease/cp-01', 'x', lease)
      const revision = await etcd.put('/registry/configmaps/default/last', 'y')
      file = join(base, 'source.db')
      const [command = '', ...words] = etcd.etcdctl()
      const saved = spawnSync(command, [...words, 'snapshot', 'save', file], { encoding: 'utf8' })
      assert.equal(saved.status, 0, saved.stderr)
      // What a backup would have found, by its own scripts: the rehearsal has to find the same.
      manifest = snapshotManifestSchema.parse({
        ...snapshotOf('2026-11-22T02:00:00.000Z'),
        revision,
        sizeBytes: readFileSync(file).length,
        sha256: sha256Of(file),
      })
      const found = await facts()
      const { sha256, sizeBytes, totalKeys, hash, inventory } = found
      manifest = { ...manifest, sha256, sizeBytes, totalKeys, hash, inventory }
      const live = spawnSync('dash', ['-c', INVENTORY, 'sh', revision, '30', ...etcd.etcdctl()], {
        encoding: 'utf8',
      })
      assert.equal(live.status, 0, live.stderr)
      assert.deepEqual(readInventory(live.stdout), inventory)
    } finally {
      await etcd.stop()
    }
  })
  after(() => rmSync(base, { recursive: true, force: true }))

  test('finds in what it restored every key that the living cluster had, and leaves nothing behind', async () => {
    const seen = await facts()
    assert.deepEqual(
      judgeRehearsal(manifest, seen).filter(({ verdict }) => verdict !== 'pass'),
      [],
    )
    assert.equal('skipped' in seen.inventory ? 0 : seen.inventory.keys, 42)
    assert.equal('skipped' in seen.inventory ? 0 : seen.inventory.leased, 1)
    assert.equal(seen.etcdVersion.split('.').length, 3)
    assert.ok(seen.seconds.served >= seen.seconds.restored)
    assertClean()
  })

  test('a snapshot of another content is told apart by its digest and by its counts', async () => {
    const { inventory } = manifest
    assert.ok(!('skipped' in inventory))
    const other = {
      ...manifest,
      inventory: { ...inventory, metadata: manifest.sha256, kinds: { pods: 41 } },
    }
    const failed = judgeRehearsal(other, await facts()).filter(({ verdict }) => verdict === 'fail')
    assert.deepEqual(
      failed.map(({ name }) => name),
      ['object counts', 'content'],
    )
    assert.match(failed[0]?.evidence ?? '', /pods: 40 instead of 41/)
  })

  test('a flipped byte, a cut end and a file that is none are words about the snapshot, and leave nothing', async () => {
    const whole = readFileSync(file)
    const flipped = Buffer.from(whole)
    flipped.writeUInt8(flipped.readUInt8(20_000) ^ 1, 20_000)
    for (const bad of [flipped, whole.subarray(0, whole.length - 4_096), Buffer.from('no snapshot')]) {
      const path = join(base, 'bad.db')
      writeFileSync(path, bad)
      const seen = await rehearsed({ source: path })
      assert.ok('failed' in seen, JSON.stringify(seen))
      assert.match(seen.failed, /can't be restored: /)
    }
    assertClean()
  })

  test('what the tools say of a full disk, of memory or by a signal is no word about the snapshot', async () => {
    for (const [tool, first] of [
      ['etcdutl', '[ "$2" != restore ] || { echo "write: no space left on device" >&2; exit 1; }'],
      ['etcdutl', '[ "$2" != restore ] || kill -KILL $$'],
      [
        'etcd',
        '[ "$1" = --version ] || { echo "fatal error: runtime: cannot allocate memory" >&2; exit 2; }',
      ],
      ['etcd', '[ "$1" = --version ] || kill -KILL $$'],
    ] as const) {
      await assert.rejects(rehearsed({ with: tools(tool, first) }), (error: RequorumError) => {
        assert.equal(error.code, 'step-failed', `${first}: ${error.message}`)
        return true
      })
    }
    assertClean()
  })

  test('an etcd that ends for another reason says that the snapshot can not be served', async () => {
    const broken = tools('etcd', '[ "$1" = --version ] || { echo "panic: no such bucket" >&2; exit 2; }')
    const seen = await rehearsed({ with: broken })
    assert.match('failed' in seen ? seen.failed : '', /can't be served: panic: no such bucket/)
  })

  test('an alarm that the snapshot brings along does not keep it from being served', async () => {
    const etcd = await ThrowawayEtcd.start()
    const path = join(base, 'alarm.db')
    try {
      const revision = await etcd.put('/registry/pods/default/web', 'x')
      const [command = '', ...words] = etcd.etcdctl()
      await etcd.raiseNoSpace()
      assert.equal(spawnSync(command, [...words, 'snapshot', 'save', path]).status, 0)
      const seen = await rehearsed({
        source: path,
        of: { ...manifest, revision: snapshotRevision.parse(revision) },
      })
      assert.ok('inventory' in seen, JSON.stringify(seen))
    } finally {
      await etcd.stop()
    }
  })

  test('a snapshot of a cluster with auth enabled is served to root, whose password nobody knows here', async () => {
    const etcd = await ThrowawayEtcd.start()
    const path = join(base, 'auth.db')
    try {
      const revision = await etcd.put('/registry/pods/default/web', 'x')
      const [command = '', ...words] = etcd.etcdctl()
      for (const typed of [
        ['user', 'add', 'root', '--new-user-password=unknown'],
        ['user', 'grant-role', 'root', 'root'],
        ['auth', 'enable'],
        ['--user=root:unknown', 'snapshot', 'save', path],
      ]) {
        const { status, stderr } = spawnSync(command, [...words, ...typed], { encoding: 'utf8' })
        assert.equal(status, 0, `${typed.join(' ')}: ${stderr}`)
      }
      const of = { ...manifest, revision: snapshotRevision.parse(revision) }
      const seen = await rehearsed({ source: path, of })
      assert.ok('inventory' in seen, JSON.stringify(seen))
      assert.equal('skipped' in seen.inventory ? 0 : seen.inventory.keys, 1)
      assertClean()
    } finally {
      await etcd.stop()
    }
  })

  test('another minor than the one that wrote it is refused before anything is restored', async () => {
    const of = { ...manifest, etcd: { ...manifest.etcd, version: '3.6.4' } }
    await assert.rejects(rehearsed({ of }), (error: RequorumError) => error.code === 'versions-unfit')
  })

  test('a download that is not the snapshot is refused before anything is restored', async () => {
    const attempt = await host.begin()
    const placed = host.place(attempt, 'ab'.repeat(32), createReadStream(file), never)
    await assert.rejects(placed, (error: RequorumError) => error.code === 'snapshot-damaged')
    await host.end(attempt)
    assertClean()
  })

  test('without the tools it says which is missing and where it belongs', async () => {
    const none = clusterConfig({ rehearsal: { tools: '/nonexistent/bin' } })
    await assert.rejects(prepareHost(host, none, never), (error: RequorumError) => {
      assert.equal(error.code, 'tools-missing')
      assert.match(error.message, /\/nonexistent\/bin\/etcd\b/)
      assert.match(error.message, /rehearsal\.tools/)
      return true
    })
  })

  test('ended in the middle it takes its etcd with it, and meanwhile there is no second one', async () => {
    const ending = new AbortController()
    const running = rehearsed({ with: tools('etcdctl', 'sleep 60'), signal: ending.signal })
    await until(() => etcds().length > 0)
    const second = prepareHost(host, config, never)
    await assert.rejects(second, (error: RequorumError) => error.code === 'rehearsal-running')
    ending.abort(new Error('enough'))
    await assert.rejects(running, /enough/)
    await until(() => etcds().length === 0)
    assertClean()
  })

  test('a worker that is killed takes it with it, and what it left is removed by the next one', async () => {
    const worker = startWorker(tools('etcdctl', 'sleep 60'))
    await until(() => etcds().length > 0)
    worker.kill('SIGKILL')
    await until(() => etcds().length === 0)
    assert.notDeepEqual(leftBehind(), [], 'the snapshot is still there')
    assert.ok('inventory' in (await rehearsed()))
    assertClean()
  })

  test('a script that is killed takes its etcd with it', async () => {
    const running = rehearsed({ with: tools('etcdctl', 'sleep 60') })
    running.catch(() => undefined)
    await until(() => etcds().length > 0)
    killScripts()
    await assert.rejects(running, { code: 'step-failed' })
    await until(() => etcds().length === 0)
    assertClean()
  })

  test('an etcd whose worker and script were killed is ended by the next one', async () => {
    const worker = startWorker(tools('etcdctl', 'sleep 3'))
    await until(() => etcds().length > 0)
    worker.kill('SIGKILL')
    killScripts()
    assert.equal(etcds().length, 1)
    // What the script was waiting for still has its lock, until it ends by itself.
    await until(() => spawnSync('flock', ['-n', join(host.directory, 'lock'), 'true']).status === 0)
    assert.ok('inventory' in (await rehearsed()))
    await until(() => etcds().length === 0)
    assertClean()
  })
})

async function facts(): Promise<RehearsedFacts> {
  const seen = await rehearsed()
  if ('failed' in seen) throw new Error(seen.failed)
  return seen
}

/** As the worker does it, with the file as what the store gives. */
async function rehearsed(
  given: { source?: string; of?: SnapshotManifest; with?: typeof config; signal?: AbortSignal } = {},
): Promise<RehearsedFacts | { failed: string }> {
  const { source = file, of = manifest, signal = never } = given
  const chosen = given.with ?? config
  const attempt = await host.begin()
  try {
    const path = await host.place(attempt, sha256Of(source), createReadStream(source), signal)
    const etcdVersion = await prepareHost(host, chosen, signal)
    return await rehearse(host, chosen, of, { attempt, path, etcdVersion }, signal)
  } finally {
    await host.end(attempt)
  }
}

/** A process of its own that rehearses, and can be killed. */
function startWorker(config: object): ChildProcess {
  const url = (path: string): string => new URL(`../../systems/etcd/rehearsal/${path}`, import.meta.url).href
  const code = `
    import { createReadStream } from 'node:fs'
    import { OwnHost } from '${url('rehearsal-host.ts')}'
    import { rehearse } from '${url('rehearse.ts')}'
    const [directory, config, manifest, file] = ${JSON.stringify([host.directory, config, manifest, file])}
    const host = new OwnHost(directory, '${PATH}')
    const { signal } = new AbortController()
    const attempt = await host.begin()
    const path = await host.place(attempt, manifest.sha256, createReadStream(file), signal)
    await rehearse(host, config, manifest, { attempt, path, etcdVersion: manifest.etcd.version }, signal)`
  return spawn(process.execPath, ['--input-type=module-typescript', '-e', code], { stdio: 'ignore' })
}

/** The shells of every rehearsal, and those that watch over them. */
function killScripts(): void {
  const found = spawnSync('pgrep', ['-f', `^sh -s -- ${host.directory}`], { encoding: 'utf8' }).stdout
  for (const pid of found.split('\n').filter(Boolean)) process.kill(Number(pid), 'SIGKILL')
}

function sha256Of(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}

/** The real tools, but for one, which does something else first. */
function tools(name: string, first: string): typeof config {
  const directory = mkdtempSync(join(base, 'tools-'))
  for (const tool of ['etcd', 'etcdctl', 'etcdutl']) {
    const script = `#!/bin/sh\n${tool === name ? first : ''}\nexec ${join(TOOLS, tool)} "$@"\n`
    writeFileSync(join(directory, tool), script, { mode: 0o755 })
  }
  return clusterConfig({ rehearsal: { tools: directory } })
}

/** Processes of etcd that serve out of the rehearsals' directory. */
function etcds(): string[] {
  return spawnSync('pgrep', ['-f', `etcd --data-dir=${host.directory}/`], { encoding: 'utf8' })
    .stdout.split('\n')
    .filter(Boolean)
}

function assertClean(): void {
  assert.deepEqual(leftBehind(), [])
  assert.deepEqual(etcds(), [])
}

function leftBehind(): string[] {
  return existsSync(host.directory) ? readdirSync(host.directory).filter((name) => name !== 'lock') : []
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000
  while (!holds()) {
    assert.ok(Date.now() < deadline, 'waited in vain')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
