import { CancellationScope } from '@temporalio/workflow'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import { pauseNote } from '../../domain/messages.ts'
import { whyOf } from './failure.ts'
import { change, transfer } from './hands.ts'
import type { Run } from './run.ts'

interface Pause {
  readonly paused: boolean
  /** Somebody had paused it before; then it stays paused. */
  readonly wasPaused: boolean
}

/** The backups of a cluster, held back for as long as a recovery works on it, and let go afterwards. */
export class HeldBackups {
  readonly #run: Run
  readonly #config: ClusterConfig
  readonly #recovery: string
  /** `unknown`: a pause was sent and nobody heard whether it came about. */
  #pause: Pause | 'unknown' | null = null

  constructor(run: Run, config: ClusterConfig, recovery: string) {
    this.#run = run
    this.#config = config
    this.#recovery = recovery
  }

  /** Pauses the schedule and waits until no backup runs. Pausing alone is not enough: one may be in the middle. */
  async hold(): Promise<void> {
    if (this.#pause !== null) return
    this.#pause = 'unknown'
    this.#pause = await this.#run.step('Pause the backup schedule', () => this.#askForPause(), said)
    await this.#run.step(
      'Wait for a running backup',
      () => transfer.settleBackups(this.#config.cluster),
      ({ waitedFor, cancelled }) =>
        waitedFor.length === 0
          ? 'none runs'
          : `${waitedFor.join(', ')}${cancelled.length > 0 ? ', cancelled' : ''}`,
    )
  }

  /** Lets the schedule go on if it was this recovery that paused it. Returns what somebody should know. */
  async release(): Promise<string[]> {
    if (this.#pause === null) return []
    try {
      // Asked again, a pause whose answer was lost says whether it is ours to take back.
      const pause = this.#pause === 'unknown' ? await this.#askForPause() : this.#pause
      if (!pause.paused) return []
      if (pause.wasPaused) return ['the backup schedule stays paused, as somebody had paused it before']
      await this.#run.step('Resume the backup schedule', () =>
        change.resumeBackups(this.#config.cluster, `requorum: recovery ${this.#recovery} has ended`),
      )
      this.#pause = null
      return []
    } catch (error) {
      return [`the backup schedule may still be paused: ${whyOf(error)}`]
    }
  }

  #askForPause(): Promise<Pause> {
    return change.pauseBackups(this.#config.cluster, pauseNote(this.#recovery))
  }
}

/** Does work while no backup runs, and lets them go on however it ends. */
export async function withoutBackups<Result>(
  run: Run,
  config: ClusterConfig,
  recovery: string,
  work: () => Promise<Result>,
): Promise<Result> {
  const backups = new HeldBackups(run, config, recovery)
  try {
    await backups.hold()
    return await work()
  } finally {
    await CancellationScope.nonCancellable(async () => run.warn(await backups.release()))
  }
}

function said({ paused, wasPaused }: Pause): string {
  if (!paused) return 'there is none'
  return wasPaused ? 'somebody had paused it before' : 'paused'
}
