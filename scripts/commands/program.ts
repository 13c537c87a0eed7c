import { Command, CommanderError } from 'commander'
import manifest from '../../package.json' with { type: 'json' }
import { RequorumError } from '../../domain/failures.ts'
import type { EngineConnection } from '../../workers/connection.ts'
import { requorumHome } from '../../workers/home.ts'
import { failureJson, failureText } from '../terminal/failure.ts'
import { registerAdopt } from './adopt.ts'
import { registerBackup } from './backup.ts'
import { registerCleanUp } from './clean-up.ts'
import { asRequorumError, type Act, type Call, type Outcome } from './command.ts'
import { registerConfig } from './config.ts'
import { registerDecisions } from './decide.ts'
import { registerDiagnose } from './diagnose.ts'
import { registerDrill } from './drill.ts'
import { EXITS, exitOf } from './exit-codes.ts'
import { registerRelieve } from './relieve.ts'
import { registerLab } from './lab.ts'
import { registerPlan } from './plan.ts'
import { registerRehearse } from './rehearse.ts'
import { registerReplace } from './replace.ts'
import { registerRetire } from './retire.ts'
import { registerRestore } from './restore.ts'
import { registerRollBack } from './roll-back.ts'
import { registerSchedule } from './schedule.ts'
import { registerSnapshots } from './snapshots.ts'
import { registerStatus } from './status.ts'
import { registerUp } from './up.ts'
import { registerValidate } from './validate.ts'

/** Runs one command line and ends the process with its exit code, when everything is written. */
export async function runCommandLine(argv: readonly string[]): Promise<void> {
  // Known before the command line is understood, because its errors have to be JSON too.
  const options = { json: argv.includes('--json'), debug: argv.includes('--debug') }
  let outcome: Outcome | undefined
  let usage = ''

  const act: Act = (command, work) => {
    command.action(async () => {
      outcome = await callOnce(command, options.json, work)
    })
  }
  const program = createProgram(act, (text) => {
    usage += text
  })
  let end: { code: number; out: string; error: string }
  try {
    await program.parseAsync(argv, { from: 'user' })
    end = outcome === undefined ? { code: 0, out: '', error: '' } : ending(outcome, options.json)
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) {
      end = { code: 0, out: usage, error: '' }
    } else if (thrown instanceof CommanderError && thrown.code === 'commander.help' && !options.json) {
      end = { code: EXITS['wrong-use'].code, out: '', error: usage }
    } else {
      const failure =
        thrown instanceof CommanderError ? wrongUse(thrown, argv, program) : await asRequorumError(thrown)
      end = {
        code: EXITS[exitOf(failure.code)].code,
        out: options.json ? `${JSON.stringify(failureJson(failure), null, 2)}\n` : '',
        error: options.json ? '' : `${failureText(failure, options.debug)}\n`,
      }
    }
  }
  await written(process.stderr, end.error)
  await written(process.stdout, end.out)
  process.exit(end.code)
}

const VERSION = manifest.version

function createProgram(act: Act, write: (text: string) => void): Command {
  const program = new Command('requorum')
    .description(
      "Brings a self-managed Kubernetes control plane's etcd back: backup, restore, and consent to both.",
    )
    .option('--json', 'print one JSON document on standard output, and nothing else')
    .option('--debug', 'print stack traces with errors')
    .exitOverride()
    .configureOutput({ writeOut: write, writeErr: write })
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .version(VERSION, '--version', 'print the version')
    .addHelpText('after', OVERVIEW)
  registerStatus(program, act)
  registerDiagnose(program, act)
  registerRestore(program, act)
  registerRehearse(program, act)
  registerReplace(program, act)
  registerAdopt(program, act)
  registerRelieve(program, act)
  registerRollBack(program, act)
  registerCleanUp(program, act)
  registerPlan(program, act)
  registerDecisions(program, act)
  registerSnapshots(program, act)
  registerValidate(program, act)
  registerDrill(program, act)
  registerBackup(program, act)
  registerSchedule(program, act)
  registerRetire(program, act)
  registerConfig(program, act)
  registerUp(program, act)
  registerLab(program, act)
  return program
}

const OVERVIEW = `
When the API server is down:
  $ requorum status                        what is there: last good snapshot, runs, who is waited for
  $ requorum diagnose prod                 what is the matter, and what to do about it; touches nothing
  $ requorum plan restore prod             what exactly a restore would do, node by node; touches nothing
  $ requorum restore prod                  starts it; it stops and waits for you before anything is destroyed
  $ requorum approve prod --plan 3fa9c1d2  the word it waits for

Clusters are files: $REQUORUM_HOME/clusters/<name>.yaml (else the running lab's, else ~/.requorum).
Exit codes: ${Object.entries(EXITS)
  .map(([name, { code }]) => `${code} ${name}`)
  .join(', ')}; see docs/exit-codes.md.`

async function callOnce(
  command: Command,
  json: boolean,
  work: (call: Call) => Promise<Outcome>,
): Promise<Outcome> {
  let engine: Promise<EngineConnection> | undefined
  let interruption: AbortController | undefined
  let home: string | undefined
  const call: Call = {
    args: command.args,
    json,
    get home() {
      return (home ??= requorumHome())
    },
    say: (line) => void (json ? process.stderr : process.stdout).write(`${line}\n`),
    flag: (name) => command.getOptionValue(name) === true,
    text(name) {
      const value: unknown = command.getOptionValue(name)
      return typeof value === 'string' ? value : undefined
    },
    texts(name) {
      const value: unknown = command.getOptionValue(name)
      return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : []
    },
    engine() {
      engine ??= import('../../workers/connection.ts').then(({ connectEngine }) => connectEngine(call.home))
      return engine
    },
    interruption() {
      if (interruption === undefined) {
        const controller = new AbortController()
        interruption = controller
        for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
          process.once(signal, () => controller.abort(signal))
        }
      }
      return interruption.signal
    },
  }
  try {
    return await work(call)
  } finally {
    // What can't be closed any more is closed by the end of the process.
    await engine?.then((connection) => connection.close()).catch(() => undefined)
  }
}

function ending(outcome: Outcome, json: boolean): { code: number; out: string; error: string } {
  const code = typeof outcome.exit === 'string' ? EXITS[outcome.exit].code : outcome.exit.code
  const out = json
    ? `${JSON.stringify(outcome.json, null, 2)}\n`
    : outcome.text === ''
      ? ''
      : `${outcome.text}\n`
  return { code, out, error: '' }
}

function wrongUse(error: CommanderError, argv: readonly string[], program: Command): RequorumError {
  const [what = '', suggestion] = error.message.replace(/^error: /, '').split('\n')
  const verb = verbOf(argv, program)
  return new RequorumError('input-invalid', {
    what:
      error.code === 'commander.help' ? `requorum ${verb} wants a verb.`.replace('  ', ' ') : sentence(what),
    ...(suggestion === undefined ? {} : { why: suggestion.replace(/^\((.*)\)$/, '$1') }),
    todo: `See \`${['requorum', verb, '--help'].filter((part) => part !== '').join(' ')}\`.`,
  })
}

function verbOf(argv: readonly string[], program: Command): string {
  const verbs: string[] = []
  let at: Command | undefined = program
  for (const word of argv.filter((one) => !one.startsWith('-'))) {
    at = at.commands.find((command) => command.name() === word)
    if (at === undefined) break
    verbs.push(word)
  }
  return verbs.join(' ')
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? '' : '.'}`
}

/** A reader that went away (`requorum snapshots lab | head -1`) is no error. */
function written(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((resolve) => {
    stream.once('error', () => resolve())
    if (text === '') resolve()
    else stream.write(text, () => resolve())
  })
}
