/** No secret leaves its place: looked for through a whole backup and a whole restore, wherever it could have gone. */
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { atConsole } from '../../lab/hosts/console.ts'
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { SECRET_CANARY } from '../../lab/hosts/kubernetes-values.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import { hostInit } from '../../lab/hosts/power.ts'
import { findWorker } from '../../lab/services/worker.ts'
import { proved } from './backup-runs.ts'
import { accessKey } from './bucket-admin.ts'
import { requorum } from './command.ts'
import { everyHost, useLab } from './use-lab.ts'

const own = useLab({ keys: 500 })

test('a backup and a restore leave no S3 secret, no private key and no content of a Secret where others can look', async (t) => {
  const { lab, operator } = own()
  const needles = await secrets()
  const canaries = (await readAll(lab.hosts)).keys.filter(({ value }) =>
    Buffer.from(value, 'base64').includes(SECRET_CANARY),
  )
  assert.ok(canaries.length > 0, 'there is something to find')

  const watch = watchProcesses(needles)
  proved(await operator.backup())
  await destroyQuorum(lab.hosts)
  const plan = await requorum(lab, 'plan', 'restore', lab.name)
  assert.equal(plan.code, 0, plan.error)
  const ended = await operator.restoreAndApprove()
  assert.ok('verdict' in ended, 'message' in ended ? ended.message : '')
  assert.equal(ended.verdict.outcome, 'restored')
  const snapshots = await requorum(lab, 'snapshots', lab.name)
  const seen = await watch.stop()
  t.diagnostic(`${seen.looks} looks at ${seen.processes} processes of the lab`)
  assert.deepEqual(seen.found, [])
  assert.ok(seen.looks > 5 && seen.sawEtcdctl, 'it looked while etcdctl ran on a node')

  assert.deepEqual(
    findIn(needles, 'what the command printed', plan.out + plan.error + snapshots.out + snapshots.error),
    [],
  )
  assert.deepEqual(findIn(needles, 'the verdict', JSON.stringify(ended.verdict)), [])

  let runs = 0
  for await (const { workflowId, runId } of operator.client.workflow.list()) {
    const handle = operator.client.workflow.getHandle(workflowId, runId)
    const history = await handle.fetchHistory()
    const text = textsOf(history).join('\n')
    assert.deepEqual(findIn(needles, `history of ${workflowId}`, text), [])
    if (text.includes(`"cluster":"${lab.name}"`)) runs += 1
  }
  t.diagnostic(`${runs} histories`)
  assert.ok(runs >= 4, 'backup, plan, restore and the fresh backup, with payloads that can be read')

  for (const file of await filesBelow(join(lab.dir, 'engine'))) {
    assert.deepEqual(findIn(needles, file, (await readFile(file)).toString('latin1')), [], file)
  }

  await everyHost(lab, async (host) => {
    const { stdout } = await atConsole(
      lab.hosts,
      host,
      `cd / && tar -cf - --ignore-failed-read var/lib/requorum run/requorum tmp 2>/dev/null | base64 -w0; echo; journalctl --no-pager -o export | base64 -w0`,
    )
    const text = stdout.split('\n').map((part) => Buffer.from(part, 'base64').toString('latin1'))
    assert.ok(
      (text[0]?.length ?? 0) > 1_000 && (text[1]?.length ?? 0) > 1_000,
      `${host} has steps and a journal`,
    )
    assert.deepEqual(findIn(needles, `steps on ${host}`, text[0] ?? ''), [])
    assert.deepEqual(findIn(needles, `journal of ${host}`, text[1] ?? ''), [])
  })
})

test('the search finds what is there: the canary in a snapshot, the secret in its own file', async () => {
  const { lab } = own()
  const needles = await secrets()
  const credentials = await readFile(lab.store.credentialsFile, 'latin1')
  assert.equal(findIn(needles, 'credentials', credentials).length, 2)
  const { stdout } = await atConsole(
    lab.hosts,
    'cp-01',
    `for host in 1; do grep -c -a -F "$1" /var/lib/etcd/member/snap/db; done`,
    [SECRET_CANARY],
  )
  assert.ok(Number(stdout) > 0)
})

interface Needle {
  readonly what: string
  readonly text: string
}

/** Each secret as it is, and in base64 as far as that doesn't depend on where it stands. */
async function secrets(): Promise<Needle[]> {
  const { lab } = own()
  const [, secret] = await accessKey(lab, lab.store.profile)
  const [, admin] = await accessKey(lab, lab.store.adminProfile)
  const keys = await everyHost(lab, async (host) => {
    const files = '/etc/kubernetes/pki/etcd/*.key /etc/ssh/ssh_host_*_key'
    const { stdout } = await atConsole(
      lab.hosts,
      host,
      `for key in ${files}; do echo "@$key"; cat "$key"; done`,
    )
    return keyNeedles(host, stdout)
  })
  const login = await readFile(join(lab.dir, 'ssh', 'id_ed25519'), 'utf8')
  return [
    { what: "Requorum's S3 secret", text: secret },
    { what: "the admin's S3 secret", text: admin },
    { what: 'content of a Secret', text: SECRET_CANARY },
    ...[0, 1, 2].map((shift) => ({
      what: 'content of a Secret in base64',
      text: innerBase64(SECRET_CANARY, shift),
    })),
    ...keyNeedles('the worker', `@ssh/id_ed25519\n${login}`),
    ...keys.flat(),
  ]
}

/** A line from the middle of each key: the same in every encoding that keeps lines, and no other key has it. */
function keyNeedles(where: string, text: string): Needle[] {
  return text
    .split(/^@/m)
    .filter((part) => part.includes('PRIVATE KEY'))
    .map((part) => {
      const [name = '', ...lines] = part.trimEnd().split('\n')
      const inner = lines.filter((line) => !line.startsWith('-----'))
      return { what: `${name} of ${where}`, text: (inner.at(-2) ?? inner[0] ?? '').slice(-40) }
    })
}

/** What base64 of any text with this in it contains, at one of the three places where it can begin. */
function innerBase64(text: string, shift: number): string {
  const encoded = Buffer.from('x'.repeat(shift) + text).toString('base64')
  return encoded.slice(shift === 0 ? 0 : 4, -4)
}

function findIn(needles: readonly Needle[], where: string, haystack: string): string[] {
  return needles.filter(({ text }) => haystack.includes(text)).map(({ what }) => `${what} in ${where}`)
}

interface Watch {
  stop(): Promise<{ found: string[]; looks: number; processes: number; sawEtcdctl: boolean }>
}

/** Looks at arguments and environment of every process of the lab again and again, on the machine and in its hosts. */
function watchProcesses(needles: readonly Needle[]): Watch {
  const found = new Set<string>()
  const processes = new Set<string>()
  let looks = 0
  let sawEtcdctl = false
  let running = true
  const look = async (): Promise<void> => {
    const mine = await labProcesses()
    for (const pid of mine) {
      const [argumentsText, environment] = await Promise.all(
        ['cmdline', 'environ'].map((name) => readFile(`/proc/${pid}/${name}`, 'latin1').catch(() => '')),
      )
      if (argumentsText === undefined || environment === undefined) continue
      processes.add(`${pid} ${argumentsText}`)
      if (/^\S*etcdctl\0/.test(argumentsText)) sawEtcdctl = true
      const name = argumentsText.split('\0', 1)[0] ?? ''
      for (const hit of findIn(needles, `arguments of ${name}`, argumentsText)) found.add(hit)
      for (const hit of findIn(needles, `environment of ${name}`, environment)) found.add(hit)
    }
    looks += 1
  }
  const loop = (async () => {
    while (running) {
      await look()
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  })()
  return {
    async stop() {
      running = false
      await loop
      return { found: [...found], looks, processes: processes.size, sawEtcdctl }
    },
  }
}

/** Everything below the worker, the services and the hosts' own inits. */
async function labProcesses(): Promise<number[]> {
  const { lab } = own()
  const inits = await Promise.all(lab.hosts.hosts.map((host) => hostInit(lab.hosts, host)))
  const roots = [
    await findWorker(lab.dir),
    lab.engine.pid,
    lab.store.pids.kms,
    lab.store.pids.objects,
    ...inits,
  ]
  const parents = new Map<number, number>()
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) continue
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
    parents.set(pid, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]))
  }
  const belongs = (pid: number | undefined): boolean =>
    pid !== undefined && pid > 1 && (roots.includes(pid) || belongs(parents.get(pid)))
  return [...parents.keys()].filter(belongs)
}

async function filesBelow(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

/** Every text in it; payloads are bytes there and are read as text, too. */
function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (value instanceof Uint8Array) return [Buffer.from(value).toString('latin1')]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsOf) : []
}
