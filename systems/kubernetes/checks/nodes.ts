import { judgeNodes, NODE_FIELDS } from '../../../domain/validation/workloads.ts'
import { nodeNames } from '../../../domain/cluster-config.ts'
import type { HealthCheck } from '../../node/health-check.ts'
import { nodeWithApi } from '../api-servers.ts'
import { mustKubectl } from '../kubectl.ts'

export const nodesReady: HealthCheck = async ({ config, nodes, without, watching: { signal } }) => {
  const at = await nodeWithApi(nodes, signal)
  const listed = await mustKubectl(at, ['get', 'nodes', `--output=jsonpath=${NODE_FIELDS}`], { signal })
  return judgeNodes(listed, nodeNames(config), without)
}
