import { judgePods, POD_FIELDS } from '../../../domain/validation/workloads.ts'
import type { HealthCheck } from '../../node/health-check.ts'
import { nodeWithApi } from '../api-servers.ts'
import { mustKubectl } from '../kubectl.ts'

export const kubeSystemPods: HealthCheck = async ({ nodes, without, watching: { signal } }) => {
  const at = await nodeWithApi(nodes, signal)
  const args = ['get', 'pods', '--namespace=kube-system', `--output=jsonpath=${POD_FIELDS}`]
  return judgePods(await mustKubectl(at, args, { signal }), without)
}
