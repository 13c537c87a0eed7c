/** The alert rules: by promtool, and in a real Prometheus that watches a worker and the members of the lab. */
import assert from 'node:assert/strict'
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { promisify } from 'node:util'
import { stringify } from 'yaml'
import { z } from 'zod'
import { METRICS } from '../../domain/metrics.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { labPaths } from '../../lab/hosts/lab-hosts.ts'
import { killWorker, startWorker } from '../../lab/services/worker.ts'
import { freePort } from '../systems/free-port.ts'
import { until } from './backup-runs.ts'
import { editClusterFile, standStill, useLab, wakeUp } from './use-lab.ts'

const RULES = join(import.meta.dirname, '../../infra/prometheus')
const run = promisify(execFile)

const metricsPort = await freePort()
const env = { REQUORUM_METRICS: `127.0.0.1:${metricsPort}` }
const own = useLab({ keys: 300, workerEnv: env })

interface Watching {
  readonly process: ChildProcess
  readonly url: string
  readonly dir: string
}
let prometheus: Promise<Watching> | undefined

after(async () => {
  const watching = await prometheus
  if (watching === undefined) return
  watching.process.kill('SIGTERM')
  await rm(watching.dir, { recursive: true, force: true })
})

test('promtool sees each alert fire, and be silent', async () => {
  const { stdout } = await run('promtool', ['test', 'rules', 'requorum.test.yaml', 'etcd.test.yaml'], {
    cwd: RULES,
  })
  assert.equal(stdout.match(/SUCCESS/g)?.length, 2, stdout)
  await run('promtool', ['check', 'rules', 'requorum.rules.yaml', 'etcd.rules.yaml'], { cwd: RULES })
})

test('without any snapshot there is an alert, until the first backup; what it was stands in the metrics', async () => {
  const { lab, operator } = own()
  await firing('RequorumSnapshotMissing', true)
  const backedUp = await operator.backup()
  assert.ok('verdict' in backedUp, JSON.stringify(backedUp))
  await firing('RequorumSnapshotMissing', false)

  const seen = await exported()
  const of = `{cluster="${lab.name}"}`
  assert.equal(seen.get(METRICS.snapshotSize.name + of), backedUp.verdict.sizeBytes)
  assert.equal(seen.get(METRICS.snapshotRevision.name + of), Number(backedUp.verdict.revision))
  assert.equal(seen.get(METRICS.snapshotKeys.name + of), backedUp.verdict.totalKeys)
  const taken = seen.get(METRICS.snapshotTaken.name + of) ?? 0
  assert.ok(Math.abs(Date.now() / 1_000 - taken) < 600, String(taken))
  for (const node of lab.hosts.hosts.map(({ name }) => name)) {
    const size = seen.get(`${METRICS.databaseSize.name}{cluster="${lab.name}",node="${node}"}`) ?? 0
    assert.ok(size > 0, node)
  }
  const put = [...seen].find(([series]) => series.startsWith(METRICS.transferred.name))
  assert.equal(put?.[1], backedUp.verdict.sizeBytes, put?.[0])
  assert.ok(
    [...seen.keys()].some((series) => series.startsWith('temporal_')),
    "the SDK's own stand there too",
  )
})

test('a failed backup is an alert with its reason counted, until one succeeds', async () => {
  const { lab, operator } = own()
  const mend = await editClusterFile(lab, (file) => {
    file['plausibility'] = { leastKeys: 'many' }
  })
  const failed = await operator.backup().finally(mend)
  assert.ok(!('verdict' in failed), JSON.stringify(failed))
  await firing('RequorumBackupFailing', true)
  const runs = [...(await exported()).keys()].filter((series) => series.startsWith(METRICS.runs.name))
  assert.ok(
    runs.some((series) => /ended="failed".*outcome="config-invalid"/.test(series)),
    runs.join('\n'),
  )
  assert.ok('verdict' in (await operator.backup()))
  await firing('RequorumBackupFailing', false)
})

test('a member that is dead, and a quorum that is lost', async () => {
  const { lab } = own()
  const [first] = lab.hosts.hosts
  await atConsole(lab.hosts, first?.name ?? '', "systemctl stop kubelet; systemctl stop 'static-pod-etcd-*'")
  await firing('EtcdMemberDown', true)
  assert.equal((await alerts()).has('EtcdQuorumLost'), false)
  await standStill(lab)
  await firing('EtcdQuorumLost', true)
})

test('a checkpoint that waits is seen, also by a worker that was not there when it began', async () => {
  const { lab, operator } = own()
  const restore = await operator.startRestore()
  assert.ok(await operator.untilCheckpoint('destroy'))
  await killWorker(lab.dir)
  await firing('RequorumWorkerGone', true)
  await startWorker(lab.dir, () => undefined, env)
  await firing('RequorumWorkerGone', false)
  const waiting = `${METRICS.checkpointWaiting.name}{cluster="${lab.name}"}`
  await until('a wait that is told', async () => ((await exported()).get(waiting) ?? 0) > 1 || undefined)
  await firing('RequorumCheckpointWaiting', true)
  await restore.terminate('seen enough')
  await wakeUp(lab)
  await firing('EtcdQuorumLost', false)
  await firing('EtcdMemberDown', false)
})

/** What the worker says at its endpoint: `name{labels}` without those that Prometheus adds, and the value. */
async function exported(): Promise<Map<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()
  const found = new Map<string, number>()
  for (const line of text.split('\n')) {
    const [, series, value] = /^(\w+(?:\{.*\})?) (\S+)$/.exec(line) ?? []
    if (series !== undefined) found.set(series, Number(value))
  }
  return found
}

const alertsAnswer = z.object({
  data: z.object({
    alerts: z.array(z.object({ state: z.string(), labels: z.record(z.string(), z.string()) })),
  }),
})

async function alerts(): Promise<Set<string>> {
  // The lab's addresses are known when it is up.
  prometheus ??= startPrometheus()
  const answer = await fetch(`${(await prometheus).url}/api/v1/alerts`)
  const { data } = alertsAnswer.parse(await answer.json())
  return new Set(
    data.alerts.filter(({ state }) => state === 'firing').map(({ labels }) => labels['alertname'] ?? ''),
  )
}

async function firing(name: string, wanted: boolean): Promise<void> {
  await until(
    `${name} ${wanted ? 'fires' : 'is over'}`,
    async () => (await alerts()).has(name) === wanted || undefined,
  )
}

/** The rules as they are, with seconds for minutes: what is waited for is the same. */
async function startPrometheus(): Promise<Watching> {
  const { lab } = own()
  const dir = await mkdtemp(join(tmpdir(), 'requorum-prometheus-'))
  const impatient = async (file: string): Promise<void> => {
    const rules = await readFile(join(RULES, file), 'utf8')
    await writeFile(
      join(dir, file),
      rules
        .replaceAll(/for: \d+[mh]/g, 'for: 1s')
        .replaceAll('requorum_checkpoint_waiting_seconds) > 900', 'requorum_checkpoint_waiting_seconds) > 9'),
    )
  }
  await Promise.all(['requorum.rules.yaml', 'etcd.rules.yaml'].map(impatient))
  const { pki } = labPaths(lab.hosts)
  await writeFile(
    join(dir, 'prometheus.yaml'),
    stringify({
      global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
      rule_files: ['requorum.rules.yaml', 'etcd.rules.yaml'],
      scrape_configs: [
        { job_name: 'requorum', static_configs: [{ targets: [`127.0.0.1:${metricsPort}`] }] },
        {
          ...{ job_name: 'etcd', scheme: 'https' },
          tls_config: {
            ca_file: join(pki, 'ca.crt'),
            ...{ cert_file: join(pki, 'client.crt'), key_file: join(pki, 'client.key') },
          },
          static_configs: [
            {
              targets: lab.hosts.hosts.map(({ address }) => `${address}:2379`),
              labels: { cluster: lab.name },
            },
          ],
        },
      ],
    }),
  )
  const port = await freePort()
  const child = spawn(
    'prometheus',
    [
      ...['--config.file', join(dir, 'prometheus.yaml'), '--storage.tsdb.path', join(dir, 'data')],
      ...['--web.listen-address', `127.0.0.1:${port}`, '--log.level', 'error'],
    ],
    { stdio: 'ignore' },
  )
  const url = `http://127.0.0.1:${port}`
  await until('Prometheus', async () => {
    const ready = await fetch(`${url}/-/ready`).catch(() => undefined)
    return ready?.ok === true ? true : undefined
  })
  return { process: child, url, dir }
}
