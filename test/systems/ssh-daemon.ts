import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import type { NodeAddress } from '../../systems/ssh/node-shell.ts'
import { freePort, portOf } from './free-port.ts'

export const execute = promisify(execFile)

const KEY_TYPES = ['ed25519', 'ecdsa', 'rsa'] as const
export type KeyType = (typeof KEY_TYPES)[number]

/** A real OpenSSH server on loopback, a child of the test, with keys of its own in a temporary directory. */
export interface Daemon {
  /** Also the home of the shell under test: holds `known_hosts`, `id` and `wrong_id`. */
  home: string
  port: number
  node: NodeAddress
  config: ClusterConfig['ssh']
  pid: number
  /** A host key as known_hosts holds it: type and base64. */
  hostKey(type: KeyType): Promise<string>
  pin(text: string): Promise<void>
  /** The processes that serve one connection each. */
  sessions(): Promise<number[]>
  [Symbol.asyncDispose](): Promise<void>
}

export const withoutSshd =
  userInfo().uid !== 0 ? 'needs root, to run sshd' : process.platform !== 'linux' ? 'needs Linux' : false

export async function startDaemon(settings: readonly string[] = []): Promise<Daemon> {
  const home = await mkdtemp(join(tmpdir(), 'requorum-sshd-'))
  await mkdir('/run/sshd', { recursive: true })
  for (const type of KEY_TYPES) await keygen(type, join(home, `host_${type}`))
  await keygen('ed25519', join(home, 'id'))
  await keygen('ed25519', join(home, 'wrong_id'))

  const port = await freePort()
  const lines = [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    ...KEY_TYPES.map((type) => `HostKey ${home}/host_${type}`),
    `AuthorizedKeysFile ${home}/id.pub`,
    `PidFile ${home}/pid`,
    'StrictModes no',
    'PermitRootLogin yes',
    'UsePAM no',
    'PasswordAuthentication no',
    'LogLevel ERROR',
    `SetEnv HOME=${home}`, // not the start-up files of whoever runs the tests
    ...settings,
  ]
  await writeFile(join(home, 'sshd_config'), `${lines.join('\n')}\n`)
  const child = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', join(home, 'sshd_config')], { stdio: 'ignore' })
  const pid = child.pid
  if (pid === undefined) throw new Error('/usr/sbin/sshd did not start; is openssh-server installed?')
  await untilOurs(child, home, pid)

  const hostKey = async (type: KeyType) =>
    (await readFile(join(home, `host_${type}.pub`), 'utf8')).split(' ').slice(0, 2).join(' ')
  const pin = (text: string) => writeFile(join(home, 'known_hosts'), text)
  await pin(`[127.0.0.1]:${port} ${await hostKey('ed25519')}\n`)

  return {
    home,
    port,
    pid,
    node: { name: 'cp-01', address: '127.0.0.1', port, user: userInfo().username },
    config: { knownHosts: 'known_hosts', identityFile: 'id', connectTimeout: 10_000 },
    hostKey,
    pin,
    sessions: () => childrenOf(pid),
    async [Symbol.asyncDispose]() {
      for (const session of await childrenOf(pid)) kill(session)
      child.kill()
      await rm(home, { recursive: true, force: true })
    },
  }
}

/** A TCP line to a port that can be cut, with a reset or by silence; it is itself on 127.0.0.1. */
export async function startLine(to: number, address = '127.0.0.1') {
  const sockets = new Set<Socket>()
  let silent = false
  const server: Server = createServer((near) => {
    if (silent) return
    const far = connect(to, address)
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
    near.pipe(far).pipe(near)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const reset = () => {
    for (const socket of sockets) socket.resetAndDestroy()
  }
  return {
    port: portOf(server),
    reset,
    /** New connections are accepted and never answered. */
    silence() {
      silent = true
    },
    get open() {
      return sockets.size / 2
    },
    [Symbol.dispose]() {
      reset()
      server.close()
    },
  }
}

/** Whether a `sleep` with just this argument runs on this machine. */
export function running(argument: string): Promise<boolean> {
  return execute('pgrep', ['-fx', `sleep ${argument}`]).then(
    () => true,
    () => false,
  )
}

export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It is gone already.
  }
}

export async function until(what: string, met: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  const end = Date.now() + ms
  while (!(await met())) {
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain: ${what}`)
    await sleep(20)
  }
}

async function keygen(type: KeyType, file: string): Promise<void> {
  await execute('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', 'test', '-f', file])
}

// sshd writes its pid file once it listens: an open port alone could be a stranger's.
async function untilOurs(child: ChildProcess, home: string, pid: number): Promise<void> {
  await until('sshd to listen', async () => {
    if (child.exitCode !== null) throw new Error(`sshd ended with ${child.exitCode}`)
    const written = await readFile(join(home, 'pid'), 'utf8').catch(() => '')
    return written.trim() === String(pid)
  })
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  return text.split(' ').filter(Boolean).map(Number)
}
