import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Lab } from '../../lab/lab.ts'
import { Operator } from '../../lab/operator.ts'
import { startEngine, stopEngine } from '../../lab/services/engine.ts'
import { startWorker, stopWorker } from '../../lab/services/worker.ts'

/** Somebody else's laptop: the same cluster file, keys and store, and an engine that knows nothing of the first. */
export async function withSecondEngine(lab: Lab, work: (operator: Operator) => Promise<void>): Promise<void> {
  const home = await mkdtemp(join(tmpdir(), 'requorum-second-'))
  const dir = join(home, 'engine')
  const quiet = (): undefined => undefined
  try {
    for (const shared of ['clusters', 'known_hosts', 'ssh', 'store'])
      await symlink(join(lab.dir, shared), join(home, shared))
    await mkdir(dir)
    const engine = await startEngine({ dir, say: quiet })
    await startWorker(home, quiet)
    const operator = await Operator.of({ ...lab, engine })
    await work(operator).finally(() => operator.close())
  } finally {
    await stopWorker(home)
    await stopEngine(dir)
    await rm(home, { recursive: true, force: true })
  }
}
