import { spawn } from 'node:child_process'

/** What a command that ended left behind. */
export interface CommandOutcome {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  /** Written to standard input, which is closed after it; without it standard input is empty. */
  readonly input?: string | Uint8Array
  readonly cwd?: string
  /** Replaces the environment as a whole; without it the caller's is inherited. */
  readonly env?: Readonly<Record<string, string>>
  /** Exit codes that count as success, [0] by default. */
  readonly accept?: readonly number[]
  /** SIGKILL after so many milliseconds; two minutes by default. */
  readonly timeoutMs?: number
  /** Each line of both output streams as it arrives, for progress. */
  readonly onLine?: (line: string) => void
}

/** A command of the machine that did not do what the lab needs; the message says which and why. */
export class CommandFailed extends Error {
  readonly outcome: CommandOutcome

  constructor(command: string, outcome: CommandOutcome, why: string) {
    const said = lastLines(outcome.stderr) || lastLines(outcome.stdout)
    super(`${command}: ${why}.${said === '' ? '' : `\n${said}`}`)
    this.name = 'CommandFailed'
    this.outcome = outcome
  }
}

/**
 * Runs a command without a shell and waits for its end.
 * @throws CommandFailed when it can't be started, ends with a code that was not accepted, or is
 *   killed by the time limit.
 */
export async function run(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandOutcome> {
  const title = [command, ...args].join(' ').slice(0, 200)
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: options.env,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const stdout = collect(child.stdout, options.onLine)
  const stderr = collect(child.stderr, options.onLine)
  // A command that ends before it read everything is judged by its exit code, not by EPIPE.
  child.stdin.on('error', () => undefined)
  child.stdin.end(options.input)
  const limitMs = options.timeoutMs ?? 120_000
  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    child.kill('SIGKILL')
  }, limitMs)
  try {
    const exitCode = await new Promise<number>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => {
        resolve(code ?? (signal === null ? 255 : 128))
      })
    })
    const outcome = { exitCode, stdout: stdout(), stderr: stderr() }
    if (timedOut) throw new CommandFailed(title, outcome, `not done after ${limitMs / 1000} s, killed`)
    if (!(options.accept ?? [0]).includes(exitCode)) {
      throw new CommandFailed(title, outcome, `ended with ${exitCode}`)
    }
    return outcome
  } catch (error) {
    if (error instanceof CommandFailed) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new CommandFailed(title, { exitCode: 127, stdout: '', stderr: '' }, `could not start (${reason})`)
  } finally {
    clearTimeout(timer)
  }
}

/** Whether PATH, or the places where root's tools are, has this command. */
export async function hasCommand(command: string): Promise<boolean> {
  const found = await run('sh', ['-c', 'PATH=$PATH:/usr/sbin:/sbin command -v "$1"', 'sh', command], {
    accept: [0, 1, 127],
  })
  return found.exitCode === 0
}

/** The system's code of an error, such as `ENOENT`; undefined for errors without one. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

function collect(stream: NodeJS.ReadableStream, onLine?: (line: string) => void): () => string {
  const parts: string[] = []
  let rest = ''
  stream.setEncoding('utf8')
  stream.on('data', (chunk: string) => {
    parts.push(chunk)
    if (onLine === undefined) return
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) onLine(line)
  })
  return () => parts.join('')
}

function lastLines(text: string): string {
  return text.trimEnd().split('\n').slice(-8).join('\n').trim()
}
