import type { ClusterConfig, NodeConfig } from '../../domain/cluster-config.ts'
import type { NodeShell } from '../ssh/node-shell.ts'

/** One control-plane node, reached over SSH. */
export interface ControlPlaneNode {
  readonly shell: NodeShell
  readonly config: ClusterConfig
  readonly node: NodeConfig
}

/** How long work is watched: told of cancellation, and telling that it still goes on. */
export interface Watching {
  readonly signal: AbortSignal
  /** With words for whoever looks at the run: what is being waited for. */
  readonly onBeat: (doing?: string) => void
}

export function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1)?.trim() ?? ''
}
