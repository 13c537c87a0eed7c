import { sleep } from '@temporalio/workflow'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { worthAnotherLook } from '../../domain/diagnosis.ts'
import type { WhoJoins } from '../../domain/leaving-member.ts'
import { othersLackQuorum } from '../../domain/others.ts'
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

/** Followers of a leader that is gone elect another within twice their timeout of a second, when votes don't split. */
const AN_ELECTION = '3s'
const LOOKS_PAST_ELECTIONS = 3

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

/**
 * Looks again, a few times, while the others of a member that goes lack the quorum: they may be about to elect a leader,
 * because theirs broke this very moment.
 */
export async function lookPastElections(
  config: ClusterConfig,
  who: WhoJoins,
  look: (title: string) => Promise<NodeSurvey[]>,
  title = 'Survey nodes',
): Promise<NodeSurvey[]> {
  for (let times = 1; ; times += 1) {
    const found = await look(times === 1 ? title : `${title} (${times})`)
    if (times === LOOKS_PAST_ELECTIONS || !othersLackQuorum(config, found, who)) return found
    await sleep(AN_ELECTION)
  }
}
