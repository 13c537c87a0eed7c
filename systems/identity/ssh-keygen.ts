import { spawn } from 'node:child_process'
import { reasonOf, RequorumError } from '../../domain/failures.ts'

/** What one call ended with; its words are OpenSSH's own. */
export interface Ended {
  readonly ok: boolean
  readonly out: string
  readonly words: string
}

const MAX_OUTPUT = 64 * 1_024

/**
 * Runs the machine's own ssh-keygen.
 *
 * @param options.limitMs - after it the process is killed.
 * @param options.tell - gets what it says to a person while it works: "confirm user presence" of a key with a button.
 * @throws RequorumError `tools-missing` without ssh-keygen, `command-timed-out`
 */
export async function sshKeygen(
  args: readonly string[],
  input: string,
  options: { limitMs: number; cwd?: string; tell?: (words: string) => void },
): Promise<Ended> {
  const child = spawn('ssh-keygen', args, {
    stdio: 'pipe',
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
  // Not spawn's own timeout: without the program its timer would keep this process for as long.
  const limit = setTimeout(() => child.kill('SIGKILL'), options.limitMs)
  let out = ''
  let words = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out = (out + text).slice(0, MAX_OUTPUT)))
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(0, MAX_OUTPUT)
    options.tell?.(text)
  })
  // It may end before it has read everything; its exit says what happened.
  child.stdin.on('error', () => undefined)
  child.stdin.end(input)
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error) => reject(missing(error)))
    child.once('close', resolve)
  }).finally(() => clearTimeout(limit))
  if (code === null) {
    throw new RequorumError('command-timed-out', {
      what: `ssh-keygen did not end within ${options.limitMs / 1_000} s.`,
      todo: 'Try again.',
    })
  }
  return { ok: code === 0, out, words: words.trim() }
}

/** Why ssh-keygen can't be run or can't verify, or null when it can. */
export async function sshKeygenFault(): Promise<string | null> {
  try {
    // Without a signature it complains; what it complains of says whether it knows the operation.
    const { words } = await sshKeygen(['-Y', 'find-principals'], '', { limitMs: 10_000 })
    return /unsupported|unknown|illegal|usage:/i.test(words.split('\n')[0] ?? '')
      ? 'ssh-keygen on this machine is older than OpenSSH 8.2 and can not verify signatures'
      : null
  } catch (error) {
    return error instanceof RequorumError ? error.text.what : reasonOf(error)
  }
}

function missing(error: Error): RequorumError {
  return new RequorumError(
    'tools-missing',
    {
      what: 'ssh-keygen can not be run on this machine.',
      why: reasonOf(error),
      todo: "Install OpenSSH's client programs (8.2 or newer) here: signed consent is made and verified with them.",
    },
    { cause: error },
  )
}
