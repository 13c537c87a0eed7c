/**
 * Every failure that a person can meet, by a stable code.
 *
 * A code says who has to act: `fault: 'yours'` is mended by the operator (config, access, consent, room on
 * disk), `'ours'` is a bug in Requorum, `'theirs'` is a system around us that did not do its part.
 * `retry` tells the engine whether trying the same step again can help.
 */
export const FAILURES = {
  // Config and input
  'config-invalid': { fault: 'yours', retry: false },
  'cluster-unknown': { fault: 'yours', retry: false },
  'input-invalid': { fault: 'yours', retry: false },
  'wrong-workflow-id': { fault: 'yours', retry: false },
  // Nodes
  'host-key-refused': { fault: 'yours', retry: false },
  'ssh-login-refused': { fault: 'yours', retry: false },
  'sudo-refused': { fault: 'yours', retry: false },
  'node-unreachable': { fault: 'theirs', retry: true },
  'connection-lost': { fault: 'theirs', retry: true },
  'command-timed-out': { fault: 'theirs', retry: true },
  'output-too-large': { fault: 'ours', retry: false },
  'nodes-missing': { fault: 'theirs', retry: false },
  /** A node that was stated to be off answers. */
  'not-fenced': { fault: 'yours', retry: false },
  'tools-missing': { fault: 'yours', retry: false },
  'versions-unfit': { fault: 'yours', retry: false },
  'no-space': { fault: 'yours', retry: false },
  'step-failed': { fault: 'theirs', retry: true },
  'step-refused': { fault: 'theirs', retry: false },
  'lock-held': { fault: 'yours', retry: false },
  'record-unreadable': { fault: 'theirs', retry: false },
  // etcd
  'etcd-unavailable': { fault: 'theirs', retry: true },
  'etcd-output-unreadable': { fault: 'ours', retry: false },
  'etcd-unaskable': { fault: 'yours', retry: false },
  'quorum-holds': { fault: 'yours', retry: false },
  /** The others don't hold the quorum that a replacement needs, or do not agree. */
  'quorum-missing': { fault: 'theirs', retry: false },
  /** A learner had its time, and etcd still refuses to give it its vote. */
  'learner-behind': { fault: 'theirs', retry: false },
  'nothing-to-replace': { fault: 'yours', retry: false },
  'nothing-to-adopt': { fault: 'yours', retry: false },
  'no-source': { fault: 'theirs', retry: true },
  'cluster-unhealthy': { fault: 'theirs', retry: false },
  // Kubernetes
  'api-unavailable': { fault: 'theirs', retry: true },
  // Snapshots and their store
  'snapshot-damaged': { fault: 'theirs', retry: false },
  'snapshot-implausible': { fault: 'theirs', retry: false },
  'rehearsal-running': { fault: 'theirs', retry: true },
  'rehearsal-failed': { fault: 'theirs', retry: false },
  'snapshot-too-large': { fault: 'ours', retry: false },
  'no-candidate': { fault: 'theirs', retry: false },
  'store-unreachable': { fault: 'theirs', retry: true },
  'store-refused': { fault: 'yours', retry: false },
  'store-object-missing': { fault: 'theirs', retry: false },
  'store-mismatch': { fault: 'theirs', retry: false },
  // Drills
  'drill-forbidden': { fault: 'yours', retry: false },
  // Engine and consent
  'engine-unreachable': { fault: 'yours', retry: true },
  'schedule-missing': { fault: 'yours', retry: false },
  'recovery-running': { fault: 'yours', retry: false },
  'backup-running': { fault: 'theirs', retry: true },
  'signing-failed': { fault: 'yours', retry: false },
  'run-not-found': { fault: 'yours', retry: false },
  'restore-undone': { fault: 'theirs', retry: false },
  'rollback-undone': { fault: 'theirs', retry: false },
  'nothing-to-roll-back': { fault: 'yours', retry: false },
  'replacement-undone': { fault: 'theirs', retry: false },
  'validation-failed': { fault: 'theirs', retry: false },
  'undo-incomplete': { fault: 'theirs', retry: false },
  cancelled: { fault: 'yours', retry: false },
  unexpected: { fault: 'ours', retry: false },
} as const satisfies Record<string, { fault: 'yours' | 'ours' | 'theirs'; retry: boolean }>

export type FailureCode = keyof typeof FAILURES

export interface FailureText {
  /** What happened, in one sentence that names the thing (node, file, field). */
  readonly what: string
  /** The reason as far as it is known, usually the words of the system that refused. */
  readonly why?: string
  /** What the person can do about it; a command where there is one. */
  readonly todo: string
}

/** An error made for the person who has to act. Its `message` is complete: it is what a terminal shows. */
export class RequorumError extends Error {
  readonly code: FailureCode
  readonly text: FailureText

  constructor(code: FailureCode, text: FailureText, options?: { cause?: unknown }) {
    super(failureMessage(text), options)
    this.name = 'RequorumError'
    this.code = code
    this.text = text
  }

  get retryable(): boolean {
    return FAILURES[this.code].retry
  }
}

export function failureMessage({ what, why, todo }: FailureText): string {
  return [what, ...(why ? [`Why: ${why}`] : []), `Do:  ${todo}`].join('\n')
}

export function isFailureCode(value: unknown): value is FailureCode {
  return typeof value === 'string' && Object.hasOwn(FAILURES, value)
}

/** The words of anything thrown, without its stack. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
