import { quotaOf } from '../etcd-manifest.ts'
import { relieveCommand } from '../messages.ts'
import { humanBytes } from '../progress.ts'
import { bestKnownRevision } from '../survey.ts'
import { relieveByHand } from './by-hand.ts'
import { names, statusOf, withCondition, type NodePicture, type Picture } from './picture.ts'
import { lookAgain, type Evidence, type NextStep, type Trouble } from './trouble.ts'

/** etcd lays out a log segment of 64 MB at once (wal.SegmentSizeBytes) and ends when it can't. */
const SEGMENT_BYTES = 64_000_000
/** From here on a defragmentation is worth a person's time. */
const WORTH_FREEING_BYTES = 256 * 1024 ** 2
const NEARLY_FULL = 0.8

/** etcd's own limit on its database: writes are refused, reads go on. Needs a quorum to be mended. */
export function quotaReached(picture: Picture): Trouble | null {
  const alarms = picture.nodes.filter((node) =>
    statusOf(node)?.errors.some((error) => error.includes('NOSPACE')),
  )
  if (alarms.length === 0 || !picture.quorumSeen) return null
  const look = picture.looks.at(-1) ?? []
  const revision = bestKnownRevision(look)
  const full = picture.nodes.filter((node) => shareOfQuota(node) >= NEARLY_FULL)
  return {
    kind: 'no-space',
    nodes: (full.length === 0 ? alarms : full).map(({ name }) => name),
    summary: `etcd's alarm NOSPACE stands: ${picture.config.cluster} refuses writes until room is made and the alarm is cleared.`,
    evidence: picture.nodes.flatMap((node) => quotaEvidence(node)),
    next: [
      {
        on: null,
        say: 'Let Requorum make room: it saves a copy, asks you, compacts, defragments one member at a time with the leader last, and clears the alarm.',
        commands: [relieveCommand(picture.config.cluster)],
      },
      ...(revision === null ? [] : orByHand(relieveByHand(picture, revision))),
      lookAgain(picture.config.cluster, 'Then look again.'),
    ],
  }
}

/** The disk below etcd's data: with no room for its next log segment a member ends, and doesn't come back. */
export function diskFull(picture: Picture): Trouble | null {
  const full = picture.nodes.filter((node) => node.condition === 'out-of-space' || diskFact(node) !== null)
  if (full.length === 0) return null
  return {
    kind: 'no-space',
    nodes: full.map(({ name }) => name),
    summary: full.some((node) => diskFact(node) !== null)
      ? `The disk below etcd's data on ${names(full)} is full. Make room before anything else.`
      : `etcd on ${names(full)} ended for want of room on its disk. See that there is enough before anything else.`,
    evidence: full.flatMap((node): Evidence[] => {
      const disk = diskFact(node)
      return [
        ...(disk === null ? [] : [{ node: node.name, fact: disk }]),
        ...(node.condition === 'well' ? [] : [{ node: node.name, fact: node.fact }]),
      ]
    }),
    next: [
      ...full.map(({ name }): NextStep => ({
        on: name,
        say: `See what fills it, and make room; never in ${picture.config.etcd.dataDir}. Old copies in ${picture.config.backup.directory} may go once the store has them (requorum snapshots ${picture.config.cluster}).`,
        commands: [
          `df -h ${picture.config.etcd.dataDir} && df -i ${picture.config.etcd.dataDir}`,
          `du -xh --max-depth=2 "$(df --output=target ${picture.config.etcd.dataDir} | tail -n 1)" | sort -h | tail -n 20`,
        ],
      })),
      lookAgain(picture.config.cluster, 'The kubelet starts etcd again by itself. Then look again.'),
    ],
  }
}

function orByHand(steps: readonly NextStep[]): NextStep[] {
  return steps.map((step, at) => (at === 0 ? { ...step, say: `Or by hand: ${step.say}` } : step))
}

export function spaceFindings(picture: Picture): Evidence[] {
  return withCondition(picture, 'well', 'flapping').flatMap((node) => {
    const share = shareOfQuota(node)
    const full =
      share >= NEARLY_FULL ? `has ${Math.round(share * 100)} % of its quota (${quotaFact(node)})` : null
    const idle = idleBytes(node)
    const loose =
      idle >= WORTH_FREEING_BYTES
        ? `holds ${humanBytes(idle)} that nothing uses: ${relieveCommand(picture.config.cluster)} gives them back`
        : null
    const facts = [full, loose].filter((fact) => fact !== null)
    return facts.length === 0 ? [] : [{ node: node.name, fact: `its database ${facts.join('; it ')}` }]
  })
}

function quotaEvidence(node: NodePicture): Evidence[] {
  const status = statusOf(node)
  if (status === null) return [{ node: node.name, fact: node.fact }]
  const alarm = status.errors.map((error) => error.trim()).join(', ')
  return [{ node: node.name, fact: `${alarm === '' ? 'no alarm' : alarm}; ${quotaFact(node)}` }]
}

function quotaFact(node: NodePicture): string {
  const status = statusOf(node)
  if (status === null) return 'its database is unknown'
  const quota = quotaOf(node.seen?.etcdManifest ?? null)
  return `database ${humanBytes(status.dbSizeBytes)}, of which ${humanBytes(status.dbSizeInUseBytes)} in use; ${quota === null ? 'no quota' : `quota ${humanBytes(quota)}`}`
}

/** What a defragmentation gives back at once, where it is at least half of the file. */
function idleBytes(node: NodePicture): number {
  const status = statusOf(node)
  if (status === null) return 0
  const idle = status.dbSizeBytes - status.dbSizeInUseBytes
  return 2 * idle >= status.dbSizeBytes ? idle : 0
}

function shareOfQuota(node: NodePicture): number {
  return (statusOf(node)?.dbSizeBytes ?? 0) / (quotaOf(node.seen?.etcdManifest ?? null) ?? Infinity)
}

/** Why the disk counts as full, or null. */
function diskFact({ seen }: NodePicture): string | null {
  const disk = seen?.symptoms?.dataDisk
  if (disk === undefined || disk.sizeBytes === 0) return null
  if (disk.freeBytes < SEGMENT_BYTES) {
    return `${humanBytes(disk.freeBytes)} of ${humanBytes(disk.sizeBytes)} free below ${seen?.dataDir.path ?? ''}; etcd needs ${humanBytes(SEGMENT_BYTES)} for its next log segment`
  }
  return disk.inodes > 0 && disk.freeInodes === 0
    ? `no inode of ${disk.inodes} is free below ${seen?.dataDir.path ?? ''}`
    : null
}
