import type { PlannedRecovery } from '../../domain/plan-step.ts'
import type { Mark, RecoveryRecord } from '../../domain/recovery-record.ts'
import { whyOf } from './failure.ts'
import { change, look } from './hands.ts'
import { utcNow, type Run } from './run.ts'

/** Before anything is touched: on every node the journal for people, and the plan for a run that may have to go on. */
export async function writeJournals(
  run: Run,
  record: RecoveryRecord,
  textFor: (node: string, started: string) => string,
): Promise<void> {
  const { cluster, recovery, startedAt, plan } = record
  await run.step('Write the journal on every node', () =>
    Promise.all(
      plan.targets.map(({ node }) =>
        change.writeJournal({ cluster, node }, recovery, textFor(node, startedAt), record),
      ),
    ),
  )
}

/** Says on every node how far the recovery came, before or after what the mark is about. Not a step that people see. */
export async function mark(plan: PlannedRecovery, what: Mark, text: string): Promise<void> {
  await Promise.all(
    plan.targets.map(({ node }) =>
      change.markRecovery({ cluster: plan.cluster, node }, plan.recovery, what, `${utcNow()} ${text}`),
    ),
  )
}

/** Nothing more will be done by this recovery. A node that can't be told so is named: `adopt` would offer it again. */
export async function markEnded(run: Run, plan: PlannedRecovery, outcome: string): Promise<void> {
  const told = plan.targets.map(({ node }) =>
    look.markRecovery({ cluster: plan.cluster, node }, plan.recovery, 'ended', `${utcNow()} ${outcome}`),
  )
  for (const [index, one] of (await Promise.allSettled(told)).entries()) {
    if (one.status === 'fulfilled') continue
    run.warn([
      `${plan.targets[index]?.node ?? ''} does not know that this recovery has ended: ${whyOf(one.reason)}`,
    ])
  }
}
