import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { refuseAnswering, refuseUnfenced } from '../../domain/fence.ts'
import { reachedNodes, unreachedNodes, type NodeSurvey } from '../../domain/survey.ts'
import { look } from './hands.ts'
import type { Run } from './run.ts'

/**
 * A restore goes on without a node only when somebody states that it is off and nothing contradicts it: SSH does not
 * reach it, and from the nodes that are reached none of its ports answers.
 *
 * @returns the survey without nodes that are fenced and reached: what they lack is no hindrance
 * @throws RequorumError `input-invalid`, `nodes-missing`, `not-fenced`
 */
export async function refuseUnlessOff(
  run: Run,
  config: ClusterConfig,
  found: readonly NodeSurvey[],
  off: readonly string[],
): Promise<NodeSurvey[]> {
  refuseUnfenced(config, found, off)
  // One that is fenced since an earlier restore is reached, and forms nothing.
  const silent = unreachedNodes(found).map(({ node }) => node)
  const ours = found.filter(({ node, reached }) => !(reached && off.includes(node)))
  if (silent.length === 0) return ours
  const from = reachedNodes(found)
    .map(({ node }) => node)
    .filter((node) => !off.includes(node))
  const answered = await run.step(
    `Knock at ${silent.join(', ')}`,
    () => look.knock(config.cluster, from, silent),
    (heard) => (heard.length === 0 ? `silent, as seen from ${from.join(', ')}` : `${heard.length} answers`),
  )
  refuseAnswering(config.cluster, answered)
  return ours
}
