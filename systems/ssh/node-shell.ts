import { PassThrough, type Readable } from 'node:stream'
import type { ClusterConfig, NodeConfig } from '../../domain/cluster-config.ts'
import type { RequorumError } from '../../domain/failures.ts'
import { BoundedOutput } from './bounded-output.ts'
import { abandon } from './connection.ts'
import {
  asError,
  cancelled,
  connectionLost,
  NeverStarted,
  outputTooLarge,
  sudoRefusal,
  timedOut,
  type Target,
} from './errors.ts'
import { exitOf, onData, type Running } from './exchange.ts'
import { feed } from './feed.ts'
import { Leash } from './leash.ts'
import { ConnectionPool } from './pool.ts'
import { commandLine, wholeOrNothing } from './quoting.ts'

export type NodeAddress = Pick<NodeConfig, 'name' | 'address' | 'port' | 'user'>

export interface CommandResult {
  /** The exit code; 128 + n when signal n ended the command. */
  code: number
  stdout: string
  stderr: string
}

export interface CommandOptions {
  stdin?: string | Buffer
  /**
   * `run` and `script`: the longest that the command may take, 30 s by default. It is ended on the node too,
   * at most 10 s later. `read` and `write`: the longest silence of the other side, 120 s by default.
   */
  timeoutMs?: number
  /** Most bytes that are kept of stdout and of stderr each, 1 MiB by default. Of stderr the end is kept. */
  maxOutputBytes?: number
  /** Closes the channel; the command gets no other sign of it. */
  signal?: AbortSignal
}

/**
 * Commands on nodes, as root: through `sudo -n` when the user isn't root. Arguments are quoted, never pasted.
 *
 * All of them reject with a RequorumError: host-key-refused, ssh-login-refused, node-unreachable when no
 * connection came about; connection-lost when it went away (it is then unknown whether the command was done);
 * command-timed-out, cancelled, sudo-refused, output-too-large, and input-invalid for an argument that can't
 * be passed. A command that fails is not an error here: look at its code.
 */
export interface NodeShell {
  /** Runs argv and resolves whatever its exit code. */
  run(node: NodeAddress, argv: readonly string[], options?: CommandOptions): Promise<CommandResult>
  /**
   * Runs a POSIX shell script, `sh -s -- args`. Nothing of it runs before all of it has arrived; its commands
   * find nothing on standard input.
   */
  script(
    node: NodeAddress,
    script: string,
    args: readonly string[],
    options?: Omit<CommandOptions, 'stdin'>,
  ): Promise<CommandResult>
  /**
   * Streams argv's stdout at constant memory. `stdout` ends only when the command came to its end by itself,
   * and is destroyed with the error otherwise; the exit code is in `done`, which settles when all has been read.
   */
  read(
    node: NodeAddress,
    argv: readonly string[],
    options?: CommandOptions,
  ): Promise<{ stdout: Readable; done: Promise<{ code: number; stderr: string }> }>
  /**
   * Streams `source` into argv's stdin at constant memory. A command that ends before it has read everything
   * is resolved like any other. When `source` fails, rejects with its error; the command then sees an ordinary
   * end of input, so compare size or hash before what it wrote is used.
   */
  write(
    node: NodeAddress,
    argv: readonly string[],
    source: Readable,
    options?: Omit<CommandOptions, 'stdin'>,
  ): Promise<CommandResult>
  /** Ends all connections; commands that still run reject with connection-lost. */
  close(): Promise<void>
}

export interface NodeShellOptions {
  /** Requorum's home, which the paths of `config` are relative to. */
  home: string
  config: ClusterConfig['ssh']
  /** The agent's socket (SSH_AUTH_SOCK), asked when the config names no identity file. */
  agentSocket?: string
  /** How long a connection without a command is kept, in milliseconds; 60 s by default. */
  idleMs?: number
}

const COMMAND_TIMEOUT_MS = 30_000
const SILENCE_MS = 120_000
const MOST_OUTPUT = 1024 * 1024

export function createNodeShell({ home, config, agentSocket, idleMs = 60_000 }: NodeShellOptions): NodeShell {
  const pool = new ConnectionPool({ home, config, idleMs, ...(agentSocket ? { agentSocket } : {}) })

  /** Begins a command under its leash, on a new connection when the pooled one turns out to be dead. */
  async function begin(node: NodeAddress, command: string, what: string, leash: Leash, arm: () => void) {
    for (let again = false; ; again = true) {
      const connection = await leash.hold(pool.connection(node))
      arm()
      try {
        const running: Running = { channel: await connection.exec(command, leash.signal), connection, what }
        return running
      } catch (error) {
        if (!(error instanceof NeverStarted)) throw error
        if (again) throw connectionLost(node, `the start of ${what}`, error.message)
      }
    }
  }

  async function run(
    node: NodeAddress,
    argv: readonly string[],
    { stdin, timeoutMs = COMMAND_TIMEOUT_MS, maxOutputBytes = MOST_OUTPUT, signal }: CommandOptions = {},
  ): Promise<CommandResult> {
    const what = nameOf(argv)
    const command = commandLine(node.user, argv, timeoutMs + 5_000)
    const leash = new Leash(signal, (reason) => cancelled(node, what, reason))
    const limit = () => timedOut(node, what, `took more than ${timeoutMs / 1000} s`)
    try {
      const running = await begin(node, command, what, leash, () => leash.arm(timeoutMs, limit))
      const { channel } = running
      const stdout = new BoundedOutput(maxOutputBytes)
      const stderr = new BoundedOutput(maxOutputBytes)
      const overflow = Promise.withResolvers<never>()
      onData(channel, (chunk) => {
        stdout.add(chunk)
        if (stdout.overflowed) overflow.reject(outputTooLarge(node, what, maxOutputBytes))
      })
      onData(channel.stderr, (chunk) => stderr.add(chunk))
      const exit = exitOf(running)
      channel.end(stdin)
      try {
        const code = await leash.hold(Promise.race([exit, overflow.promise]))
        return believed(node, { code, stdout: stdout.text(), stderr: stderr.text() })
      } catch (error) {
        exit.catch(() => {}) // the error at hand says more
        abandon(channel)
        throw error
      }
    } finally {
      leash.release()
    }
  }

  return {
    run,

    script(node, script, args, options = {}) {
      return run(node, ['sh', '-s', '--', ...args], { ...options, stdin: wholeOrNothing(script) })
    },

    async read(node, argv, { stdin, timeoutMs = SILENCE_MS, maxOutputBytes = MOST_OUTPUT, signal } = {}) {
      const what = nameOf(argv)
      const leash = new Leash(signal, (reason) => cancelled(node, what, reason))
      const stdout = new PassThrough()
      const limit = () => timedOut(node, what, `gave nothing for ${timeoutMs / 1000} s`)
      const arm = () => leash.arm(timeoutMs, limit, () => stdout.writableNeedDrain)
      let running: Running
      try {
        running = await begin(node, commandLine(node.user, argv), what, leash, arm)
      } catch (error) {
        leash.release()
        throw error
      }

      const { channel } = running
      const stderr = new BoundedOutput(maxOutputBytes)
      onData(channel, (chunk) => {
        leash.touch()
        // Of one that is left nothing may be held up: its channel would never close, nor give its place back.
        if (!stdout.destroyed && !stdout.write(chunk)) channel.pause()
      })
      stdout.on('drain', () => channel.resume())
      onData(channel.stderr, (chunk) => {
        leash.touch()
        stderr.add(chunk)
      })
      const left = Promise.withResolvers<never>()
      stdout.once('close', () => left.reject(cancelled(node, what, 'its output was not read to the end')))
      const exit = exitOf(running)
      channel.end(stdin)

      const settle = async () => {
        try {
          const code = await leash.hold(Promise.race([exit, left.promise]))
          const result = believed(node, { code, stderr: stderr.text() })
          stdout.end()
          return result
        } catch (error) {
          exit.catch(() => {})
          abandon(channel)
          stdout.destroy(asError(error))
          throw error
        } finally {
          leash.release()
        }
      }
      left.promise.catch(() => {})
      const done = settle()
      done.catch(() => {}) // a reader who only watches `stdout` gets the same error there
      return { stdout, done }
    },

    async write(node, argv, source, { timeoutMs = SILENCE_MS, maxOutputBytes = MOST_OUTPUT, signal } = {}) {
      const what = nameOf(argv)
      const leash = new Leash(signal, (reason) => cancelled(node, what, reason))
      const limit = () => timedOut(node, what, `took nothing and said nothing for ${timeoutMs / 1000} s`)
      let waitingForSource = true
      const arm = () => leash.arm(timeoutMs, limit, () => waitingForSource)
      try {
        const running = await begin(node, commandLine(node.user, argv), what, leash, arm)
        const { channel } = running
        const stdout = new BoundedOutput(maxOutputBytes)
        const stderr = new BoundedOutput(maxOutputBytes)
        onData(channel, (chunk) => stdout.add(chunk))
        onData(channel.stderr, (chunk) => stderr.add(chunk))
        const exit = exitOf(running)
        const feeding = feed(source, channel, leash, (waiting) => (waitingForSource = waiting))
        try {
          // A source that fails ends the wait; one that is through leaves it to the command.
          const code = await leash.hold(Promise.race([exit, feeding.then(() => exit)]))
          if (stdout.overflowed) throw outputTooLarge(node, what, maxOutputBytes)
          return believed(node, { code, stdout: stdout.text(), stderr: stderr.text() })
        } catch (error) {
          exit.catch(() => {})
          abandon(channel)
          throw error
        } finally {
          feeding.catch(() => {})
          source.destroy()
        }
      } catch (error) {
        source.destroy()
        throw error
      } finally {
        leash.release()
      }
    },

    close: () => pool.close(),
  }
}

/** A result whose failure is the command's own, and not sudo's. */
function believed<T extends { code: number; stderr: string }>(node: Target, result: T): T {
  const refusal: RequorumError | undefined = sudoRefusal(node, result.code, result.stderr)
  if (refusal) throw refusal
  return result
}

/** What errors call a command: never all of its arguments, which may be long. */
function nameOf(argv: readonly string[]): string {
  const name = argv.slice(0, 2).join(' ')
  return `\`${name.length > 60 ? `${name.slice(0, 60)}…` : name}\``
}
