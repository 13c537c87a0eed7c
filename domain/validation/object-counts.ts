import type { Inventory } from '../snapshot.ts'
import { compareRevisions, type Revision } from '../values.ts'
import { counted, fail, judged, skipped, type Finding } from './finding.ts'

/** The snapshot that the counts are held against, as its manifest says; or why there is none. */
export type Comparison =
  | {
      readonly key: string
      readonly takenAt: string
      readonly revision: Revision
      readonly inventory: Inventory
    }
  | { readonly none: string }

/** What the cluster holds now, counted at one revision. */
export interface CountedNow {
  readonly revision: Revision
  /** By kind: how many there are, and how many of them were created after the snapshot. */
  readonly kinds: Readonly<Record<string, { readonly now: number; readonly created: number }>>
}

/** Come and go by the minute; nothing follows from their number. */
const EXCEPTED = new Set(['events', 'leases'])

/**
 * Made and deleted by controllers as pods come and go, or cleaned up by them when done. Names as they stand in
 * etcd's keys; those with a dot are of custom resources that networks and policies are known for.
 */
const COME_AND_GO = new Set([
  'pods',
  'replicasets',
  'controllerrevisions',
  'jobs',
  'endpointslices',
  'services/endpoints',
  'ipaddresses',
  'certificatesigningrequests',
  'volumeattachments',
  'csistoragecapacities',
  'resourceclaims',
  'resourceslices',
  'podtemplates',
  'cilium.io/ciliumendpoints',
  'cilium.io/ciliumidentities',
  'crd.projectcalico.org/ipamblocks',
  'crd.projectcalico.org/ipamhandles',
  'crd.projectcalico.org/blockaffinities',
  'wgpolicyk8s.io/policyreports',
])

/** Of the above, kinds of which a healthy cluster may well have none. */
const MAY_ALL_BE_GONE = new Set([
  'jobs',
  'controllerrevisions',
  'certificatesigningrequests',
  'volumeattachments',
  'resourceclaims',
  'resourceslices',
  'podtemplates',
  'wgpolicyk8s.io/policyreports',
])

/** From this many on, half of a kind gone is more than tidying up. */
const ENOUGH_TO_JUDGE = 10

interface Difference {
  readonly kind: string
  readonly then: number
  readonly now: number
  readonly created: number
  readonly deleted: number
}

/**
 * Counts of every kind against the snapshot's, each difference split into what was created and what was deleted
 * since. etcd itself tells which keys are younger than the snapshot, restored or not: a restore keeps the
 * create revisions, and raises those of what comes after it.
 *
 * What was created explains itself. What was deleted is ordinary for kinds that come and go, and for a person to
 * look at for all others; a kind that is gone altogether, or of which half is gone, is a loss. Of a kind with
 * a single object "gone altogether" says no more than that somebody deleted it.
 */
export function judgeCounts(against: Comparison, now: CountedNow): Finding {
  if ('none' in against) return skipped(against.none)
  const { inventory } = against
  if ('skipped' in inventory) return skipped(`${against.key} has no inventory: ${inventory.skipped}`)
  if (compareRevisions(now.revision, against.revision) < 0) {
    return fail(
      `the cluster is at revision ${now.revision}, before the snapshot's ${against.revision}: what ${against.key} holds is not all there`,
    )
  }

  const kinds = [...new Set([...Object.keys(inventory.kinds), ...Object.keys(now.kinds)])]
    .filter((kind) => !EXCEPTED.has(kind))
    .sort()
  const differences = kinds
    .map((kind): Difference => {
      const then = inventory.kinds[kind] ?? 0
      const { now: there, created } = now.kinds[kind] ?? { now: 0, created: 0 }
      return { kind, then, now: there, created, deleted: then + created - there }
    })
    .filter(({ created, deleted }) => created !== 0 || deleted !== 0)

  const wrong = differences.filter(isLoss).map(lossText)
  const doubtful = differences.filter((one) => !isLoss(one) && isDoubtful(one)).map(changeText)
  const explained = differences.filter((one) => !isLoss(one) && !isDoubtful(one)).map(changeText)
  const total = kinds.reduce((sum, kind) => sum + (now.kinds[kind]?.now ?? 0), 0)
  const good = [
    `${counted(total, 'object')} of ${counted(kinds.length, 'kind')} against ${against.key}`,
    explained.length === 0 ? 'none more, none fewer' : `since then ${explained.join(', ')}`,
    'events and leases excepted',
  ].join('; ')
  return judged(good, { wrong, doubtful })
}

function isLoss({ kind, then, now, deleted }: Difference): boolean {
  if (then > 1 && now === 0) return !MAY_ALL_BE_GONE.has(kind)
  return !COME_AND_GO.has(kind) && then >= ENOUGH_TO_JUDGE && deleted * 2 > then
}

function isDoubtful({ kind, then, now, deleted }: Difference): boolean {
  // More there than the snapshot and what came since can account for: the two are not of one history.
  if (deleted < 0) return true
  if (!COME_AND_GO.has(kind)) return deleted > 0
  return !MAY_ALL_BE_GONE.has(kind) && then >= ENOUGH_TO_JUDGE && now * 2 < then
}

function lossText({ kind, then, now }: Difference): string {
  return now === 0 ? `${kind}: all ${then} are gone` : `${kind}: ${then} then, ${now} now`
}

function changeText({ kind, created, deleted, then, now }: Difference): string {
  if (deleted < 0) return `${kind}: ${then} then, ${now} now, only ${created} of them younger`
  const parts = [
    ...(created > 0 ? [`${created} created`] : []),
    ...(deleted > 0 ? [`${deleted} deleted`] : []),
  ]
  return `${kind}: ${parts.join(', ')}`
}
