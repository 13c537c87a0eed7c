import { RequorumError } from '../../domain/failures.ts'

// Linux refuses a single argument of 128 KiB or more (MAX_ARG_STRLEN), and sshd hands the whole command to the
// login shell as one argument of `-c`.
const LONGEST_COMMAND = 127 * 1024

/** One argument as a POSIX shell reads it back, whatever is in it. */
export function shellQuote(argument: string): string {
  if (argument.includes('\0') || !argument.isWellFormed()) {
    throw new RequorumError('input-invalid', {
      what: 'An argument for a node holds a NUL byte or half a character, which no command can be given.',
      todo: 'Correct the value; it is in the config file or in the input of this run.',
    })
  }
  // No `=` among the plain ones: as the first word it would be an assignment.
  if (/^[A-Za-z0-9_./:@%+,-]+$/.test(argument)) return argument
  return `'${argument.replaceAll("'", `'\\''`)}'`
}

/**
 * The command line that runs argv as root on a node. A user who isn't root goes through `sudo -n`, which fails
 * at once where it would have to ask; its messages are in English, so that a refusal can be told apart.
 *
 * With `endsAfterMs`, coreutils' `timeout` ends the command on the node itself: sshd leaves a process running
 * when its channel or connection goes away, and nobody could say then whether it is still at work.
 */
export function commandLine(user: string, argv: readonly string[], endsAfterMs?: number): string {
  if (argv.length === 0) {
    throw new RequorumError('unexpected', {
      what: 'A command without a program was about to be run on a node.',
      todo: 'Report this: it is a bug in Requorum.',
    })
  }
  const bounded =
    endsAfterMs === undefined ? argv : ['timeout', '-k', '5', String(Math.ceil(endsAfterMs / 1000)), ...argv]
  const asRoot = user === 'root' ? bounded : ['env', 'LC_ALL=C', 'sudo', '-n', '--', ...bounded]
  const line = asRoot.map(shellQuote).join(' ')
  if (Buffer.byteLength(line) > LONGEST_COMMAND) {
    throw new RequorumError('input-invalid', {
      what: `A command of ${Buffer.byteLength(line)} bytes is too long for a node (${argv[0]} …).`,
      todo: 'Give the data on standard input instead.',
    })
  }
  return line
}

/**
 * A script that does nothing until all of it has arrived: a shell reads a group to its end before it runs any
 * of it, so that a connection lost in the middle never runs half a script. Its commands read from /dev/null
 * and can't swallow the rest of the script.
 */
export function wholeOrNothing(script: string): string {
  return `{\n:\n${script}\n} </dev/null\n`
}
