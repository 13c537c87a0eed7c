import type { Armed, Traced } from '../../workers/failpoints.ts'
import type { RunbookName } from './runbooks.ts'

export type Where = Armed['where']
/** What happens at a step. */
export type Blow = 'worker killed' | 'engine killed' | 'connection cut' | 'node rebooted'

export interface Case {
  readonly runbook: RunbookName
  /** For people: `12 performAction stop-etcd on cp-01`. */
  readonly step: string
  readonly at: Traced
  readonly where: Where
  readonly blow: Blow
}

/**
 * Every step that a golden run was seen to do, each at its failpoints. Of a step that several nodes do at once one
 * node is struck, another one with each step; of a child workflow, whose own runbook is swept too, one step.
 */
export function casesOf(runbook: RunbookName, type: string, trace: readonly Traced[]): Case[] {
  const groups = new Map<string, Traced[]>()
  for (const one of trace) {
    const key = JSON.stringify([one.workflow, one.activity, one.what, one.nth])
    const group = groups.get(key) ?? []
    group.push(one)
    groups.set(key, group)
  }
  // Which of them is done first changes from run to run, and a case has to mean the same in each.
  for (const group of groups.values()) group.sort((a, b) => (a.node ?? '').localeCompare(b.node ?? ''))
  const steps = [...groups.values()].filter(([first]) => first?.workflow === type)
  for (const child of new Set(trace.map(({ workflow }) => workflow))) {
    const within = [...groups.values()].filter(([first]) => first?.workflow === child)
    const middle = within[Math.floor(within.length / 2)]
    if (child !== type && middle !== undefined) steps.push(middle)
  }
  return steps.flatMap((group, index) => {
    const chosen = group[index % group.length]
    if (chosen === undefined) return []
    // Alone, it may be on another node next time: whichever member a backup is saved on.
    const at = group.length === 1 ? { ...chosen, node: null } : chosen
    const { workflow, activity, what, nth } = at
    const named = [workflow === type ? '' : workflow, activity, what, nth > 1 ? `(${nth})` : '']
    const step = `${String(index + 1).padStart(2)} ${named.filter(Boolean).join(' ')}${at.node === null ? '' : ` on ${at.node}`}`
    const one = (where: Where, blow: Blow): Case => ({ runbook, step, at, where, blow })
    const inside: Where = at.calls > 0 ? 'middle' : 'before'
    return [
      one('before', 'worker killed'),
      ...(at.calls > 0 ? [one('middle', 'worker killed')] : []),
      one('after', 'worker killed'),
      one(inside, 'engine killed'),
      ...(chosen.node === null ? [] : [one(inside, 'connection cut'), one(inside, 'node rebooted')]),
    ]
  })
}

export function nameOf({ runbook, step, where, blow }: Case): string {
  return `${runbook} | ${step} | ${where} | ${blow}`
}

/** Every Nth case from the Kth on, so that each slice has something of every runbook. */
export function slice<One>(all: readonly One[], part: { readonly k: number; readonly n: number }): One[] {
  return all.filter((_, index) => index % part.n === part.k - 1)
}
