import { judgeReadiness, type Readiness } from '../../../domain/validation/api-servers.ts'
import { inOneLine, type HealthCheck } from '../../node/health-check.ts'
import { findApiServers, type ApiServer } from '../api-servers.ts'
import { runKubectl } from '../kubectl.ts'

/** Each API server is asked on its own node, so that none hides behind another or a load balancer. */
export const apiServers: HealthCheck = async ({ nodes, watching: { signal } }) => {
  const { servers, without, unreached } = await findApiServers(nodes)
  const seen = await Promise.all(servers.map((server) => askReadiness(server, signal)))
  const lost = unreached.map(({ node, reason }): Readiness => ({ node, code: -1, text: reason }))
  return judgeReadiness([...seen, ...lost], without)
}

async function askReadiness({ at, node, address }: ApiServer, signal: AbortSignal): Promise<Readiness> {
  try {
    const { code, stdout, stderr } = await runKubectl(at, ['get', '--raw=/readyz?verbose'], {
      server: address,
      signal,
    })
    return { node, code, text: code === 0 ? stdout : stderr }
  } catch (error) {
    return { node, code: -1, text: inOneLine(error) }
  }
}
