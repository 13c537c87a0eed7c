import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { RequorumError } from '../../../domain/failures.ts'
import { wholeOrNothing } from '../../ssh/quoting.ts'

/** Most that a script may say: the counts of all kinds, and etcd's last words. */
const MOST_OUTPUT = 1_048_576

export interface ScriptResult {
  /** 128 + n when signal n ended it. */
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** The machine that this process runs on, as a rehearsal uses it: a directory of its own, and scripts at low priority. */
export class OwnHost {
  readonly #directory: string
  readonly #path: string

  /**
   * @param directory - absolute; made for this user alone (0700)
   * @param path - where programs are looked for
   */
  constructor(directory: string, path: string) {
    this.#directory = directory
    this.#path = path
  }

  get directory(): string {
    return this.#directory
  }

  /** A directory of its own for one attempt: another one at work must find neither its file nor lose its own. */
  async begin(): Promise<string> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 })
    await chmod(this.#directory, 0o700)
    return mkdtemp(join(this.#directory, 'attempt.'))
  }

  async end(attempt: string): Promise<void> {
    const sockets = await readFile(join(attempt, 'sockets'), 'utf8').catch(() => '')
    if (/^\/tmp\/requorum\.\w+$/.test(sockets.trim()))
      await rm(sockets.trim(), { recursive: true, force: true })
    await rm(attempt, { recursive: true, force: true })
  }

  /**
   * Puts a file into an attempt's directory whose SHA-256 has to be this one. Returns its path.
   *
   * @throws RequorumError `snapshot-damaged`, `no-space`; and what the source fails with
   */
  async place(attempt: string, expected: string, source: Readable, signal: AbortSignal): Promise<string> {
    const path = join(attempt, 'snapshot.db')
    const hash = createHash('sha256')
    source.on('data', (chunk: Buffer) => hash.update(chunk))
    try {
      await pipeline(source, createWriteStream(path, { mode: 0o600 }), { signal })
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
      throw new RequorumError('no-space', {
        what: `The snapshot does not fit into ${this.#directory} on the worker's host.`,
        todo: "Make room there, or name another directory: rehearsal.directory in the cluster's file. It takes twice the snapshot's size.",
      })
    }
    if (hash.digest('hex') === expected) return path
    throw new RequorumError('snapshot-damaged', {
      what: "What the store gave isn't the snapshot: its SHA-256 is not its manifest's.",
      todo: 'Look at the store; the next older snapshot is not touched by this.',
    })
  }

  /**
   * Runs a POSIX shell script with `nice`, in a process group of its own, which is ended when the signal fires.
   *
   * @throws the signal's reason
   */
  async script(text: string, args: readonly string[], signal: AbortSignal): Promise<ScriptResult> {
    signal.throwIfAborted()
    const child = spawn('nice', ['-n', '19', 'sh', '-s', '--', ...args], {
      detached: true,
      env: { PATH: this.#path, HOME: this.#directory },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const ended = Promise.withResolvers<number>()
    child.once('error', ended.reject)
    child.once('close', (code, by) => {
      ended.resolve(code ?? (by === 'SIGKILL' ? 137 : 143))
    })
    // The script removes what it made when it is told to end, and has ten seconds for it.
    let late: NodeJS.Timeout | undefined
    const stop = (): void => {
      endGroup(child.pid, 'SIGTERM')
      late = setTimeout(() => {
        endGroup(child.pid, 'SIGKILL')
      }, 10_000)
    }
    signal.addEventListener('abort', stop, { once: true })
    const out = gather(child.stdout)
    const error = gather(child.stderr)
    child.stdin.on('error', () => undefined)
    child.stdin.end(wholeOrNothing(text))
    try {
      const code = await ended.promise
      // Killed, it could not end what it had started.
      if (code >= 128) endGroup(child.pid, 'SIGKILL')
      signal.throwIfAborted()
      return { code, stdout: out(), stderr: error() }
    } finally {
      clearTimeout(late)
      signal.removeEventListener('abort', stop)
    }
  }
}

function gather(stream: Readable): () => string {
  let text = ''
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text = (text + chunk).slice(-MOST_OUTPUT)
  })
  return () => text
}

function endGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal)
  } catch {
    // It has ended by itself.
  }
}
