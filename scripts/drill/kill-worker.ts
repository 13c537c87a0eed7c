import { setTimeout as sleep } from 'node:timers/promises'
import type { Progress } from '../../domain/progress.ts'
import type { Lab } from '../../lab/lab.ts'
import type { Operator } from '../../lab/operator.ts'
import { killWorker, startWorker } from '../../lab/services/worker.ts'
import { say } from './telling.ts'

/** Ends the worker when the recovery has come to the step of this title, and starts another. */
export async function killWorkerAt(
  title: string,
  lab: Lab,
  operator: Operator,
  tell: (progress: Progress) => void,
): Promise<void> {
  for (;;) {
    const progress = await operator.progress()
    tell(progress)
    if (progress.steps.some((step) => step.title === title)) break
    await sleep(50)
  }
  await killWorker(lab.dir)
  say(`the worker was killed (SIGKILL) at "${title}"; starting another`)
  await startWorker(lab.dir, say)
}
