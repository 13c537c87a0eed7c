/** What a look can say of a cluster, and what the person who asked can do about it. */
export type DiagnosisKind =
  | 'healthy'
  | 'restart'
  | 'expired-certificates'
  | 'no-space'
  | 'replace-member'
  | 'restore-quorum'
  | 'hands-off'

/** One fact that the answer rests on. */
export interface Evidence {
  /** Null for what is true of the cluster as a whole. */
  readonly node: string | null
  readonly fact: string
}

export interface NextStep {
  /** Where the commands are typed, as root; null: where Requorum runs. */
  readonly on: string | null
  /** What to do, in words; enough by itself where there is no command for it. */
  readonly say: string
  /** To be typed as they stand. */
  readonly commands: readonly string[]
}

/** Something that is wrong, by one rule. */
export interface Trouble {
  readonly kind: Exclude<DiagnosisKind, 'healthy'>
  /** The nodes that it is about, in the cluster file's order. */
  readonly nodes: readonly string[]
  /** One sentence. */
  readonly summary: string
  readonly evidence: readonly Evidence[]
  readonly next: readonly NextStep[]
}

export function lookAgain(cluster: string, say: string): NextStep {
  return { on: null, say, commands: [`requorum diagnose ${cluster}`] }
}
