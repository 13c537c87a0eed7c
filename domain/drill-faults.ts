/** The recoveries that a drill can rehearse. */
export const DRILL_RUNBOOKS = ['restoreQuorum', 'replaceMember'] as const
export type DrillRunbook = (typeof DRILL_RUNBOOKS)[number]

export const DRILL_FAULT_NAMES = ['lose-quorum', 'lose-all', 'lose-member', 'lose-leader'] as const
export type DrillFault = (typeof DRILL_FAULT_NAMES)[number]

/**
 * What a drill can break, each for one runbook; the first of a runbook is the one that is taken when nobody names any.
 *
 * All of them lose data in the same way: etcd is stopped, its data directory is set aside whole, and a log that nobody
 * can read is put in its place, on which etcd is started. An empty directory would not do: a member that comes back
 * with one takes everything from a survivor again, under its old ID and with a vote.
 */
export const DRILL_FAULTS: Readonly<
  Record<DrillFault, { readonly runbook: DrillRunbook; readonly about: string }>
> = {
  'lose-quorum': {
    runbook: 'restoreQuorum',
    about: 'a majority of the members, the last ones of the cluster file, loses its data',
  },
  'lose-all': { runbook: 'restoreQuorum', about: 'every member loses its data' },
  'lose-member': { runbook: 'replaceMember', about: 'one follower loses its data' },
  'lose-leader': { runbook: 'replaceMember', about: 'the leader loses its data' },
}

export function faultsOf(runbook: DrillRunbook): DrillFault[] {
  return DRILL_FAULT_NAMES.filter((name) => DRILL_FAULTS[name].runbook === runbook)
}
