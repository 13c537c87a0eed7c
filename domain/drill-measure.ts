import { secondsBetween } from './progress.ts'
import type { Revision } from './values.ts'
import { check, type Check, type RestoreVerdict } from './verdict.ts'

/** A key of the drill's own that etcd acknowledged: by those that are gone afterwards the loss is measured. */
export interface Marker {
  readonly key: string
  readonly at: string
  readonly revision: Revision
}

/** What was lost of what etcd had acknowledged. */
export interface MeasuredLoss {
  /** From the first acknowledged marker that is gone to the moment of breaking; 0 when none is gone. */
  readonly seconds: number
  /** From that marker's revision to the last acknowledged one's. */
  readonly revisions: string
  readonly markersLost: number
  readonly markersWritten: number
}

/** @param there - keys that are in the keyspace after the recovery */
export function measureLoss(
  written: readonly Marker[],
  there: readonly string[],
  brokenAt: string,
): MeasuredLoss {
  const byTime = written.toSorted((a, b) => (BigInt(a.revision) < BigInt(b.revision) ? -1 : 1))
  const lost = byTime.filter(({ key }) => !there.includes(key))
  const [first] = lost
  const last = byTime.at(-1)
  return {
    seconds: first === undefined ? 0 : round(secondsBetween(first.at, brokenAt)),
    revisions:
      first === undefined || last === undefined
        ? '0'
        : (BigInt(last.revision) - BigInt(first.revision) + 1n).toString(),
    markersLost: lost.length,
    markersWritten: written.length,
  }
}

/** A time that passed, with and without the waiting for people in it; seconds. */
export interface MeasuredTime {
  readonly seconds: number
  readonly withoutWaiting: number
}

/** What the child's own steps say about its waiting for people. */
type Steps = RestoreVerdict['steps']

/** @param until - null when no write was seen */
export function timeToWrite(
  brokenAt: string,
  until: string | null,
  steps: Steps,
  runbook: 'restoreQuorum' | 'replaceMember',
): MeasuredTime | null {
  if (until === null) return null
  // Writes go on while a member is replaced, whoever is waited for; after a restore "accept" is asked when they do.
  const waited = runbook === 'restoreQuorum' ? waitedAt(steps, (name) => name !== 'accept') : 0
  return time(secondsBetween(brokenAt, until), waited)
}

/** Until the recovery was over: every member in its place and validated. */
export function timeToEnd(brokenAt: string, endedAt: string, steps: Steps): MeasuredTime {
  return time(
    secondsBetween(brokenAt, endedAt),
    waitedAt(steps, () => true),
  )
}

function time(seconds: number, waited: number): MeasuredTime {
  return { seconds: round(seconds), withoutWaiting: round(seconds - waited) }
}

function waitedAt(steps: Steps, counts: (checkpoint: string) => boolean): number {
  return steps
    .filter(({ title }) => title.startsWith(CHECKPOINT) && counts(title.slice(CHECKPOINT.length)))
    .reduce((sum, { seconds }) => sum + seconds, 0)
}

const CHECKPOINT = 'Checkpoint: '

/** What has to be true of any recovery, by the markers alone. */
export function lossChecks(
  runbook: 'restoreQuorum' | 'replaceMember',
  before: readonly Marker[],
  written: readonly Marker[],
  there: readonly string[],
): Check[] {
  const gone = (markers: readonly Marker[]) => markers.filter(({ key }) => !there.includes(key))
  const keep = runbook === 'restoreQuorum' ? before : [...before, ...written]
  const lost = gone(keep)
  return [
    check(
      runbook === 'restoreQuorum'
        ? 'what was written before the backup is there'
        : 'every acknowledged write is there',
      lost.length === 0,
      `${keep.length - lost.length} of ${keep.length} markers`,
    ),
  ]
}

function round(seconds: number): number {
  return Math.round(Math.max(0, seconds) * 10) / 10
}
