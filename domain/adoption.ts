import { RequorumError } from './failures.ts'
import { shortDigest } from './consent.ts'
import { journalPath } from './node-paths.ts'
import { digestOfWhole } from './plan-step.ts'
import { humanSeconds, secondsBetween } from './progress.ts'
import type { Mark, RecordedRecovery, RecordedRunbook } from './recovery-record.ts'
import { reachedNodes, type NodeSurvey } from './survey.ts'
import { planDigest, type PlanDigest } from './values.ts'

/** What a node knows of recoveries. */
export interface NodeRecords {
  readonly node: string
  readonly recorded: readonly RecordedRecovery[]
}

/** A recovery that began, and of which no node knows that it has ended. */
export interface Unfinished {
  readonly recovery: string
  readonly runbook: RecordedRunbook
  readonly owner: string
  readonly startedAt: string
  readonly digest: PlanDigest
  /** A mark counts when one node has it: each is made on all nodes before what it stands for, or after it. */
  readonly marks: Readonly<Partial<Record<Mark, string>>>
  readonly nodes: readonly { readonly node: string; readonly lastDone: string }[]
}

/**
 * How an unfinished recovery is brought to its end: `go-on` with its plan, `undo` it, or, where nothing was begun,
 * `let-go` of what its run held.
 */
export type Way = 'go-on' | 'undo' | 'let-go'

/** What adopting does; the digest that people consent to is over this object. */
export interface Adoption {
  readonly cluster: string
  readonly way: Way
  readonly recovery: string | null
  readonly runbook: RecordedRunbook | null
  /** The recovery's own plan, to the digest that was approved for it. */
  readonly plan: PlanDigest | null
  /** Locks that are taken over, by node, from whoever holds them now. */
  readonly locks: readonly { readonly node: string; readonly owner: string }[]
}

export function adoptionDigest(adoption: Adoption): PlanDigest {
  return digestOfWhole(adoption)
}

/**
 * The newest recovery that nobody has ended.
 *
 * @throws RequorumError `record-unreadable` when nodes have different plans under one name
 */
export function newestUnfinished(records: readonly NodeRecords[]): Unfinished | null {
  const known = records.flatMap(({ node, recorded }) => recorded.map((one) => ({ node, ...one })))
  const ended = new Set(
    known.filter(({ marks }) => marks.ended !== undefined).map(({ recovery }) => recovery),
  )
  const open = known.filter(({ recovery }) => !ended.has(recovery))
  const newest = open
    .map(({ recovery }) => recovery)
    .sort()
    .at(-1)
  const mine = open.filter(({ recovery }) => recovery === newest)
  const [first] = mine
  if (first === undefined) return null
  const other = mine.find(({ digest }) => digest !== first.digest)
  if (other !== undefined) {
    throw new RequorumError('record-unreadable', {
      what: `${first.node} and ${other.node} have different plans of recovery ${first.recovery}. Nothing was touched.`,
      todo: `Go on by hand, as ${journalPath(first.recovery)} on each node says.`,
    })
  }
  const { recovery, runbook, owner, startedAt } = first
  return {
    ...{ recovery, runbook, owner, startedAt, digest: planDigest.parse(first.digest) },
    marks: mine.reduce<Unfinished['marks']>((all, { marks }) => ({ ...all, ...marks }), {}),
    nodes: mine.map(({ node, lastDone }) => ({ node, lastDone })),
  }
}

/**
 * What there is to adopt, and which way it goes. Once clients could write, or the old member is removed, there is only
 * forward; once the way back has begun, only back.
 *
 * @param undo - whether a person wants it undone
 * @throws RequorumError `nothing-to-adopt`, `input-invalid`; nothing was touched
 */
export function planAdoption(
  cluster: string,
  survey: readonly NodeSurvey[],
  found: Unfinished | null,
  undo: boolean,
): Adoption {
  const locks = reachedNodes(survey).flatMap(({ node, lock }) =>
    lock === null ? [] : [{ node, owner: lock.owner }],
  )
  if (found === null) {
    if (locks.length > 0) {
      return { cluster, way: 'let-go', recovery: null, runbook: null, plan: null, locks }
    }
    throw new RequorumError('nothing-to-adopt', {
      what: `No recovery of ${cluster} was left unfinished, and no node is held. Nothing was touched.`,
      todo: `See how the cluster is: requorum diagnose ${cluster}`,
    })
  }
  const { recovery, runbook, digest: plan, marks } = found
  const adoption = { cluster, recovery, runbook, plan, locks }
  if (marks.undoing !== undefined) return { ...adoption, way: 'undo' }
  if (undo && (marks.opened ?? marks.removed) !== undefined) {
    throw new RequorumError('input-invalid', {
      what: `Recovery ${recovery} of ${cluster} can't be undone any more. Nothing was touched.`,
      why:
        marks.opened === undefined
          ? `the old member was removed ${marks.removed ?? ''}; its data can never rejoin`
          : `clients could write since ${marks.opened}`,
      todo: `Go on with it: requorum adopt ${cluster}`,
    })
  }
  return { ...adoption, way: undo ? 'undo' : 'go-on' }
}

const WAYS: Readonly<Record<Way, string>> = {
  'go-on': 'goes on with',
  undo: 'undoes',
  'let-go': 'lets go of',
}

/** What a person reads before consenting: whose work this was, how far it came, and what is taken from whom. */
export function adoptionMarkdown(
  adoption: Adoption,
  found: Unfinished | null,
  survey: readonly NodeSurvey[],
  now: string,
): string {
  const age = (since: string): string => `${humanSeconds(Math.max(0, secondsBetween(since, now)))} ago`
  const held = reachedNodes(survey).flatMap(({ node, lock }) =>
    lock === null ? [] : [`- ${node} is held by ${lock.owner} since ${lock.since} (${age(lock.since)}).`],
  )
  const what = found === null ? 'what a dead run held' : `${found.runbook} ${found.recovery}`
  return [
    `**Adopts ${adoption.cluster}: ${WAYS[adoption.way]} ${what}** (plan ${shortDigest(adoptionDigest(adoption))})`,
    '',
    ...(found === null
      ? ['- Nothing had been begun on the nodes. The locks are released, and the backup schedule goes on.']
      : [
          `- It was begun ${found.startedAt} (${age(found.startedAt)}) by ${found.owner}, with plan ${shortDigest(found.digest)}.`,
          ...(found.marks.opened === undefined
            ? []
            : [`- **Clients can write since ${found.marks.opened}.**`]),
          ...(found.marks.removed === undefined
            ? []
            : [`- The old member was removed: ${found.marks.removed}.`]),
          ...(found.marks.undoing === undefined
            ? []
            : ['- Its way back has begun, and is brought to its end.']),
          ...found.nodes.map(
            ({ node, lastDone }) => `- ${node}, last: ${lastDone === '' ? 'nothing yet' : lastDone}.`,
          ),
          `- Every step that was done is found again and not repeated; the plan is in \`${journalPath(found.recovery)}\` on each node.`,
        ]),
    ...held,
    '',
    '**Whoever approves says that the run which began this is dead**: terminated, or its engine is lost and will not come back. Two at work on one cluster would destroy it.',
  ].join('\n')
}
