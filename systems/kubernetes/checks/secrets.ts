import { readFileSync } from 'node:fs'
import { judgeSecrets, type SecretsRead } from '../../../domain/validation/credentials.ts'
import { inOneLine, type HealthCheck } from '../../node/health-check.ts'
import { findApiServers, type ApiServer } from '../api-servers.ts'
import { kubectl } from '../kubectl.ts'

const SCRIPT = readFileSync(new URL('./secrets.sh', import.meta.url), 'utf8')
/** What is read one by one through each API server: enough to meet every key in use, and seconds of work. */
const MOST = 500

/** Through each API server, because each has an encryption configuration of its own to get wrong. */
export const secrets: HealthCheck = async ({ nodes, limitMs, watching: { signal } }) => {
  const { servers, unreached } = await findApiServers(nodes)
  const seen = await Promise.all(servers.map((server) => readSecrets(server, limitMs, signal)))
  const lost = unreached.map(({ node, reason }) => nothingRead(node, reason))
  return judgeSecrets([...seen, ...lost])
}

async function readSecrets(
  { at, node, address }: ApiServer,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<SecretsRead> {
  try {
    const result = await at.shell.script(at.node, SCRIPT, [String(MOST), ...kubectl(at, address)], {
      timeoutMs,
      signal,
    })
    const value = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(result.stdout)?.[1] ?? ''
    if (result.code !== 0) return nothingRead(node, `the script ended with code ${result.code}`)
    return {
      node,
      listed: Number(value('listed')),
      asked: Number(value('asked')),
      read: Number(value('read')),
      error: value('error').trim(),
    }
  } catch (error) {
    return nothingRead(node, inOneLine(error))
  }
}

function nothingRead(node: string, error: string): SecretsRead {
  return { node, listed: 0, asked: 0, read: 0, error }
}
