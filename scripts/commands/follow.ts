import { setTimeout as sleep } from 'node:timers/promises'
import { RequorumError } from '../../domain/failures.ts'
import type { Progress } from '../../domain/progress.ts'
import type { EngineConnection } from '../../workers/connection.ts'
import { changesSince } from '../terminal/progress.ts'
import { waitingText } from '../terminal/waiting.ts'
import { engineSilence } from './engine-failures.ts'
import { askProgress, lookAtRun, type KnownRun } from './runs.ts'

const POLL_MS = 1_000
/** An engine that is started anew is back in seconds; one that is gone this long is gone. */
const ENGINE_PATIENCE_MS = 120_000

export interface Followed {
  /** `person`: it waits for one. `there`: where `stopAt` says. `left`: the watching was interrupted; the run goes on. */
  readonly until: 'end' | 'person' | 'there' | 'left'
  readonly run: KnownRun
  readonly progress: Progress | null
}

export interface Following {
  /** Where the run's story goes, line by line. */
  readonly say: (line: string) => void
  /** `person` stops at the first checkpoint, `end` shows checkpoints and goes on. */
  readonly until: 'person' | 'end'
  readonly interruption: AbortSignal
  /** Where somebody else's story goes on. */
  readonly stopAt?: (progress: Progress) => boolean
  /** What was told already. */
  readonly told?: Progress | null
}

/**
 * Looks at a run each second and tells what changes. Lives through a worker and an engine that are started
 * again, because that is what recoveries do.
 *
 * @throws RequorumError `engine-unreachable` after two minutes of silence, `run-not-found`
 */
export async function followRun(
  engine: EngineConnection,
  workflowId: string,
  { say, until, interruption, stopAt, ...before }: Following,
): Promise<Followed> {
  let told: Progress | null = before.told ?? null
  let toldSilence: string | null = null
  let lostAt: number | null = null
  let last: KnownRun | null = null

  for (;;) {
    try {
      const run = await lookAtRun(engine, workflowId)
      if (lostAt !== null) say('The engine answers again.')
      lostAt = null
      if (run.state === 'absent') throw gone(workflowId)
      last = run

      const { progress, silence } = await askProgress(engine, run)
      if (progress !== null) {
        for (const line of changesSince(told, progress)) say(line)
        // A run that was terminated says for ever that it waits.
        const waits = run.state === 'running' ? progress.waiting : null
        if (waits !== null && (waits.name !== told?.waiting?.name || waits.digest !== told.waiting.digest)) {
          say(`\n${waitingText(progress, waits, new Date())}\n`)
        }
        told = progress
        toldSilence = null
      } else if (
        run.state === 'running' &&
        silence !== toldSilence &&
        Date.now() - Date.parse(run.startedAt) > 5_000
      ) {
        say(`The run tells nothing: ${silence}.`)
        toldSilence = silence
      }
      if (run.state === 'ended') return { until: 'end', run, progress: told }
      if (told !== null && stopAt?.(told) === true) return { until: 'there', run, progress: told }
      if (until === 'person' && told?.waiting) return { until: 'person', run, progress: told }
    } catch (error) {
      const silence = engineSilence(error)
      if (silence === null) throw error
      if (lostAt === null)
        say('The engine does not answer. The run is safe there; looking again each second.')
      lostAt ??= Date.now()
      if (Date.now() - lostAt > ENGINE_PATIENCE_MS) throw error
    }
    await sleep(POLL_MS, undefined, { signal: interruption }).catch(() => undefined)
    if (interruption.aborted && last !== null) return { until: 'left', run: last, progress: told }
    if (interruption.aborted) throw gone(workflowId)
  }
}

function gone(workflowId: string): RequorumError {
  return new RequorumError('run-not-found', {
    what: `There is no run ${workflowId}.`,
    todo: 'See what runs with `requorum status`.',
  })
}
