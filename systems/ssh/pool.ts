import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { RequorumError, reasonOf } from '../../domain/failures.ts'
import { Connection, type Login } from './connection.ts'
import { connectFailure, connectionLost, type Target } from './errors.ts'
import { parseKnownHosts } from './known-hosts.ts'

export interface PoolOptions {
  /** Requorum's home; the paths of `config` are relative to it. */
  home: string
  config: ClusterConfig['ssh']
  /** The agent's socket, asked when the config names no identity file. */
  agentSocket?: string
  /** How long a connection without a command is kept, in milliseconds. */
  idleMs: number
}

/** One connection per node, made when it is first asked for and again after a loss. */
export class ConnectionPool {
  readonly #options: PoolOptions
  readonly #connections = new Map<string, Promise<Connection>>()
  #ended = false

  constructor(options: PoolOptions) {
    this.#options = options
  }

  /** The live connection to a host; callers at the same time share one set-up. */
  async connection(target: Target): Promise<Connection> {
    return this.#get(target, this.#options.config.jump)
  }

  async close(): Promise<void> {
    this.#ended = true
    const opened = await Promise.allSettled(this.#connections.values())
    const open = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    for (const connection of open) connection.close()
    await Promise.all(open.map((connection) => connection.closed))
  }

  async #get(target: Target, jump: string | undefined): Promise<Connection> {
    if (this.#ended) throw connectionLost(target, 'a command', 'the connections of this worker were closed')
    const key = `${target.user}@${target.address}:${target.port} via ${jump ?? 'none'}`
    const known = this.#connections.get(key)
    if (known) {
      const connection = await known
      if (connection.alive) return connection
      // Another caller may have replaced it while we waited.
      if (this.#connections.get(key) !== known) return this.#get(target, jump)
    }
    const opening = this.#open(target, jump)
    this.#connections.set(key, opening)
    const forget = () => {
      if (this.#connections.get(key) === opening) this.#connections.delete(key)
    }
    opening.then((connection) => connection.closed.then(forget), forget)
    return opening
  }

  async #open(target: Target, jump: string | undefined): Promise<Connection> {
    const login = await this.#login(target)
    if (jump === undefined) return Connection.open(target, login)

    const host = jumpTarget(jump)
    const between = await this.#get(host, undefined)
    const through = await between.forward(target.address, target.port).catch((error: unknown) => {
      throw connectFailure(target, login, new Error(`through ${host.name}: ${reasonOf(error)}`))
    })
    return Connection.open(target, login, through)
  }

  // Read anew for each connection: a person who was told to mend known_hosts expects the next try to see it.
  async #login(target: Target): Promise<Login> {
    const { home, config, agentSocket, idleMs } = this.#options
    const knownHostsPath = resolve(home, config.knownHosts)
    const knownHosts = await readFile(knownHostsPath, 'utf8').catch((error: unknown) => {
      throw new RequorumError('host-key-refused', {
        what: `The host keys that are trusted can't be read: ${knownHostsPath}.`,
        why: reasonOf(error),
        todo: `ssh-keyscan -p ${target.port} ${target.address} >> ${knownHostsPath}, and compare the fingerprints.`,
      })
    })
    const common = {
      knownHosts: parseKnownHosts(knownHosts),
      knownHostsPath,
      connectTimeoutMs: config.connectTimeout,
      idleMs,
    }

    if (config.identityFile !== undefined) {
      const identity = resolve(home, config.identityFile)
      const privateKey = await readFile(identity, 'utf8').catch((error: unknown) => {
        throw new RequorumError('ssh-login-refused', {
          what: `The SSH key for ${target.name} can't be read: ${identity}.`,
          why: reasonOf(error),
          todo: 'Correct ssh.identityFile in the cluster config, or the permissions of the file.',
        })
      })
      return { ...common, identity, privateKey }
    }
    if (agentSocket) return { ...common, identity: `the agent at ${agentSocket}`, agentSocket }
    throw new RequorumError('ssh-login-refused', {
      what: `There is no SSH key for ${target.name}.`,
      why: 'The cluster config names no ssh.identityFile, and no agent is running (SSH_AUTH_SOCK).',
      todo: 'Set ssh.identityFile, or start the worker with SSH_AUTH_SOCK.',
    })
  }
}

function jumpTarget(jump: string): Target {
  const [user = '', host = ''] = jump.split('@')
  const [address = '', port = '22'] = host.split(':')
  return { name: `jump host ${address}`, address, port: Number(port), user }
}
