import { RequorumError } from '../../domain/failures.ts'
import type { CommandResult } from '../ssh/node-shell.ts'
import type { ControlPlaneNode } from '../node/control-plane-node.ts'

/** `etcdctl` with the node's own certificates, talking to the node's own member. */
export function etcdctl(at: ControlPlaneNode, timeoutSeconds = 10): string[] {
  const { etcdctl: command, clientUrl, caCert, cert, key } = at.config.etcd
  return [
    command,
    `--endpoints=${clientUrl}`,
    `--cacert=${caCert}`,
    `--cert=${cert}`,
    `--key=${key}`,
    '--dial-timeout=3s',
    `--command-timeout=${timeoutSeconds}s`,
  ]
}

/** Runs etcdctl for a short answer. Exit codes are the caller's to judge; stderr alone is no failure. */
export function runEtcdctl(
  at: ControlPlaneNode,
  args: readonly string[],
  options: { timeoutSeconds?: number; signal?: AbortSignal } = {},
): Promise<CommandResult> {
  const seconds = options.timeoutSeconds ?? 10
  return at.shell.run(at.node, [...etcdctl(at, seconds), ...args], {
    timeoutMs: (seconds + 10) * 1_000,
    ...(options.signal ? { signal: options.signal } : {}),
  })
}

/** As `runEtcdctl`, for commands that have to succeed. @throws RequorumError `etcd-unavailable` */
export async function mustEtcdctl(
  at: ControlPlaneNode,
  args: readonly string[],
  options: { timeoutSeconds?: number; signal?: AbortSignal } = {},
): Promise<string> {
  const result = await runEtcdctl(at, args, options)
  if (result.code === 0) return result.stdout
  throw new RequorumError('etcd-unavailable', {
    what: `${at.node.name}: etcdctl ${args.slice(0, 2).join(' ')} ended with code ${result.code}.`,
    why: etcdReason(result.stderr),
    todo: `Look at etcd on ${at.node.name} (its log, its certificates, its disk).`,
  })
}

/** etcdctl's reason in few words: its last line without the JSON that its logger puts around it. */
export function etcdReason(stderr: string): string {
  const line = stderr.trim().split('\n').at(-1) ?? ''
  const error = /"error":"((?:[^"\\]|\\.)*)"/.exec(line)
  return (error?.[1] ?? line).slice(0, 300)
}
