import { diagnose, type Diagnosis } from '../domain/diagnosis.ts'
import type { DiagnoseRequest } from '../domain/messages.ts'
import { look } from './steps/hands.ts'
import { watchNodes } from './steps/looks.ts'
import { clusterOf } from './steps/request.ts'
import { Run } from './steps/run.ts'

/** Says what is the matter with a cluster, from looking alone; nothing is stopped, moved, locked or written. */
export async function diagnoseCluster(request: DiagnoseRequest): Promise<Diagnosis> {
  const run = new Run('diagnose', clusterOf(request))
  return run.through(async () => {
    const config = await run.step('Read the cluster file', () => look.loadCluster(run.cluster))
    return diagnose(config, await watchNodes(run, config))
  })
}
