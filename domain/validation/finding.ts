import type { Check } from '../verdict.ts'

/** What one look found, without the name of the check. */
export type Finding = Pick<Check, 'verdict' | 'evidence'>

export const pass = (evidence: string): Finding => ({ verdict: 'pass', evidence })
export const warn = (evidence: string): Finding => ({ verdict: 'warn', evidence })
export const fail = (evidence: string): Finding => ({ verdict: 'fail', evidence })
export const skipped = (because: string): Finding => ({ verdict: 'skipped', evidence: because })

/** A failure for each line of `wrong`, else a warning for each of `doubtful`, else a pass. */
export function judged(
  good: string,
  { wrong = [], doubtful = [] }: { wrong?: readonly string[]; doubtful?: readonly string[] },
): Finding {
  const said = [...new Set([...wrong, ...doubtful])].join('; ')
  if (wrong.length > 0) return fail(said)
  return doubtful.length > 0 ? warn(`${said}; otherwise ${good}`) : pass(good)
}

/** The first few of many, and how many more there are: evidence is read by people and kept in histories. */
export function few(names: readonly string[], most = 5): string {
  const shown = names.slice(0, most).join(', ')
  return names.length <= most ? shown : `${shown} and ${names.length - most} more`
}

/** One or many of something: `1 node`, `3 nodes`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}
