import { RequorumError } from '../../domain/failures.ts'
import { lastWords } from '../../domain/validation/api-servers.ts'
import type { ControlPlaneNode } from '../node/control-plane-node.ts'
import type { CommandResult } from '../ssh/node-shell.ts'

/** Discovery is kept on tmpfs, not below root's home. */
const CACHE = '/run/requorum-kubectl'
/** One answer of an API server that is well takes milliseconds; after a restart it may take seconds. */
const REQUEST_SECONDS = 15
/** Pods of thousands of nodes, as lines of their fields. */
const MOST_OUTPUT = 16 * 1_048_576

export interface Asking {
  readonly signal: AbortSignal
  /** Which API server, as `host:port`; without it the one that the node's admin.conf names. */
  readonly server?: string
  readonly stdin?: string
  /** For commands that wait: longer than one request. */
  readonly seconds?: number
}

/**
 * `kubectl` with the node's own admin.conf. A named server is asked under the name `kubernetes`, which kubeadm
 * puts into every serving certificate: the address that it is reached at may be missing there.
 */
export function kubectl({ config }: ControlPlaneNode, server?: string): string[] {
  return [
    config.kubernetes.kubectl,
    `--kubeconfig=${config.kubernetes.adminConf}`,
    `--cache-dir=${CACHE}`,
    `--request-timeout=${REQUEST_SECONDS}s`,
    ...(server === undefined ? [] : [`--server=https://${server}`, '--tls-server-name=kubernetes']),
  ]
}

/** Runs kubectl on the node. Exit codes are the caller's to judge. */
export function runKubectl(
  at: ControlPlaneNode,
  args: readonly string[],
  { signal, server, stdin, seconds = REQUEST_SECONDS }: Asking,
): Promise<CommandResult> {
  return at.shell.run(at.node, [...kubectl(at, server), ...args], {
    timeoutMs: (seconds + REQUEST_SECONDS) * 1_000,
    maxOutputBytes: MOST_OUTPUT,
    signal,
    ...(stdin === undefined ? {} : { stdin }),
  })
}

/** As `runKubectl`, for commands that have to succeed. @throws RequorumError `api-unavailable` */
export async function mustKubectl(
  at: ControlPlaneNode,
  args: readonly string[],
  asking: Asking,
): Promise<string> {
  const result = await runKubectl(at, args, asking)
  if (result.code === 0) return result.stdout
  throw new RequorumError('api-unavailable', {
    what: `${at.node.name}: kubectl ${args.slice(0, 3).join(' ')} ended with code ${result.code}.`,
    why: lastWords(result.stderr),
    todo: `Try it on ${at.node.name}: ${kubectl(at, asking.server).slice(0, 2).join(' ')} get nodes`,
  })
}
