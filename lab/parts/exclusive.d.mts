/**
 * Runs `work` while no other process on this machine runs exclusive work on the same directory,
 * waiting for its turn without a limit; `onWait` is called once when there is a wait. Makes the
 * directory when it is missing. The lock ends with its holder, even after SIGKILL. It is not
 * re-entrant: exclusive work on the directory from within waits for ever.
 */
export function exclusively<T>(directory: string, work: () => Promise<T>, onWait?: () => void): Promise<T>
