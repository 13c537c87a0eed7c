import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { run } from '../hosts/commands.ts'
import { choosePorts } from '../services/ports.ts'
import { endProcess, isRunning, lastLines, launch } from '../services/process.ts'
import type { EtcdPart } from './parts.mjs'

/** What an empty etcd needs to serve, on a busy machine. */
const SERVES_WITHIN_MS = 60_000

/**
 * The snapshot of an empty etcd of this version, from which a lab's members start all three at once, with the
 * manifests that kubeadm would have left them. Made once, by a throwaway etcd on loopback, and kept beside the programs.
 *
 * @returns the snapshot's path; the file is whole or not there.
 */
export async function ensureSeedSnapshot({ binDir, layer }: EtcdPart): Promise<string> {
  const seed = join(dirname(layer), 'seed.db')
  if (existsSync(seed)) return seed
  const scratch = await mkdtemp(join(tmpdir(), 'requorum-seed-'))
  const partial = `${seed}.partial-${process.pid}`
  try {
    await saveEmpty(binDir, scratch, partial)
    await mkdir(dirname(seed), { recursive: true })
    await rename(partial, seed)
  } finally {
    await rm(partial, { force: true })
    await rm(scratch, { recursive: true, force: true })
  }
  return seed
}

async function saveEmpty(binDir: string, scratch: string, target: string): Promise<void> {
  const [clients, peers] = (await choosePorts(2)).map((port) => `http://127.0.0.1:${port}`)
  if (clients === undefined || peers === undefined) throw new Error('Two free ports were asked for.')
  const logFile = join(scratch, 'etcd.log')
  const etcd = await launch({
    command: join(binDir, 'etcd'),
    args: [
      ...['--name', 'seed', '--data-dir', join(scratch, 'data')],
      ...['--listen-client-urls', clients, '--advertise-client-urls', clients],
      ...['--listen-peer-urls', peers, '--initial-advertise-peer-urls', peers],
      ...['--initial-cluster', `seed=${peers}`],
    ],
    logFile,
    cwd: scratch,
  })
  const etcdctl = (...words: readonly string[]) =>
    run(join(binDir, 'etcdctl'), ['--endpoints', clients, ...words], {
      accept: [0, 1],
      env: { PATH: '/usr/bin:/bin' },
    })
  try {
    const deadline = Date.now() + SERVES_WITHIN_MS
    while ((await etcdctl('endpoint', 'health')).exitCode !== 0) {
      if (!isRunning(etcd) || Date.now() > deadline) {
        throw new Error(`The etcd of the lab's seed does not serve.${lastLines(logFile)}`)
      }
      await sleep(50)
    }
    const saved = await etcdctl('snapshot', 'save', target)
    if (saved.exitCode !== 0) throw new Error(`The lab's seed was not saved: ${saved.stderr.trim()}`)
  } finally {
    await endProcess(etcd)
  }
}
