import type { EngineConnection } from '../../workers/connection.ts'
import type { Call, Outcome } from './command.ts'
import { followRun } from './follow.ts'
import { uiLink } from './runs.ts'

/**
 * Follows a run that asks nobody, from its start to its verdict; who stops looking ends nothing.
 *
 * @throws RequorumError what the run failed with
 */
export async function followToEnd<Verdict>(
  call: Call,
  engine: EngineConnection,
  cluster: string,
  handle: { readonly workflowId: string; result(): Promise<Verdict> },
  verdictOf: (verdict: Verdict) => Pick<Outcome, 'exit' | 'text'>,
): Promise<Outcome> {
  const { workflowId } = handle
  const link = uiLink(engine, workflowId)
  const known = { cluster, workflowId, ui: link }
  call.say(`Started ${workflowId}${link === null ? '' : `, see ${link}`}`)

  const followed = await followRun(engine, workflowId, {
    say: (line) => call.say(line),
    until: 'end',
    interruption: call.interruption(),
  })
  if (followed.until !== 'end') {
    return {
      exit: 'waiting',
      text: `Stopped looking; ${workflowId} goes on to its end.`,
      json: { ...known, ended: false, verdict: null },
    }
  }
  const verdict = await handle.result()
  const { exit, text } = verdictOf(verdict)
  return { exit, text: `\n${text}`, json: { ...known, ended: true, verdict } }
}
