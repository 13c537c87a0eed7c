import { staticPodFlags } from '../static-pod-flags.ts'
import { counted, fail, judged, type Finding } from './finding.ts'

/** kube-apiserver's own default. */
const SECURE_PORT = '6443'

/** Where the API server of a manifest listens, as its own node reaches it; `address` where it advertises none. */
export function apiServerAddress(manifest: string, address: string): string {
  const flags = staticPodFlags(manifest)
  const host = flags?.get('advertise-address') ?? address
  const port = flags?.get('secure-port') ?? SECURE_PORT
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** What one API server said of itself. */
export interface Readiness {
  readonly node: string
  /** kubectl's exit code, and both of its outputs: a failing list comes as the text of an error. */
  readonly code: number
  readonly text: string
}

/** What `readyz?verbose` says: the names of its checks, and those that failed. */
export function readReadyz(text: string): { readonly checks: number; readonly failed: readonly string[] } {
  // As an error's text the list comes quoted by Go, with its line ends as \n.
  const lines = text.replaceAll('\\n', '\n').split('\n')
  const names = (sign: string): string[] =>
    lines.flatMap((line) => {
      const at = line.indexOf(`[${sign}]`)
      return at < 0 ? [] : [line.slice(at + 3).replace(/ (?:ok|failed|excluded)\b.*$/, '')]
    })
  const failed = names('-')
  return { checks: names('+').length + failed.length, failed }
}

export function judgeReadiness(seen: readonly Readiness[], without: readonly string[]): Finding {
  if (seen.length === 0) return fail('there is no API server to ask')
  const read = seen.map((one) => ({ ...one, ...readReadyz(one.text) }))
  const wrong = read.flatMap(({ node, code, text, checks, failed }) => {
    if (failed.length > 0) return [`${node} isn't ready: ${failed.join(', ')}`]
    if (code === 0 && checks > 0) return []
    return [`${node} doesn't say that it is ready: ${lastWords(text)}`]
  })
  const doubtful = without.map((node) => `${node} has no kube-apiserver manifest`)
  const checks = Math.min(...read.map((one) => one.checks))
  return judged(
    `${counted(seen.length, 'API server')} ready (${seen.map(({ node }) => node).join(', ')}), each with ${checks} checks of its own`,
    { wrong, doubtful },
  )
}

/** The last line of an output that has something to say. */
export function lastWords(text: string): string {
  const line = text
    .trimEnd()
    .split('\n')
    .findLast((one) => one.trim() !== '')
  return line === undefined ? 'it said nothing' : line.trim().slice(0, 300)
}
