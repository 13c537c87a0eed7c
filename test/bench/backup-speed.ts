import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { PROGRESS_QUERY } from '../../domain/messages.ts'
import { secondsBetween, type Progress } from '../../domain/progress.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { findHost, hostPaths } from '../../lab/hosts/lab-hosts.ts'
import { hostInit } from '../../lab/hosts/power.ts'
import type { Lab } from '../../lab/lab.ts'
import type { Operator } from '../../lab/operator.ts'
import { findWorker } from '../../lab/services/worker.ts'
import { startBackup } from '../lab/backup-runs.ts'
import { fillUntil } from '../lab/big-keyspace.ts'
import { idleBytes, peakBytesDuring } from '../lab/memory.ts'
import { editClusterFile } from '../lab/own-lab.ts'
import { wakeUp } from '../lab/use-lab.ts'
import { onBenchLab, tenths } from './bench-lab.ts'
import { processesOf, usageDuring, type Usage } from './usage.ts'

const MIB = 1024 ** 2
const GIB = 1024 ** 3
/** Above etcd's default of 2 GiB; the most that its authors recommend. */
const QUOTA_BYTES = 8 * GIB
/** What a host comes to hold, in snapshots of the largest size: data, log, local copies and the one by hand. */
const COPIES_A_HOST = 7

export interface BackupSpeed {
  readonly sizes: readonly SizedBackup[]
  /** The largest `workerPeakBytes` less the smallest, over all sizes and both ways. */
  readonly workerSpreadBytes: number
}

export interface SizedBackup {
  /** Of the snapshot. */
  readonly bytes: number
  readonly transfer: 'direct' | 'relay'
  /** From the start of the workflow to its verdict: chosen, saved, checked, counted, stored, proved, pruned. */
  readonly oursSeconds: number
  /** `etcdctl snapshot save`, `etcdutl snapshot status`, `aws s3 cp` with SSE-KMS, on the same node. */
  readonly plainSeconds: number
  readonly workerIdleBytes: number
  readonly workerPeakBytes: number
  readonly workerCpuSeconds: number
  /** On the node, without etcd itself. */
  readonly nodeCpuSeconds: number
  readonly nodePeakBytes: number
  readonly plainCpuSeconds: number
  readonly plainPeakBytes: number
  /** Where our time goes. */
  readonly steps: Readonly<Record<string, number>>
}

/**
 * Backups of several sizes, both ways, against the same in a shell, in one run on the same hosts. The keyspace grows from
 * size to size. Brings its own lab up and down.
 *
 * @param sizes - about how large the snapshots are, in MiB, from small to large
 */
export async function backupSpeed(
  sizes: readonly number[],
  rounds: number,
  say: (line: string) => void,
): Promise<BackupSpeed> {
  const diskBytes = 2 * GIB + COPIES_A_HOST * Math.max(...sizes) * MIB
  return onBenchLab({ say, diskBytes, cluster: { backup: { keepLocal: 1 } } }, async (lab, operator) => {
    await raiseQuota(lab)
    // The first backup of a month leaves a copy for it, which none of the others does.
    await operator.backup()
    const measured: SizedBackup[] = []
    for (const size of sizes) {
      say(`Filling etcd to about ${size} MiB`)
      await fillUntil(lab.hosts, size * MIB, `/bench/bulk-${size}`)
      await comeToRest(lab)
      for (let round = 0; round < rounds; round++) measured.push(...(await measureSize(lab, operator, say)))
    }
    const peaks = measured.map(({ workerPeakBytes }) => workerPeakBytes)
    return { sizes: measured, workerSpreadBytes: Math.max(...peaks) - Math.min(...peaks) }
  })
}

/** Whoever were measured first would pay for what the filling left to be written. */
async function comeToRest(lab: Lab): Promise<void> {
  for (const { name } of lab.hosts.hosts)
    await atConsole(lab.hosts, name, `sync; ${PLAIN_SAVE}; rm /var/lib/plain.db`, [], {
      timeoutMs: 1_800_000,
    })
}

async function measureSize(
  lab: Lab,
  operator: Operator,
  say: (line: string) => void,
): Promise<SizedBackup[]> {
  const found: SizedBackup[] = []
  for (const transfer of ['direct', 'relay'] as const) {
    const ours = await measureOurs(lab, operator, transfer)
    say(`  ${transfer}: ${tenths(ours.oursSeconds)} s of ${Math.round(ours.bytes / MIB)} MiB`)
    const plain = await measurePlain(lab, ours.source)
    say(`  in a shell: ${tenths(plain.seconds)} s`)
    const { source: _same, ...figures } = ours
    found.push({
      ...figures,
      plainSeconds: tenths(plain.seconds),
      plainCpuSeconds: tenths(plain.cpuSeconds),
      plainPeakBytes: plain.peakBytes,
    })
  }
  return found
}

async function measureOurs(lab: Lab, operator: Operator, transfer: 'direct' | 'relay') {
  const worker = await findWorker(lab.dir)
  if (worker === undefined) throw new Error('The worker of the lab does not run.')
  const putBack = await editClusterFile(lab, (file) => {
    file['transfer'] = { way: transfer }
  })
  try {
    const workerIdleBytes = await idleBytes(worker)
    const inits = await Promise.all(lab.hosts.hosts.map((host) => hostInit(lab.hosts, host)))
    const nodes = async (): Promise<number[]> => {
      const each = await Promise.all(
        inits.map(async (init) => (init === undefined ? [] : processesOf(init, 'etcd'))),
      )
      return each.flat()
    }
    const { result, usage } = await usageDuring(nodes, () =>
      usageDuring(
        () => Promise.resolve([worker]),
        () =>
          peakBytesDuring(worker, async () => {
            const run = await startBackup({ lab, operator })
            return { ended: await run.ended, workflowId: run.workflowId }
          }),
      ),
    )
    const { result: run, peakBytes, seconds } = result.result
    const { ended, workflowId } = run
    if (!('verdict' in ended)) throw new Error(`The backup failed. ${ended.message}`)
    const { verdict } = ended
    return {
      bytes: verdict.sizeBytes,
      transfer,
      source: verdict.source,
      oursSeconds: tenths(seconds),
      workerIdleBytes,
      workerPeakBytes: peakBytes,
      workerCpuSeconds: tenths(result.usage.cpuSeconds),
      nodeCpuSeconds: tenths(usage.cpuSeconds),
      nodePeakBytes: usage.peakBytes,
      steps: stepsOf(await operator.client.workflow.getHandle(workflowId).query<Progress>(PROGRESS_QUERY)),
    }
  } finally {
    await putBack()
  }
}

/** As people do it: on one node, with what every node has, and with aws where its network is. */
async function measurePlain(lab: Lab, source: string): Promise<Usage> {
  const init = await hostInit(lab.hosts, findHost(lab.hosts, source))
  if (init === undefined) throw new Error(`${source} is off.`)
  const { usage } = await usageDuring(
    () => processesOf(init, 'etcd'),
    async (besides) => {
      await atConsole(lab.hosts, source, PLAIN_SAVE, [], { timeoutMs: 1_800_000 })
      await awsCopy(lab, init, join(hostPaths(lab.hosts, source).varLib, 'plain.db'), besides)
      await atConsole(lab.hosts, source, 'rm -f /var/lib/plain.db')
    },
  )
  return usage
}

const PLAIN_SAVE = `
  pki=/etc/kubernetes/pki/etcd
  etcdctl --endpoints=https://127.0.0.1:2379 --cacert=$pki/ca.crt --cert=$pki/server.crt --key=$pki/server.key \\
    snapshot save /var/lib/plain.db >/dev/null
  etcdutl snapshot status /var/lib/plain.db -w json`

async function awsCopy(
  { store }: Lab,
  init: number,
  path: string,
  besides: (pid: number) => void,
): Promise<void> {
  const command = [
    ...['aws', '--endpoint-url', store.endpoint, '--region', store.region, 's3', 'cp', '--only-show-errors'],
    ...['--sse', 'aws:kms', '--sse-kms-key-id', store.kmsKeyId],
    ...[path, `s3://${store.bucket}/plain/${Date.now()}.db`],
  ]
  const child = spawn('nsenter', ['--target', String(init), '--net', '--', ...command], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: '/nonexistent',
      AWS_CONFIG_FILE: '/dev/null',
      AWS_SHARED_CREDENTIALS_FILE: store.credentialsFile,
      AWS_PROFILE: store.profile,
    },
  })
  if (child.pid !== undefined) besides(child.pid)
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code !== 0) throw new Error(`aws s3 cp ended with ${code}.`)
}

/** One member after the other, each healthy again before the next. */
async function raiseQuota(lab: Lab): Promise<void> {
  for (const { name } of lab.hosts.hosts) {
    await atConsole(
      lab.hosts,
      name,
      `cd /etc/kubernetes/manifests
       was=$(pgrep -x etcd)
       sed 's/^    - etcd$/&\\n    - --quota-backend-bytes=${QUOTA_BYTES}/' etcd.yaml >/root/etcd.yaml
       chmod 600 /root/etcd.yaml
       mv /root/etcd.yaml etcd.yaml
       until [ -n "$(pgrep -x etcd)" ] && [ "$(pgrep -x etcd)" != "$was" ]; do sleep 0.2; done`,
    )
    await wakeUp(lab)
  }
}

function stepsOf({ steps }: Progress): Record<string, number> {
  return Object.fromEntries(
    steps.map(({ title, startedAt, endedAt }) => [
      title,
      tenths(secondsBetween(startedAt, endedAt ?? startedAt)),
    ]),
  )
}
