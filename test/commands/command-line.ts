import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const COMMAND = fileURLToPath(new URL('../../scripts/requorum.ts', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly error: string
}

/** A home directory of its own, with cluster files by name. */
export class TestHome {
  readonly dir = mkdtempSync(join(tmpdir(), 'requorum-home-'))

  constructor(clusters: Readonly<Record<string, string>> = {}) {
    mkdirSync(join(this.dir, 'clusters'))
    for (const [name, text] of Object.entries(clusters)) this.write(name, text)
    writeFileSync(join(this.dir, 'known_hosts'), '')
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.dir, 'clusters', `${name}.yaml`), text)
  }

  /** The path of an SSH key of that name in ~/.ssh, made when it isn't there. */
  key(name: string): string {
    const path = join(this.dir, '.ssh', name)
    mkdirSync(join(this.dir, '.ssh'), { recursive: true, mode: 0o700 })
    if (!existsSync(path)) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path])
    return path
  }

  /** Writes clusters/allowed_signers: whose word these keys give. */
  allow(people: Readonly<Record<string, readonly string[]>>): void {
    const lines = Object.entries(people).flatMap(([name, keys]) =>
      keys.map((key) => `${name} ${readFileSync(`${this.key(key)}.pub`, 'utf8')}`),
    )
    writeFileSync(join(this.dir, 'clusters', 'allowed_signers'), lines.join(''))
  }

  /** An ssh-keygen that waits until it is released, for the front of a PATH. */
  holdSshKeygen(): { path: string; release: () => void } {
    const path = join(this.dir, 'held')
    mkdirSync(path)
    const script = `#!/bin/sh\nuntil [ -e "${path}/go" ]; do sleep 0.1; done\nPATH=\${PATH#*:} exec ssh-keygen "$@"\n`
    writeFileSync(join(path, 'ssh-keygen'), script, { mode: 0o755 })
    return { path, release: () => writeFileSync(join(path, 'go'), '') }
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true })
  }

  /** Starts the real command; what of the caller's environment is not named here does not reach it. */
  start(
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
    cwd = this.dir,
  ): Running {
    const child = spawn(process.execPath, [COMMAND, ...args], {
      cwd,
      env: {
        PATH: process.env['PATH'] ?? '',
        HOME: this.dir,
        XDG_CACHE_HOME: process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'),
        REQUORUM_HOME: this.dir,
        ...(process.env['REQUORUM_CACHE'] === undefined
          ? {}
          : { REQUORUM_CACHE: process.env['REQUORUM_CACHE'] }),
        // Nothing answers there, and nothing is asked elsewhere: no test looks for a cloud.
        AWS_EC2_METADATA_DISABLED: 'true',
        ...environment,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let out = ''
    let error = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (error += text))
    return {
      ended: new Promise((resolve, reject) => {
        child.once('error', reject)
        child.once('close', (code) => resolve({ code, out, error }))
      }),
      interrupt: () => void child.kill('SIGINT'),
      out: () => out,
    }
  }

  run(
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
    cwd = this.dir,
  ): Promise<Ended> {
    return this.start(args, environment, cwd).ended
  }
}

export interface Running {
  readonly ended: Promise<Ended>
  interrupt(): void
  /** What it has printed so far. */
  out(): string
}

export function clusterYaml(name: string, more = ''): string {
  return `cluster: ${name}
nodes:
  - name: cp-01
    address: 127.0.0.1
store:
  bucket: no-such-bucket
  endpoint: http://127.0.0.1:9
  kmsKeyId: none
taskQueue: commands-test
${more}`
}
