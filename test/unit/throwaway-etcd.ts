/** One real etcd of its own on loopback, for scripts that read one. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { etcdPart } from '../../lab/parts/parts.mjs'
import { freePort } from '../systems/free-port.ts'

const binaries = etcdPart('3.5').binDir

/** Why there is no etcd to test with, or false. */
export const NO_ETCD: string | false = existsSync(join(binaries, 'etcd'))
  ? false
  : `no etcd in ${binaries}: node scripts/setup.mjs --for test`

export const ETCDUTL = join(binaries, 'etcdutl')

const putAnswer = z.object({ header: z.object({ revision: z.string() }) })
const grantAnswer = z.object({ ID: z.string() })

export class ThrowawayEtcd {
  readonly directory: string
  readonly #port: number
  readonly #process: ChildProcess

  private constructor(directory: string, port: number, child: ChildProcess) {
    this.directory = directory
    this.#port = port
    this.#process = child
  }

  static async start(): Promise<ThrowawayEtcd> {
    const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'requorum-etcd-'))
    const [port, peer] = [await freePort(), await freePort()]
    const urls = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peer}`]
    const child = spawn(
      join(binaries, 'etcd'),
      [
        `--data-dir=${directory}/data`,
        `--listen-client-urls=${urls[0]!}`,
        `--advertise-client-urls=${urls[0]!}`,
        `--listen-peer-urls=${urls[1]!}`,
        `--initial-advertise-peer-urls=${urls[1]!}`,
        `--initial-cluster=default=${urls[1]!}`,
        '--unsafe-no-fsync',
        '--log-level=error',
      ],
      { stdio: 'ignore' },
    )
    const etcd = new ThrowawayEtcd(directory, port, child)
    for (let tries = 0; tries < 300; tries += 1) {
      if (child.exitCode !== null) break
      if (spawnSync(etcd.etcdctl()[0]!, [...etcd.etcdctl().slice(1), 'endpoint', 'health']).status === 0)
        return etcd
      await sleep(100)
    }
    await etcd.stop()
    throw new Error(`etcd did not get healthy on port ${port}`)
  }

  /** The command with which a script talks to it. */
  etcdctl(): string[] {
    return [
      join(binaries, 'etcdctl'),
      `--endpoints=http://127.0.0.1:${this.#port}`,
      '--command-timeout=10s',
      '--dial-timeout=2s',
    ]
  }

  /** @returns the revision of the write. */
  async put(key: string, value: string, lease?: string): Promise<string> {
    const base64 = (text: string) => Buffer.from(text).toString('base64')
    const body = { key: base64(key), value: base64(value), ...(lease === undefined ? {} : { lease }) }
    return putAnswer.parse(await this.#ask('kv/put', body)).header.revision
  }

  async grantLease(): Promise<string> {
    return grantAnswer.parse(await this.#ask('lease/grant', { TTL: '3600' })).ID
  }

  async compact(revision: string): Promise<void> {
    await this.#ask('kv/compaction', { revision, physical: true })
  }

  /** As when its quota is used up: it stays, and is part of every snapshot. */
  async raiseNoSpace(): Promise<void> {
    await this.#ask('maintenance/alarm', { action: 'ACTIVATE', alarm: 'NOSPACE' })
  }

  async stop(): Promise<void> {
    const ended = new Promise<void>((resolve) => {
      if (this.#process.exitCode !== null || this.#process.signalCode !== null) resolve()
      else this.#process.once('exit', () => resolve())
    })
    this.#process.kill('SIGKILL')
    await ended
    rmSync(this.directory, { recursive: true, force: true })
  }

  async #ask(path: string, body: object): Promise<unknown> {
    const answer = await fetch(`http://127.0.0.1:${this.#port}/v3/${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
    })
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`)
    return answer.json()
  }
}
