import { readFileSync } from 'node:fs'
import { lastWords } from '../../../domain/validation/api-servers.ts'
import { addressHex, dnsQuestion, hexText, readDnsAnswer, textHex } from '../../../domain/validation/dns.ts'
import type { ControlPlaneNode } from '../../node/control-plane-node.ts'

const SCRIPT = readFileSync(new URL('./exchange.sh', import.meta.url), 'utf8')
/** The script gives up after five seconds. */
const TIMEOUT_MS = 15_000
const DNS_PORT = 53

/** What came of asking from a node: nothing wrong, or why not. */
export type Answered = { readonly wrong: null } | { readonly wrong: string }

/** Asks a DNS server from the node, and holds the answer against the address that it has to be. */
export async function resolves(
  at: ControlPlaneNode,
  { name, server, expected }: { name: string; server: string; expected: string },
  signal: AbortSignal,
): Promise<Answered> {
  const question = dnsQuestion(name, expected.includes(':') ? 6 : 4)
  const { code, stdout, stderr } = await exchange(at, [server, String(DNS_PORT), question, 'length'], signal)
  if (code !== 0 || stdout === '') return { wrong: silence(`the DNS server ${server}`, code, stderr) }
  const answer = readDnsAnswer(stdout)
  if ('refused' in answer) return { wrong: `${server} answers ${name} with "${answer.refused}"` }
  return answer.addresses.includes(addressHex(expected) ?? '')
    ? { wrong: null }
    : { wrong: `${server} answers ${name} with another address than ${expected}` }
}

/** Asks for a page over HTTP from the node; it has to come with 200. */
export async function answersHttp(
  at: ControlPlaneNode,
  { address, port, path }: { address: string; port: number; path: string },
  signal: AbortSignal,
): Promise<Answered> {
  // HTTP/1.0: the server closes the connection behind its answer.
  const question = textHex(`GET ${path} HTTP/1.0\r\nHost: ${address}\r\n\r\n`)
  const { code, stdout, stderr } = await exchange(at, [address, String(port), question, 'close'], signal)
  if (code !== 0 || stdout === '') return { wrong: silence(`${address}:${port}`, code, stderr) }
  const [status = ''] = hexText(stdout).split('\r\n')
  return / 200\b/.test(status)
    ? { wrong: null }
    : { wrong: `${address}:${port} answers "${status.slice(0, 100)}"` }
}

function exchange(at: ControlPlaneNode, args: readonly string[], signal: AbortSignal) {
  return at.shell.script(at.node, SCRIPT, args, { timeoutMs: TIMEOUT_MS, signal })
}

function silence(who: string, code: number, stderr: string): string {
  // 124 is the word of `timeout`.
  return code === 124 || stderr.trim() === '' ? `${who} doesn't answer` : `${who}: ${lastWords(stderr)}`
}
