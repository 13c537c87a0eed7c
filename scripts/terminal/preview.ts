import type { PlanStep } from '../../domain/plan-step.ts'
import { handCommands } from '../../domain/node-actions.ts'
import { humanBytes } from '../../domain/progress.ts'
import { fenceOf, planSteps, undoSteps } from '../../domain/restore-plan.ts'
import type { RestorePreview } from '../../domain/restore-preview.ts'
import { facts, indented } from './table.ts'
import { warningLines } from './verdict.ts'

/** A plan for reading and for printing: what it restores, then every command of every step on every node. */
export function previewText({ plan, shows, skipped, warnings }: RestorePreview): string {
  return [
    `What a restore of ${plan.cluster} would do now. Nothing was touched, and nothing waits for approval:`,
    'a restore makes its own plan, with its own token, paths and digest, and asks for consent to that one.',
    '',
    ...facts(
      [
        ['snapshot', `${plan.snapshot.key} (version ${plan.snapshot.versionId})`],
        ['', `revision ${plan.snapshot.revision}, ${humanBytes(plan.snapshot.sizeBytes)}`],
        ['', `SHA-256 ${plan.snapshot.sha256}`],
        ...skipped.map((one, at) => [at === 0 ? 'skipped' : '', `${one.key}: ${one.reason}`] as const),
        ['nodes', plan.targets.map(({ node, address }) => `${node} (${address})`).join(', ')],
        ...fenceOf(plan).map(({ node, address }) => ['without', `${node} (${address})`] as const),
      ],
      '  ',
    ),
    ...warningLines(warnings),
    '',
    '── What you would be asked ──',
    '',
    indented(shows.trimEnd()),
    '',
    '── What would run ──',
    'Before it: the snapshot is put on each node and checked there. After your consent the nodes are locked, backups',
    'held, and all is looked at once more. Each step is done on all of its nodes before the next one begins.',
    ...stepsText(planSteps(plan)),
    '',
    'After it: validation, the question whether you accept it, a fresh backup, locks let go, backups go on.',
    '',
    '── The way back, before the cluster is open to clients ──',
    ...stepsText(undoSteps(plan)),
  ].join('\n')
}

/** Steps with their commands, as a person would type them on each node. */
export function stepsText(steps: readonly PlanStep[]): string[] {
  return steps.flatMap((step, at) => [
    '',
    `${at + 1}. ${step.title}`,
    ...step.actions.flatMap(({ node, action }) => [
      '',
      `   on ${node}:`,
      ...handCommands(action).map((command) => `     ${command}`),
    ]),
  ])
}
