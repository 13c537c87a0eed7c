import type { Command } from 'commander'
import { isFailureCode, reasonOf, RequorumError } from '../../domain/failures.ts'
import type { EngineConnection } from '../../workers/connection.ts'
import type { Exit } from './exit-codes.ts'

/** What a command has to show when it is over. */
export interface Outcome {
  readonly exit: Exit | { readonly code: number }
  /** For people; printed as it is, without a line of its own when empty. */
  readonly text: string
  /** For programs: the one document of `--json`. */
  readonly json: unknown
}

/** One call of one verb: what was typed, and the ways to the world. */
export interface Call {
  readonly args: readonly string[]
  readonly json: boolean
  readonly home: string
  /** One line of a story that goes on: standard output, or standard error with `--json`. */
  say(line: string): void
  flag(name: string): boolean
  text(name: string): string | undefined
  /** Of an option that may be given several times (`repeated`). */
  texts(name: string): readonly string[]
  /** The engine, connected once and closed when the command ends. @throws RequorumError `engine-unreachable` */
  engine(): Promise<EngineConnection>
  /** Aborted by the first Ctrl-C or SIGTERM, which then don't end the process; the second one does. */
  interruption(): AbortSignal
}

/** Registers what a verb does. Command line, output, exit code and errors are the caller's. */
export type Act = (command: Command, work: (call: Call) => Promise<Outcome>) => void

/** The cluster that was named; commander has seen to it that there is one. */
export function clusterOf(call: Call): string {
  const [cluster] = call.args
  if (cluster === undefined) throw missing('the cluster')
  return cluster
}

export function missing(what: string): RequorumError {
  return new RequorumError('input-invalid', {
    what: `${what} is missing.`,
    todo: 'Look at `requorum --help` and at the help of the verb.',
  })
}

/** How an option is read that may be given several times. */
export function repeated(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}

export function examples(command: Command, lines: readonly string[]): Command {
  const title = lines.length === 1 ? 'Example:' : 'Examples:'
  return command.addHelpText('after', `\n${title}\n${lines.map((line) => `  $ ${line}`).join('\n')}`)
}

/** Anything thrown as an error for a person. Only what comes from the engine needs the engine's client. */
export async function asRequorumError(error: unknown): Promise<RequorumError> {
  if (error instanceof RequorumError) return error
  const { fromEngine } = await import('./engine-failures.ts')
  return fromEngine(error) ?? unexpected(error)
}

function unexpected(error: unknown): RequorumError {
  const code =
    error instanceof Error && 'code' in error && isFailureCode(error.code) ? error.code : 'unexpected'
  return new RequorumError(
    code,
    {
      what: reasonOf(error),
      todo: 'If this tells you nothing, run the command again with --debug and report what it prints.',
    },
    { cause: error },
  )
}
