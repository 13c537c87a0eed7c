import { sleep } from '@temporalio/workflow'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { worthAnotherLook } from '../../domain/diagnosis.ts'
import type { NodeSurvey } from '../../domain/survey.ts'
import type { Run } from './run.ts'
import { surveyWhatAnswers } from './survey.ts'

/**
 * Longer than a member needs to find a leader, to be started again by the kubelet's first back-offs, or to be
 * seen both up and down while it flaps.
 */
const WATCHED_MS = 25_000
const BETWEEN_LOOKS = '5s'
const WITH_API_SERVER = { probeApiServer: true }

/** Looks at every node, and again for as long as the last look may have caught a moment. Oldest first. */
export async function watchNodes(run: Run, config: ClusterConfig): Promise<NodeSurvey[][]> {
  const looks = [await surveyWhatAnswers(run, config, 'Look at every node', WITH_API_SERVER)]
  const until = Date.now() + WATCHED_MS
  while (Date.now() < until && worthAnotherLook(config, looks)) {
    await sleep(BETWEEN_LOOKS)
    looks.push(await surveyWhatAnswers(run, config, `Look again (${looks.length + 1})`, WITH_API_SERVER))
  }
  return looks
}
