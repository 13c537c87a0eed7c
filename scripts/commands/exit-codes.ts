import type { FailureCode } from '../../domain/failures.ts'

/** How a command ends, for the shell that called it. docs/exit-codes.md is made from this table. */
export const EXITS = {
  done: { code: 0, means: 'Done: what was asked for is true now.' },
  failed: { code: 1, means: 'It failed. Standard error says what happened, why, and what to do.' },
  'wrong-use': {
    code: 2,
    means:
      'Wrong use: an unknown verb, option or cluster, or a mistake in a config file. Nothing was started.',
  },
  declined: {
    code: 3,
    means:
      'A person decided, or did not in time: the run was refused or timed out, or the restored cluster is "unaccepted". For `approve` and `refuse`: the decision was not counted.',
  },
  waiting: {
    code: 4,
    means: 'Not over: the run waits for a person, or still runs where the command stopped looking.',
  },
  unreachable: {
    code: 5,
    means:
      'The engine, the store or a node could not be reached. Nothing is known about the rest; try again.',
  },
  ill: {
    code: 6,
    means: 'Not healthy: `diagnose --exit-code` or `snapshots check` was asked, and something is the matter.',
  },
} as const satisfies Record<string, { code: number; means: string }>

export type Exit = keyof typeof EXITS

/** Failures that end with something else than 1. */
const FAILURE_EXITS: Partial<Record<FailureCode, Exit>> = {
  'config-invalid': 'wrong-use',
  'cluster-unknown': 'wrong-use',
  'input-invalid': 'wrong-use',
  'wrong-workflow-id': 'wrong-use',
  'recovery-running': 'waiting',
  'backup-running': 'waiting',
  'rehearsal-running': 'waiting',
  'engine-unreachable': 'unreachable',
  'store-unreachable': 'unreachable',
  'node-unreachable': 'unreachable',
  'nodes-missing': 'unreachable',
  'connection-lost': 'unreachable',
}

export function exitOf(failure: FailureCode): Exit {
  return FAILURE_EXITS[failure] ?? 'failed'
}

/** docs/exit-codes.md, whole. */
export function exitCodesDocument(): string {
  const failures = Object.entries(FAILURE_EXITS)
  return [
    '# Exit codes',
    '',
    'What `requorum` answers to the shell. Made from `scripts/commands/exit-codes.ts`; a test keeps both the same.',
    '',
    ...Object.entries(EXITS).map(([exit, { code, means }]) => {
      const ours = failures.filter(([, of]) => of === exit).map(([failure]) => `\`${failure}\``)
      const rest = exit === 'failed' ? 'all that are not named elsewhere' : ours.join(', ')
      return `- **${code}** ${means}${rest === '' ? '' : ` Failures: ${rest}.`}`
    }),
    '',
    'The failures are what `error.code` says with `--json`.',
    '',
    'With `--json` there is exactly one JSON document on standard output, for an error `{"error":{"code","what","why","todo"}}`; the exit codes are the same.',
    '',
    '- `status` ends with 0 also when a run waits for a person: it was asked to look. Read `clusters[].recovery.waiting`. It ends with 5 when the engine or a store did not answer, and still prints what it knows.',
    '- `snapshots check` ends with 0 when the newest proved snapshot is young enough, with 6 when it is too old or there is none, or a rehearsal is missing, too old or failed, with 5 when the store could not be reached (`store-unreachable`); another failure of the store ends with 1.',
    '- `diagnose` ends with 0 whatever it found: it was asked to look. Read `kind`. With `--exit-code` it ends with 6 unless the cluster is healthy. A node that can not be reached is a finding and not a failure.',
    '- `restore` ends with 4 at its first checkpoint; with `--watch` it goes on to the end of the run. Ctrl-C ends the watching with 4, never the run.',
    '- `relieve` ends with 4 at its checkpoint and, with `--watch`, with 1 when all was done and a write is still refused ("still-full") or a check failed ("unhealthy"). Read `verdict.outcome`.',
    '- `cleanup` ends with 0 also when nothing may be removed ("nothing"), and says why of each thing. `roll-back` ends with 3 when not all is what it was ("unfinished").',
    '- `adopt` ends as the recovery that it adopted does, and with 0 when that was undone, or there was nothing but locks to let go of. Read `verdict.outcome`.',
    '- `drill` ends with 4 where it first waits for a person, in the recovery that it started too; with `--watch`, with 0 when the cluster was recovered within its targets, with 1 when a target was missed or a person has to look, with 3 when nobody consented and all is as before. Read `verdict.outcome`.',
    '- `approve` and `refuse` end with 0 when the decision counted, its proof included; with 3 when it did not, or was not sent, and say why; with 4 when it was sent and no worker has said what came of it: it is kept; with 5 when the plan could not be read, and then nothing was sent.',
    '- `backup now` ends with 0 when the run was started or already ran; with `--wait`, when its snapshot was proved, and with 1 when it was put into quarantine.',
    '- `validate` ends with 0 when no check failed, warnings included, and with 1 when one did or could not be made. Read `verdict.outcome`.',
    '- `lab shell` ends with the code of the shell or command.',
    '',
  ].join('\n')
}
