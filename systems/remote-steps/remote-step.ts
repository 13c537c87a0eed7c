/**
 * A piece of work on a node that outlives its connection: a transient systemd unit with a receipt on disk.
 * It may be started a second time after a failure or a power cut, so it has to be idempotent. It leaves no
 * process behind.
 */
export interface RemoteStep {
  /** Unique per recovery and step, `[a-z0-9-][a-z0-9.-]{0,79}`. Stands for one script with its arguments. */
  id: string
  /** POSIX shell, run with `-eu` as root, as /bin/sh on the node, with a plain PATH and the C locale. */
  script: string
  args: readonly string[]
  /** The script's standard input; without it that is empty. On the node it is in memory only, never in a list. */
  secret?: string
  /** The longest that one attempt may run; it is ended then, with code 124. */
  timeoutMs: number
  /** More properties of its unit, such as Nice, IOWeight or MemoryMax (systemd.exec(5), resource-control(5)). */
  properties?: Record<string, string>
}
