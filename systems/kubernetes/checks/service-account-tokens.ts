import { readFileSync } from 'node:fs'
import { judgeTokens, type TokenReviewed } from '../../../domain/validation/credentials.ts'
import { inOneLine, type HealthCheck } from '../../node/health-check.ts'
import { findApiServers, type ApiServer } from '../api-servers.ts'
import { kubectl } from '../kubectl.ts'

const SCRIPT = readFileSync(new URL('./review-token.sh', import.meta.url), 'utf8')
/** Controllers make it in every namespace, and nothing is bound to it. */
const ACCOUNT = { namespace: 'kube-system', name: 'default' }
const TIMEOUT_MS = 60_000

/**
 * A token of each API server is reviewed by the next one: so each one's signing key (sa.key) and each one's
 * verifying key (sa.pub) is used once, and by another server than its own where there is one.
 */
export const serviceAccountTokens: HealthCheck = async ({ nodes, watching: { signal } }) => {
  const { servers, unreached } = await findApiServers(nodes)
  const seen = await Promise.all(
    servers.map((issuer, index) => review(issuer, servers[(index + 1) % servers.length] ?? issuer, signal)),
  )
  const lost = unreached.map(({ node, reason }): TokenReviewed => ({
    ...{ issuer: node, reviewer: node },
    ...{ user: null, error: reason },
  }))
  return judgeTokens(`system:serviceaccount:${ACCOUNT.namespace}:${ACCOUNT.name}`, [...seen, ...lost])
}

async function review(issuer: ApiServer, reviewer: ApiServer, signal: AbortSignal): Promise<TokenReviewed> {
  const pair = { issuer: issuer.node, reviewer: reviewer.node }
  try {
    const { stdout } = await issuer.at.shell.script(
      issuer.at.node,
      SCRIPT,
      [ACCOUNT.namespace, ACCOUNT.name, reviewer.address, ...kubectl(issuer.at, issuer.address)],
      { timeoutMs: TIMEOUT_MS, signal },
    )
    const value = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(stdout)?.[1]?.trim() ?? ''
    const accepted = value('authenticated') === 'true'
    return { ...pair, user: accepted ? value('user') : null, error: value('error') }
  } catch (error) {
    return { ...pair, user: null, error: inOneLine(error) }
  }
}
