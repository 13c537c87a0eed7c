import { z } from 'zod'
import type { ClusterConfig } from './cluster-config.ts'
import { PAUSED_BY_RECOVERY } from './messages.ts'
import { humanSeconds } from './progress.ts'
import type { Attestation } from './rehearsal.ts'
import type { ProvedSnapshot } from './snapshot.ts'

/**
 * Whether a cluster could be restored tonight from something that is not old, and whether all that makes new snapshots
 * is still at work. Pure: the same facts at the same time give the same findings.
 */

export const FINDINGS = [
  'snapshot-old',
  'snapshot-missing',
  'rehearsal-old',
  'rehearsal-missing',
  'rehearsal-failed',
  'store-silent',
  'schedule-paused',
  'schedule-missing',
  'lock-left',
] as const

const findingSchema = z.object({
  what: z.enum(FINDINGS),
  evidence: z.string(),
  todo: z.string(),
})
/** One thing that is not as it has to be. */
export type Finding = z.infer<typeof findingSchema>

/** A lock that a recovery took on a node, and whether its run is still there. */
export interface SeenLock {
  readonly node: string
  /** Workflow ID and run ID of whoever took it. */
  readonly owner: string
  readonly since: string
  readonly alive: boolean
}

export type SeenStore =
  | {
      readonly newest: Pick<ProvedSnapshot, 'key' | 'takenAt'> | null
      /** When the oldest that is there was taken; null without any. */
      readonly oldestTakenAt: string | null
      /** Null where the cluster file asks for no rehearsals. */
      readonly rehearsals: readonly SeenRehearsal[] | null
    }
  /** Nobody can say how old the newest is, and nobody could restore it now. */
  | { readonly silent: string }

/** The backup schedule; null where there is none. */
export type SeenSchedule = { readonly paused: boolean; readonly note: string } | null

/** The findings that the store alone gives; nothing else has to be up to tell them. */
export function judgeStore(
  { cluster, freshness, store }: Pick<ClusterConfig, 'cluster' | 'freshness' | 'store'>,
  seen: SeenStore,
  now: Date,
): Finding[] {
  if ('silent' in seen) {
    return [
      {
        what: 'store-silent',
        evidence: `the store could not be read: ${seen.silent}`,
        todo: `See that the store answers: requorum snapshots ${cluster}`,
      },
    ]
  }
  const todo = `See why no backup succeeds: requorum schedule show ${cluster}; requorum backup now ${cluster} --wait`
  if (seen.newest === null) {
    const where = `s3://${store.bucket}/${store.prefix}`
    return [{ what: 'snapshot-missing', evidence: `no proved snapshot is in ${where}`, todo }]
  }
  const rehearsed =
    seen.rehearsals === null
      ? []
      : judgeRehearsals(cluster, freshness, seen.rehearsals, seen.oldestTakenAt ?? '', now)
  const age = now.getTime() - Date.parse(seen.newest.takenAt)
  return age <= freshness.proved
    ? rehearsed
    : [{ what: 'snapshot-old', evidence: ageOfNewest(seen.newest, freshness, now), todo }, ...rehearsed]
}

/** A snapshot that nobody restored is a hope; one that could not be restored is less. */
function judgeRehearsals(
  cluster: string,
  freshness: ClusterConfig['freshness'],
  rehearsals: readonly SeenRehearsal[],
  oldestTakenAt: string,
  now: Date,
): Finding[] {
  const todo = `Rehearse it now: requorum rehearse ${cluster}`
  const { failed, last } = whatRehearsalsSay(rehearsals)
  if (failed !== null) {
    const evidence = `${failed.key} could not be restored when it was rehearsed at ${failed.rehearsedAt}`
    return [{ what: 'rehearsal-failed', evidence, todo }]
  }
  if (last === null) {
    // A cluster that was only just taken in has its first rehearsal before it.
    const young = now.getTime() - Date.parse(oldestTakenAt) <= freshness.rehearsed
    return young ? [] : [{ what: 'rehearsal-missing', evidence: 'no snapshot was ever rehearsed', todo }]
  }
  const seconds = (now.getTime() - Date.parse(last.rehearsedAt)) / 1_000
  const limit = freshness.rehearsed / 1_000
  if (seconds <= limit) return []
  const evidence = `the last rehearsal, of ${last.key}, was ${humanSeconds(seconds)} ago (limit ${humanSeconds(limit)})`
  return [{ what: 'rehearsal-old', evidence, todo }]
}

type SeenRehearsal = Pick<Attestation, 'key' | 'rehearsedAt' | 'outcome'>

/**
 * The rehearsal of the newest snapshot that was tried, when it failed; and the last one that succeeded. An older snapshot
 * that somebody tried by name says nothing about the one that a restore would take.
 */
export function whatRehearsalsSay(rehearsals: readonly SeenRehearsal[]): {
  readonly failed: SeenRehearsal | null
  readonly last: SeenRehearsal | null
} {
  const newest = rehearsals.toSorted(byKeyThenTime).at(-1)
  const restored = rehearsals
    .filter(({ outcome }) => outcome === 'restored')
    .toSorted((one, other) => (one.rehearsedAt < other.rehearsedAt ? -1 : 1))
  return { failed: newest?.outcome === 'failed' ? newest : null, last: restored.at(-1) ?? null }
}

/** Keys carry the time of their snapshot. */
function byKeyThenTime(
  one: Pick<Attestation, 'key' | 'rehearsedAt'>,
  other: Pick<Attestation, 'key' | 'rehearsedAt'>,
): number {
  if (one.key !== other.key) return one.key < other.key ? -1 : 1
  return one.rehearsedAt < other.rehearsedAt ? -1 : 1
}

/** `the newest proved snapshot, daily/…, is 2.1 h old (limit 7.0 h)`. */
export function ageOfNewest(
  { key, takenAt }: Pick<ProvedSnapshot, 'key' | 'takenAt'>,
  { proved }: Pick<ClusterConfig['freshness'], 'proved'>,
  now: Date,
): string {
  const age = (now.getTime() - Date.parse(takenAt)) / 1_000
  return `the newest proved snapshot, ${key}, is ${humanSeconds(age)} old (limit ${humanSeconds(proved / 1_000)})`
}

/** A recovery that lives pauses the schedule and holds its nodes, and that is as it has to be. */
export function judgeUpkeep(cluster: string, schedule: SeenSchedule, locks: readonly SeenLock[]): Finding[] {
  const alive = locks.some((lock) => lock.alive)
  const adopt = `If its run is gone for good: requorum adopt ${cluster}`
  const byRecovery = schedule?.note.startsWith(PAUSED_BY_RECOVERY) === true
  return [
    ...(schedule === null
      ? [
          {
            what: 'schedule-missing' as const,
            evidence: 'there is no backup schedule',
            todo: `Make it: requorum schedule apply ${cluster}`,
          },
        ]
      : schedule.paused && !(byRecovery && alive)
        ? [
            {
              what: 'schedule-paused' as const,
              evidence: `the backup schedule is paused: ${schedule.note || 'nobody wrote why'}`,
              todo: byRecovery
                ? `No recovery is at work that would let it go on. ${adopt}`
                : `When the reason is gone: temporal schedule toggle --unpause --schedule-id backup-${cluster}`,
            },
          ]
        : []),
    ...locks
      .filter((lock) => !lock.alive)
      .map(({ node, owner, since }) => ({
        what: 'lock-left' as const,
        evidence: `${node} is held since ${since} by ${owner}, which does not run`,
        todo: adopt,
      })),
  ]
}

const alarmSchema = z.object({
  /** The same from the first finding until none is left: what a ticket system tells its incidents apart by. */
  key: z.string(),
  cluster: z.string(),
  since: z.string(),
  findings: z.array(findingSchema),
})
/** What is raised once and cleared once, however many looks lie between. */
export type Alarm = z.infer<typeof alarmSchema>

export interface FreshnessVerdict {
  readonly outcome: 'fresh' | 'stale'
  readonly cluster: string
  readonly newest: Pick<ProvedSnapshot, 'key' | 'takenAt'> | null
  /** What is open now; null when all is well. */
  readonly alarm: Alarm | null
  /** What this look changed. */
  readonly change: 'raised' | 'cleared' | 'unchanged'
  readonly warnings: readonly string[]
}

/** @param before - the alarm that the look before left open */
export function alarmOf(
  cluster: string,
  before: Alarm | null,
  findings: readonly Finding[],
  now: string,
): Pick<FreshnessVerdict, 'outcome' | 'alarm' | 'change'> {
  if (findings.length === 0)
    return { outcome: 'fresh', alarm: null, change: before === null ? 'unchanged' : 'cleared' }
  const since = before?.since ?? now
  return {
    outcome: 'stale',
    alarm: { key: `requorum/freshness/${cluster}`, cluster, since, findings: [...findings] },
    change: before === null ? 'raised' : 'unchanged',
  }
}

/** The alarm in what an earlier look ended with; whatever else is there counts as none. */
export function previousAlarm(result: unknown): Alarm | null {
  const read = z.object({ alarm: alarmSchema.nullable() }).safeParse(result)
  return read.success ? read.data.alarm : null
}
