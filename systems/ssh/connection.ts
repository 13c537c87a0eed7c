import { NodeSSH } from 'node-ssh'
import type { Channel, Client, ClientChannel } from 'ssh2'
import { reasonOf } from '../../domain/failures.ts'
import {
  asError,
  connectFailure,
  connectionLost,
  hostKeyRefusal,
  NeverStarted,
  type Target,
} from './errors.ts'
import type { KnownHosts } from './known-hosts.ts'
import { Slots } from './slots.ts'

export interface Login {
  knownHosts: KnownHosts
  knownHostsPath: string
  /** The identity file or the agent's socket, to be named in errors. */
  identity: string
  privateKey?: string
  agentSocket?: string
  connectTimeoutMs: number
  idleMs: number
}

/** sshd refuses more than MaxSessions, 10 unless it was changed (sshd_config(5)); some room for stragglers. */
const SESSIONS = 8
/** A server that is alive answers the opening of a channel at once; this is for one that isn't. */
const OPEN_TIMEOUT_MS = 15_000
// Six unanswered pings: 2 MiB of a stream may sit before a ping in the socket, and a slow line needs its time.
const KEEPALIVE = { keepaliveInterval: 5_000, keepaliveCountMax: 6 }

/** One SSH connection. It ends by itself when it was idle for `idleMs`; `alive` is false from then on. */
export class Connection {
  readonly target: Target
  readonly #client: Client
  readonly #idleMs: number
  readonly #slots = new Slots(SESSIONS)
  readonly #closed: Promise<void>
  #forwards = 0
  #alive = true
  #lastError: string | undefined
  #idle: NodeJS.Timeout | undefined

  private constructor(target: Target, client: Client, idleMs: number) {
    this.target = target
    this.#client = client
    this.#idleMs = idleMs
    // For as long as the connection exists: an error that nobody listens for would end the worker, and
    // node-ssh stops listening once it is connected (steelbrain/node-ssh#421).
    client.on('error', (error: Error) => {
      this.#lastError ??= error.message
      this.#alive = false
    })
    client.on('end', () => (this.#alive = false))
    this.#closed = new Promise((resolve) => {
      client.on('close', () => {
        this.#alive = false
        clearTimeout(this.#idle)
        resolve()
      })
    })
  }

  static async open(target: Target, login: Login, through?: Channel): Promise<Connection> {
    let refusal: Error | undefined
    const ssh = new NodeSSH()
    const connecting = ssh.connect({
      ...KEEPALIVE,
      host: target.address,
      port: target.port,
      username: target.user,
      readyTimeout: login.connectTimeoutMs,
      algorithms: { serverHostKey: login.knownHosts.algorithms(target.address, target.port) },
      hostVerifier: (key: Buffer) => {
        refusal = hostKeyRefusal(target, key, login.knownHosts, login.knownHostsPath)
        return refusal === undefined
      },
      ...(login.privateKey === undefined ? {} : { privateKey: login.privateKey }),
      ...(login.agentSocket === undefined ? {} : { agent: login.agentSocket }),
      ...(through ? { sock: through } : {}),
    })
    // Set by `connect` before it first waits; listening from here on leaves no gap without a listener.
    const connection = ssh.connection ? new Connection(target, ssh.connection, login.idleMs) : undefined
    try {
      await connecting
      if (!connection) throw new Error('node-ssh made no connection')
    } catch (error) {
      connection?.close()
      throw connectFailure(target, login, refusal ?? error)
    }
    connection.#client.setNoDelay(true)
    connection.#restIfIdle()
    return connection
  }

  get alive(): boolean {
    return this.#alive
  }

  /** Resolves when the connection is gone, for whatever reason. */
  get closed(): Promise<void> {
    return this.#closed
  }

  /** Why the connection was lost, as far as anybody said so. */
  get lastError(): string | undefined {
    return this.#lastError
  }

  /**
   * Starts a command. Waits its turn when the connection has all the sessions it may have.
   * @throws NeverStarted when the connection was gone before the command could begin.
   */
  async exec(command: string, signal: AbortSignal): Promise<ClientChannel> {
    for (;;) {
      const release = await this.#slots.take(signal)
      this.#stayBusy()
      const give = () => {
        release()
        this.#restIfIdle()
      }
      try {
        const channel = await this.#open(command, signal)
        channel.on('error', () => {}) // what it says comes as `close` too, without an exit code
        channel.once('close', give)
        return channel
      } catch (error) {
        const others = this.#slots.taken - 1
        give()
        if (!isRefusedChannel(error) || others < 1 || signal.aborted) throw error
        // This sshd allows fewer sessions (MaxSessions) than we thought: wait for one of ours to end.
        this.#slots.lower(others)
      }
    }
  }

  /** A stream to another host, opened by this one. */
  forward(address: string, port: number): Promise<Channel> {
    this.#forwards += 1
    this.#stayBusy()
    const done = () => {
      this.#forwards -= 1
      this.#restIfIdle()
    }
    return new Promise((resolve, reject) => {
      const failed = (error: unknown) => {
        done()
        reject(asError(error))
      }
      try {
        this.#client.forwardOut('127.0.0.1', 0, address, port, (error, channel) => {
          if (error) {
            failed(error)
            return
          }
          channel.once('close', done)
          resolve(channel)
        })
      } catch (error) {
        failed(error)
      }
    })
  }

  close(): void {
    this.#alive = false
    this.#client.end()
    // `end` is a request to the other side, which may be gone: don't wait for its answer.
    setTimeout(() => this.#client.destroy(), 1_000).unref()
  }

  #open(command: string, signal: AbortSignal): Promise<ClientChannel> {
    return new Promise((resolve, reject) => {
      let waiting = true
      const leave = (reason: unknown) => {
        waiting = false
        clearTimeout(timer)
        signal.removeEventListener('abort', aborted)
        reject(asError(reason))
      }
      const aborted = () => leave(signal.reason)
      const timer = setTimeout(() => {
        this.#lastError ??= `the host did not open a channel within ${OPEN_TIMEOUT_MS / 1000} s`
        this.#alive = false
        this.#client.destroy()
        leave(connectionLost(this.target, 'the start of a command', this.#lastError))
      }, OPEN_TIMEOUT_MS)
      signal.addEventListener('abort', aborted, { once: true })

      const opened = (error: Error | undefined, channel: ClientChannel) => {
        if (!waiting) {
          // Nobody waits for it any more.
          if (!error) abandon(channel)
          return
        }
        if (error) {
          leave(this.#openFailure(error))
          return
        }
        waiting = false
        clearTimeout(timer)
        signal.removeEventListener('abort', aborted)
        resolve(channel)
      }
      try {
        this.#client.exec(command, opened)
      } catch (error) {
        leave(new NeverStarted(reasonOf(error))) // 'Not connected'
      }
    })
  }

  #openFailure(error: Error): Error {
    if (isRefusedChannel(error)) return error
    // ssh2's words when the connection ended while the channel was being opened; the command itself is sent
    // after that. Any other failure comes later, when it may have begun.
    if (error.message === 'No response from server') return new NeverStarted(this.#lastError ?? error.message)
    return connectionLost(this.target, 'the start of a command', this.#lastError ?? error.message)
  }

  #stayBusy(): void {
    clearTimeout(this.#idle)
  }

  #restIfIdle(): void {
    if (this.#slots.taken > 0 || this.#forwards > 0 || !this.#alive) return
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => this.close(), this.#idleMs).unref()
  }
}

/** Lets go of a channel: what still comes is thrown away, so that its closing isn't held up. */
export function abandon(channel: ClientChannel): void {
  channel.resume()
  channel.stderr.resume()
  channel.close()
}

/** sshd answered the opening with a refusal (RFC 4254, 5.1): ssh2 gives its reason. */
function isRefusedChannel(error: unknown): boolean {
  return error instanceof Error && 'reason' in error
}
