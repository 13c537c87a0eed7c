import type { Progress, WaitingCheckpoint } from '../../domain/progress.ts'
import type { Operator } from '../../lab/operator.ts'
import { askPerson } from './ask.ts'
import { indent, say } from './telling.ts'

/** Waits for a checkpoint, shows what is asked, and sends the decision of whoever decides. */
export async function pass(
  operator: Operator,
  name: string,
  { approve }: { readonly approve: boolean },
  tell: (progress: Progress) => void,
): Promise<void> {
  const waiting = await operator.untilCheckpoint(name, 600_000, tell)
  if (waiting === undefined) return
  console.log(`\n${indent(waiting.shows)}\n`)
  const decision = approve ? await readBack(operator, waiting) : await askPerson(waiting, operator)
  if (decision !== 'elsewhere') await operator.decide(waiting, decision, approve ? 'drill' : undefined)
}

/** Nothing is bypassed: the plan that is approved is the one that a second look still finds waiting. */
async function readBack(operator: Operator, waiting: WaitingCheckpoint): Promise<'approve'> {
  const { waiting: again } = await operator.progress()
  if (again?.digest !== waiting.digest)
    throw new Error('The plan changed while it was read. Start the drill again.')
  say(`approving plan ${waiting.plan} by the Signal "decide"`)
  return 'approve'
}
