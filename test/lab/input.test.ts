/** What people get wrong, and what a node or a store can lack: a clear error within seconds, nothing changed. */
import assert from 'node:assert/strict'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { FailureCode } from '../../domain/failures.ts'
import { TASK_QUEUE } from '../../domain/messages.ts'
import { endOf, type Ended } from '../../lab/operator.ts'
import { run } from '../../lab/hosts/commands.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import { killWorker, startWorker } from '../../lab/services/worker.ts'
import { proved, refusal } from './backup-runs.ts'
import { BucketAdmin } from './bucket-admin.ts'
import { requorum, type Called } from './command.ts'
import { controlPlaneFiles, editClusterFile, everyHost, standStill, useLab, wakeUp } from './use-lab.ts'

/** A request that is retried before it is given up has to end within this, too. */
const SECONDS = 120
const own = useLab({ keys: 200 })

test('a backup and its schedule are there before anything is wrong', async () => {
  const { lab, operator } = own()
  proved(await operator.backup())
  const applied = await requorum(lab, 'schedule', 'apply', lab.name)
  assert.equal(applied.code, 0, applied.error)
})

for (const verbs of [
  ['restore'],
  ['plan', 'restore'],
  ['backup', 'now'],
  ['schedule', 'apply'],
  ['snapshots'],
  ['config', 'check'],
]) {
  test(`requorum ${verbs.join(' ')} of a cluster that nobody knows: it names those that there are`, async (t) => {
    const { lab } = own()
    const called = await requorum(lab, ...verbs, `${lab.name}x`)
    said(t, called, 2, 'cluster-unknown')
    assert.match(called.error, new RegExp(`Did you mean ${lab.name}\\?`))
  })
}

test('a workflow started for a cluster that nobody knows fails at once with the same words', async (t) => {
  for (const [type, workflowId] of [
    ['backup', 'backup/nobody'],
    ['restoreQuorum', 'recovery/nobody'],
    ['planRestore', 'plan/nobody'],
  ] as const) {
    await fails(
      t,
      'cluster-unknown',
      () => startedAs(type, workflowId, { cluster: 'nobody' }),
      /no cluster called "nobody"/,
    )
  }
})

test('a workflow started with no cluster, or with something that is none, fails at once', async (t) => {
  for (const [index, input] of [{}, null, 'lab', { cluster: '../etc' }, { cluster: 7 }, [1]].entries()) {
    await fails(
      t,
      'input-invalid',
      () => startedAs('backup', `backup/bad-${index}`, input),
      /"cluster" has to be/,
    )
  }
})

for (const { name, text, field, line } of [
  {
    name: 'YAML that can not be read',
    text: (whole: string) => whole.replace('store:', 'store: ['),
    field: 'not YAML',
    line: /:\d+:\d+ /,
  },
  {
    name: 'an unknown field',
    text: (whole: string) => whole.replace('ssh:', 'shh: {}\nssh:'),
    field: 'shh',
    line: /:\d+:1 shh/,
  },
  {
    name: 'a limit that is no duration',
    text: (whole: string) => `${whole}limits:\n  stop: soon\n`,
    field: 'limits.stop',
    line: /:\d+:9 limits\.stop/,
  },
]) {
  test(`a cluster file with ${name}: file, line and field are named, by the command and by the workflow`, async (t) => {
    const { lab, operator } = own()
    const path = join(lab.dir, 'clusters', `${lab.name}.yaml`)
    const before = await readFile(path, 'utf8')
    await writeFile(path, text(before))
    try {
      const checked = await requorum(lab, 'config', 'check', lab.name)
      assert.equal(checked.code, 2)
      assert.match(checked.out, line)
      for (const verbs of [['restore'], ['backup', 'now']]) {
        const called = await requorum(lab, ...verbs, lab.name)
        said(t, called, 2, 'config-invalid')
        assert.match(called.error, line)
        assert.ok(called.error.includes(`${lab.name}.yaml`) && called.error.includes(field), called.error)
      }
      await fails(t, 'config-invalid', () => operator.backup(), line)
      await fails(t, 'config-invalid', restored, line)
    } finally {
      await writeFile(path, before)
    }
  })
}

test('a host key that changed: the backup goes elsewhere and warns, the restore stops at once and names the node', async (t) => {
  const { lab, operator } = own()
  const host = lab.hosts.hosts[1]?.name ?? ''
  const fault = findFault('changed-host-key')
  await fault.inject(lab.hosts, host)
  // Connections that stand were made to the right host; a new worker has none.
  await killWorker(lab.dir)
  await startWorker(lab.dir, () => undefined)
  try {
    const verdict = proved(await operator.backup())
    assert.notEqual(verdict.source, host)
    assert.match(verdict.warnings.join('\n'), new RegExp(`${host}.*another host key`))
    await standStill(lab)
    await unchanged(async () => {
      await fails(t, 'host-key-refused', restored, new RegExp(host))
      said(t, await requorum(lab, 'plan', 'restore', lab.name), 1, 'host-key-refused')
    })
  } finally {
    await fault.mend?.(lab.hosts, host)
    await wakeUp(lab)
  }
})

test('a login key that no node takes: it says so, not that the nodes are down', async (t) => {
  const { lab, operator } = own()
  await rm(join(lab.dir, 'ssh', 'other'), { force: true })
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(lab.dir, 'ssh', 'other')])
  await broken({ ssh: { identityFile: 'ssh/other' } }, async () => {
    await fails(
      t,
      'no-source',
      () => operator.backup(),
      /cp-01.*did not let.*cp-02.*did not let.*cp-03.*did not let/s,
    )
    await fails(t, 'ssh-login-refused', restored, /cp-0\d/)
  })
})

test('a bucket that is not there is named', async (t) => {
  const { operator } = own()
  await broken({ store: { bucket: 'no-such-bucket' } }, async () => {
    await fails(t, 'store-refused', restored, /no-such-bucket/)
    await wakeUp(own().lab)
    await fails(t, 'store-refused', () => operator.backup(), /no-such-bucket/)
  })
})

test('a KMS key that may not be used: the backup is refused, names the key, and no backup is listed', async (t) => {
  const { lab, operator } = own()
  const bucket = await BucketAdmin.of(lab)
  const before = await bucket.keys('')
  const putBack = await edited({ store: { kmsKeyId: lab.store.foreignKmsKeyId } })
  try {
    const ended = await timed(t, 'wrong KMS key, backup', () => operator.backup())
    assert.ok('code' in ended, 'it was to fail')
    assert.match(ended.code, /^store-/)
    assert.match(ended.message, new RegExp(lab.store.foreignKmsKeyId))
    assert.deepEqual(await bucket.keys(''), before)
  } finally {
    await putBack()
  }
})

test('no room on the nodes: the backup is refused and says how much is needed', async (t) => {
  const { lab, operator } = own()
  const fill = findFault('fill-disk')
  await everyHost(lab, (host) => leaveRoom(host, 40))
  try {
    await fails(t, 'no-source', () => operator.backup(), /has \d+ MiB free.*Make \d+ MiB free/s)
  } finally {
    await everyHost(lab, async (host) => fill.mend?.(lab.hosts, host))
  }
})

test('no room on one node: the restore is refused before anything is staged, and names it', async (t) => {
  const { lab } = own()
  const fill = findFault('fill-disk')
  const host = lab.hosts.hosts[2]?.name ?? ''
  await standStill(lab)
  await leaveRoom(host, 40)
  try {
    await unchanged(async () => {
      await fails(t, 'no-space', restored, new RegExp(`${host} has \\d+ MiB free`))
    })
  } finally {
    await fill.mend?.(lab.hosts, host)
    await wakeUp(lab)
  }
})

test('a disk that is full to its last byte: the restore still says no-space and not something else', async (t) => {
  const { lab } = own()
  const fill = findFault('fill-disk')
  const host = lab.hosts.hosts[0]?.name ?? ''
  await standStill(lab)
  await fill.inject(lab.hosts, host)
  try {
    await unchanged(async () => {
      await fails(t, 'no-space', restored, new RegExp(host))
    })
  } finally {
    await fill.mend?.(lab.hosts, host)
    await wakeUp(lab)
  }
})

test('etcdctl that is not there: backup and restore say what is missing and where', async (t) => {
  const { operator } = own()
  await broken({ etcd: { etcdctl: '/usr/local/bin/no-etcdctl' } }, async () => {
    await fails(t, 'tools-missing', restored, /etcdctl.*cp-01.*cp-02.*cp-03/s)
    await wakeUp(own().lab)
    await fails(t, 'no-source', () => operator.backup(), /no-etcdctl|etcdctl/)
  })
})

test('etcdutl that is not there: backup and restore say what is missing and where', async (t) => {
  const { operator } = own()
  await broken({ etcd: { etcdutl: '/usr/local/bin/no-etcdutl' } }, async () => {
    await fails(t, 'tools-missing', restored, /etcdutl.*cp-01.*cp-02.*cp-03/s)
    await wakeUp(own().lab)
    await fails(t, 'no-source', () => operator.backup(), /etcdutl/)
  })
})

/** With etcd standing still and the cluster file changed so, does it; afterwards not a byte has moved. */
async function broken(changes: Changes, work: () => Promise<void>): Promise<void> {
  const { lab } = own()
  await standStill(lab)
  const before = await everyHost(lab, (host) => controlPlaneFiles(lab, host))
  const putBack = await edited(changes)
  try {
    await work()
    if (!(await etcdRuns())) {
      assert.deepEqual(await everyHost(lab, (host) => controlPlaneFiles(lab, host)), before)
    }
  } finally {
    await putBack()
    await wakeUp(lab)
  }
}

async function etcdRuns(): Promise<boolean> {
  const { lab } = own()
  const { stdout } = await atConsole(lab.hosts, 'cp-01', 'pgrep -x etcd || true')
  return stdout.trim() !== ''
}

async function unchanged(work: () => Promise<void>): Promise<void> {
  const { lab } = own()
  const before = await everyHost(lab, (host) => controlPlaneFiles(lab, host))
  await work()
  assert.deepEqual(await everyHost(lab, (host) => controlPlaneFiles(lab, host)), before)
}

type Changes = Readonly<Record<string, Readonly<Record<string, unknown>>>>

/** Changes fields within sections of the cluster file. */
function edited(changes: Changes): Promise<() => Promise<void>> {
  return editClusterFile(own().lab, (file) => {
    for (const [section, fields] of Object.entries(changes)) {
      const before = file[section]
      file[section] = { ...(typeof before === 'object' ? before : {}), ...fields }
    }
  })
}

async function leaveRoom(host: string, mib: number): Promise<void> {
  const script = `fallocate -l $(( $(stat -f -c '%a * %S' /var/lib) - ${mib} * 1048576 )) /var/lib/lab-filler`
  await atConsole(own().lab.hosts, host, script)
}

async function restored(): Promise<Ended<unknown>> {
  const { operator } = own()
  await operator.startRestore()
  return operator.result()
}

async function startedAs(type: string, workflowId: string, input: unknown): Promise<Ended<unknown>> {
  const { operator } = own()
  const handle = await operator.client.workflow.start(type, {
    taskQueue: TASK_QUEUE,
    workflowId,
    args: [input],
  })
  return endOf(handle)
}

/** It fails with this code and these words, soon. */
async function fails(
  t: TestContext,
  code: FailureCode,
  work: () => Promise<Ended<unknown>>,
  words: RegExp,
): Promise<void> {
  const message = refusal(await timed(t, code, work), code)
  assert.match(message, words)
  assert.match(message, /^Do: {2}\S/m)
}

async function timed<Result>(t: TestContext, what: string, work: () => Promise<Result>): Promise<Result> {
  const began = performance.now()
  const result = await work()
  const seconds = (performance.now() - began) / 1_000
  t.diagnostic(`${what}: ${seconds.toFixed(1)} s`)
  assert.ok(seconds < SECONDS, `${what} took ${seconds.toFixed(1)} s`)
  return result
}

/** The command ended like this, with what, (why) and what to do. */
function said(t: TestContext, called: Called, exit: number, code: FailureCode): void {
  t.diagnostic(`${code}: ${called.seconds.toFixed(1)} s`)
  assert.equal(called.code, exit, called.out + called.error)
  assert.ok(called.seconds < SECONDS)
  assert.ok(called.error.includes(`[${code}]`), called.error)
  assert.match(called.error, /^Do:/m)
  assert.equal(called.out, '')
}
