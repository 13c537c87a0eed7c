import { duration, type ClusterConfig } from './cluster-config.ts'
import { RequorumError } from './failures.ts'
import { reasonsAgainstFreeing } from './relief-plan.ts'
import { RECOVERIES } from './node-paths.ts'
import { digestOfWhole, type PlannedRecovery, type PlanStep } from './plan-step.ts'
import { humanSeconds } from './progress.ts'
import type { ProvedSnapshot } from './snapshot.ts'
import { isSpaceAlarm, reachedNodes, type NodeSurvey } from './survey.ts'
import { utcOfCompact, type PlanDigest } from './values.ts'

/** What lies on a node under a name that only recoveries give. */
export interface AsideFound {
  readonly path: string
  /** `inode:mtime`, by which it is known again. */
  readonly seen: string
  readonly bytes: number
  /** Why it is nothing to be removed, whatever its age: a link, a mount, the live data. Null where nothing is odd. */
  readonly odd: string | null
}

/** A recovery as a node knows it: the line of each mark that is there (recovery-record.ts), else null. */
export interface RecoveryMarks {
  readonly recovery: string
  readonly opened: string | null
  readonly removed: string | null
  readonly ended: string | null
}

export interface NodeAside {
  readonly node: string
  readonly dataDir: string
  readonly entries: readonly AsideFound[]
  readonly recoveries: readonly RecoveryMarks[]
}

/** One thing that was set aside, and what becomes of it. */
export interface JudgedAside extends AsideFound {
  readonly node: string
  readonly kind: 'data' | 'copy' | 'record'
  /** The recovery that it is from; null where no node knows one. */
  readonly recovery: string | null
  /** ISO 8601 in UTC: since when it is not needed, as far as names and marks tell. */
  readonly since: string
  /** Why it stays; null when it may go. */
  readonly keep: string | null
}

/**
 * What is removed, whole. The digest that people consent to is over this object: each path on each node, with the inode
 * and the time of change that were seen there. Sizes and ages are shown beside it and are not in it.
 */
export interface CleanUpPlan extends PlannedRecovery {
  readonly remove: PlanStep
  /** After all data of a recovery is gone everywhere: the journal and the manifests that were kept for its way back. */
  readonly forget: PlanStep
}

/** How old things have to be for a clean-up, in milliseconds; null when the input says nothing. @throws RequorumError `input-invalid` */
export function olderThanOf({ olderThan }: { readonly olderThan?: unknown }): number | null {
  if (olderThan === undefined) return null
  const read = duration.safeParse(olderThan)
  if (read.success) return read.data
  throw new RequorumError('input-invalid', {
    what: `"olderThan" of the input has to be ${read.error.issues[0]?.message ?? 'a duration'}. Nothing was touched.`,
    todo: 'Start it with an input like {"cluster":"prod"} or {"cluster":"prod","olderThan":"3d"}.',
  })
}

/** What a judgement goes by, besides what lies on the nodes. */
export interface CleanUpRules {
  readonly now: string
  readonly olderThanMs: number
  /** Newest first. */
  readonly proved: readonly ProvedSnapshot[]
  readonly survey: readonly NodeSurvey[]
}

const TIME = String.raw`\d{8}T\d{6}Z`
const RECOVERY = `${TIME}-[0-9a-f]{8}`

export function cleanUpDigest(plan: CleanUpPlan): PlanDigest {
  return digestOfWhole(plan)
}

/**
 * Why nothing may be removed now, empty when it may: every member of the cluster file has to be well. What was set aside
 * may be the last good copy of a cluster that is not.
 */
export function reasonsAgainstCleanUp(config: ClusterConfig, survey: readonly NodeSurvey[]): string[] {
  const full = reachedNodes(survey).flatMap(({ node, member }) =>
    member.answers && member.errors.some(isSpaceAlarm) ? [`${node} says that the alarm NOSPACE stands`] : [],
  )
  return [...reasonsAgainstFreeing(config, survey), ...full]
}

/**
 * What becomes of each thing that was set aside. It goes only when its recovery has ended, long enough ago, and a proved
 * snapshot of the cluster that lives now is newer: whatever else is unknown about it keeps it.
 */
export function judgeAside(
  config: ClusterConfig,
  own: string,
  found: readonly NodeAside[],
  rules: CleanUpRules,
): JudgedAside[] {
  const marks = mergedMarks(found)
  const judged = found.flatMap(({ node, dataDir, entries }) =>
    entries.flatMap((entry): JudgedAside[] => {
      const name = nameOf(entry.path, dataDir, config.backup.directory)
      if (name === null || name.recovery === own) return []
      const recovery = name.recovery ?? recoveryAt(name.time, name.late, marks)
      const of = recovery === null ? undefined : marks.get(recovery)
      // A copy or the old data is worth something until the cluster was open again, or the old member gone.
      const open = latest([name.time, timeOf(of?.opened), timeOf(of?.removed)])
      const since = latest([open, timeOf(of?.ended)])
      const keep =
        entry.odd ??
        (of === undefined
          ? 'no node knows the recovery that it is from'
          : of.ended === null
            ? `recovery ${of.recovery} has not ended`
            : (tooYoung(since, rules) ?? withoutSnapshot(open, rules)))
      return [{ ...entry, node, kind: name.kind, recovery, since, keep }]
    }),
  )
  // Manifests that were kept are of no use without the data, and the data is of none without them.
  const needed = new Set(
    judged.flatMap(({ kind, recovery, keep }) => (kind === 'record' || keep === null ? [] : [recovery])),
  )
  return judged.map((one) =>
    one.kind === 'record' && one.keep === null && needed.has(one.recovery)
      ? { ...one, keep: 'data of its recovery is kept' }
      : one,
  )
}

/** The plan for what was judged. Pure: the same paths, inodes and times of change give the same digest. */
export function planCleanUp(
  config: ClusterConfig,
  recovery: string,
  found: readonly NodeAside[],
  judged: readonly JudgedAside[],
): CleanUpPlan {
  const step = (title: string, wanted: (one: JudgedAside) => boolean): PlanStep => ({
    title,
    actions: found.flatMap(({ node, dataDir }) => {
      const items = judged
        .filter((one) => one.node === node && one.keep === null && wanted(one))
        .map(({ path, seen }) => ({ path, seen }))
        .sort((a, b) => (a.path < b.path ? -1 : 1))
      if (items.length === 0) return []
      return [{ node, action: { kind: 'remove-aside', dataDir, backups: config.backup.directory, items } }]
    }),
  })
  return {
    cluster: config.cluster,
    recovery,
    targets: config.nodes.map(({ name, address }) => ({ node: name, address })),
    remove: step('Remove what was set aside', ({ kind }) => kind !== 'record'),
    forget: step('Remove journals and manifests of those recoveries', ({ kind }) => kind === 'record'),
  }
}

export function removesNothing(plan: CleanUpPlan): boolean {
  return plan.remove.actions.length === 0 && plan.forget.actions.length === 0
}

interface AsideName {
  readonly kind: JudgedAside['kind']
  readonly time: string
  readonly recovery: string | null
  /** Its time is its own and not that of its recovery. */
  readonly late: boolean
}

/** What a path says by its name; null for what no recovery names so. A rest of an earlier removal counts as the whole. */
function nameOf(path: string, dataDir: string, backups: string): AsideName | null {
  const whole = path.replace(/\.removing$/, '')
  const rest = (prefix: string, pattern: string): RegExpExecArray | null =>
    whole.startsWith(prefix) ? new RegExp(`^${pattern}$`).exec(whole.slice(prefix.length)) : null
  const data = rest(`${dataDir}.`, `(corrupt|undone|restore|late|rolledback)\\.(${TIME})`)
  if (data !== null)
    return { kind: 'data', time: utcOfCompact(data[2] ?? ''), recovery: null, late: data[1] === 'late' }
  const copy = rest(`${backups}/`, `before-compaction-(${RECOVERY})\\.db`)?.[1]
  const record = rest(`${RECOVERIES}/`, `(${RECOVERY})`)?.[1]
  const recovery = copy ?? record
  if (recovery === undefined) return null
  return { kind: copy === undefined ? 'record' : 'copy', time: startOf(recovery), recovery, late: false }
}

/** What all nodes together know of each recovery: a node that was away when a mark was made lacks it. */
function mergedMarks(found: readonly NodeAside[]): Map<string, RecoveryMarks> {
  const merged = new Map<string, RecoveryMarks>()
  for (const one of found.flatMap(({ recoveries }) => recoveries)) {
    const known = merged.get(one.recovery)
    merged.set(one.recovery, {
      recovery: one.recovery,
      opened: laterLine(known?.opened, one.opened),
      removed: laterLine(known?.removed, one.removed),
      ended: laterLine(known?.ended, one.ended),
    })
  }
  return merged
}

/** The recovery that began at this time; for what was set aside later, the last that had begun by then. */
function recoveryAt(time: string, late: boolean, marks: ReadonlyMap<string, RecoveryMarks>): string | null {
  const names = [...marks.keys()].sort()
  return names.findLast((name) => (late ? startOf(name) <= time : startOf(name) === time)) ?? null
}

function tooYoung(since: string, { now, olderThanMs }: CleanUpRules): string | null {
  const age = Date.parse(now) - Date.parse(since)
  if (age >= olderThanMs) return null
  return `its recovery was done ${humanSeconds(Math.max(0, age / 1_000))} ago, and ${humanSeconds(olderThanMs / 1_000)} are asked for`
}

/** Law 1: the last copy of anything is not removed, and a backup of another cluster's life is none of this one. */
function withoutSnapshot(since: string, { proved, survey }: CleanUpRules): string | null {
  const living = reachedNodes(survey).flatMap(({ member }) => (member.answers ? [member.clusterId] : []))
  const newer = proved.some(
    ({ takenAt, etcd }) => Date.parse(takenAt) > Date.parse(since) && living.includes(etcd.clusterId),
  )
  return newer ? null : 'the store has no proved snapshot of this cluster that is newer'
}

function startOf(recovery: string): string {
  return utcOfCompact(recovery.slice(0, recovery.indexOf('-')))
}

/** The time with which the line of a mark begins; null without a line, or without a time in it. */
function timeOf(line: string | null | undefined): string | null {
  const at = Date.parse(line?.split(' ')[0] ?? '')
  return Number.isNaN(at) ? null : new Date(at).toISOString()
}

function laterLine(one: string | null | undefined, other: string | null): string | null {
  if (one === null || one === undefined) return other
  return other === null || other < one ? one : other
}

function latest(times: readonly (string | null)[]): string {
  return times.reduce<string>((last, time) => (time !== null && time > last ? time : last), '')
}
