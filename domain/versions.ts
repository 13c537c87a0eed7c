import { staticPodImage } from './static-pod-flags.ts'
import { reachedNodes, type NodeSurvey, type ReachedNode } from './survey.ts'

/**
 * Which etcd and which etcdutl may restore a snapshot. etcd's maintainers want the same minor throughout
 * (etcd-io/etcd#13070); where the rules go further, a person is told.
 *
 * - **An etcd of an older minor: never.** Since 3.6 a server doesn't start on the storage version of a newer one
 *   (CHANGELOG-3.6, "will no longer start on data dir created by newer versions"; newPlan in server/storage/schema).
 *   3.5 does: 3.5.16 came up on a snapshot of 3.6.14 without a word (tried), with a storage version in it that it
 *   doesn't know. Nothing but this rule stands in the way there; etcd's own ways down are `etcdctl downgrade` and
 *   `etcdutl migrate`.
 * - **One minor newer is an upgrade, and allowed as such.** "Upgrades that skip a minor version are not supported and
 *   will likely fail" (etcd.io/docs/v3.6/upgrades/upgrading-etcd); one step is what every upgraded member does with
 *   its data directory (3.6.14 on a snapshot of 3.5.16: tried).
 * - **etcdutl** has to know `--bump-revision` and `--mark-compacted`: 3.5.10 (CHANGELOG-3.5, etcd-io/etcd#16165) and
 *   every 3.6. It may not be older than the snapshot, whose buckets it rewrites. It may be one minor newer than the
 *   etcd that is started (3.6.14 for 3.5.16: tried): up to 3.7 it writes what older ones boot from
 *   (GetMembershipInfoInV2Format in etcdutl/snapshot/v3_snapshot.go), and no longer in what comes after.
 * - **Nodes may differ by one minor**: that is a cluster in the middle of an upgrade.
 */
export interface VersionTrouble {
  readonly node: string
  readonly what: string
  readonly todo: string
}

export interface VersionJudgement {
  /** Each of them forbids the restore. */
  readonly refusals: readonly VersionTrouble[]
  /** What a person should know before saying yes. */
  readonly warnings: readonly string[]
}

interface Version {
  readonly major: number
  readonly minor: number
  readonly patch: number
}

/** The first with `--bump-revision` and `--mark-compacted`. */
const FIRST_WITH_BUMP: Version = { major: 3, minor: 5, patch: 10 }

/** `3.5.16` of `3.5.16`, `v3.5.16`, `3.6.0-rc.1` and `3.5.16-0` as image tags have it; null for anything else. */
export function readVersion(text: string): Version | null {
  const read = /^v?(\d+)\.(\d+)\.(\d+)(?![\d.])/.exec(text.trim())
  return read === null ? null : { major: Number(read[1]), minor: Number(read[2]), patch: Number(read[3]) }
}

/** What the restore would run on a node, as far as it is known there. */
export interface NodeVersions {
  readonly node: string
  readonly etcdutl: string | null
  /** Of the etcd that the manifest starts: by its image's tag, else by the member that runs from it. */
  readonly etcd: string | null
}

export function versionsOn({ node, tools, etcdManifest, member }: ReachedNode): NodeVersions {
  const image = etcdManifest === null ? null : staticPodImage(etcdManifest)
  const tag = image === null ? '' : (/:([^:/@]+)(?:@.*)?$/.exec(image)?.[1] ?? '')
  const running = member.answers ? member.version : null
  return { node, etcdutl: tools.etcdutl, etcd: readVersion(tag) === null ? running : tag }
}

/** Holds a snapshot against what would restore and serve it on every node that was reached. Pure. */
export function judgeVersions(
  snapshot: { readonly key: string; readonly etcd: { readonly version: string } },
  survey: readonly NodeSurvey[],
): VersionJudgement {
  const of = readVersion(snapshot.etcd.version)
  const nodes = reachedNodes(survey).map(versionsOn)
  const refusals = nodes.flatMap((node) => refusalsOf(node, of))
  const warnings = [
    ...(of === null
      ? [`${snapshot.key} doesn't say which etcd it is of, so whether its version fits was not checked`]
      : nodes.flatMap((node) => warningsOf(node, of))),
    ...differences(nodes),
  ]
  return { refusals, warnings }
}

function refusalsOf({ node, etcd, etcdutl }: NodeVersions, snapshot: Version | null): VersionTrouble[] {
  const tool = readVersion(etcdutl ?? '')
  const server = readVersion(etcd ?? '')
  const troubles: VersionTrouble[] = []
  const refuse = (what: string, todo: string): void => void troubles.push({ node, what, todo })

  if (tool !== null && isBefore(tool, FIRST_WITH_BUMP)) {
    refuse(
      `etcdutl ${text(tool)} doesn't know --bump-revision, without which clients would see revisions twice`,
      `install etcdutl ${text(FIRST_WITH_BUMP)} or newer`,
    )
  }
  if (tool !== null && server !== null && stepsFrom(server, tool) > 1) {
    refuse(
      `etcdutl ${text(tool)} makes data directories for a newer etcd than ${text(server)}, which would be started on it`,
      `install etcdutl ${minor(server)}`,
    )
  }
  if (snapshot === null) return troubles
  if (tool !== null && stepsFrom(snapshot, tool) < 0) {
    refuse(
      `etcdutl ${text(tool)} is older than etcd ${text(snapshot)}, of which the snapshot is`,
      `install etcdutl ${minor(snapshot)}`,
    )
  }
  if (server === null) return troubles
  if (stepsFrom(snapshot, server) < 0) {
    refuse(
      `etcd ${text(server)} is of an older minor than the snapshot, ${text(snapshot)}, and etcd has no way down but its own downgrade`,
      `put the image of etcd ${minor(snapshot)} into etcd.yaml, or take a snapshot of etcd ${minor(server)}`,
    )
  }
  if (stepsFrom(snapshot, server) > 1) {
    refuse(
      `etcd ${text(server)} is more than one minor newer than the snapshot's ${text(snapshot)}, and etcd upgrades one minor at a time`,
      `put the image of etcd ${minor(snapshot)} or ${minor(next(snapshot))} into etcd.yaml, or take a newer snapshot`,
    )
  }
  return troubles
}

function warningsOf({ node, etcd, etcdutl }: NodeVersions, snapshot: Version): string[] {
  const tool = readVersion(etcdutl ?? '')
  const server = readVersion(etcd ?? '')
  if (server === null) {
    return [`${node}: which version of etcd its manifest starts is not known, so it was not held against`]
  }
  return [
    ...(tool === null && etcdutl !== null
      ? [`${node}: the version of etcdutl, "${etcdutl.slice(0, 40)}", says nothing`]
      : []),
    ...(stepsFrom(snapshot, server) === 1
      ? [
          `${node}: the snapshot is of etcd ${text(snapshot)} and etcd ${text(server)} is started on it: that is an upgrade, and the older one can't be started on it afterwards`,
        ]
      : []),
    ...(tool !== null && stepsFrom(server, tool) === 1
      ? [`${node}: etcdutl ${text(tool)} is a minor newer than etcd ${text(server)}`]
      : []),
  ]
}

function differences(nodes: readonly NodeVersions[]): string[] {
  const known = nodes.flatMap(({ node, etcd }) => {
    const version = readVersion(etcd ?? '')
    return version === null ? [] : [{ node, version: text(version) }]
  })
  if (new Set(known.map(({ version }) => version)).size < 2) return []
  return [
    `the nodes start different versions of etcd (${known.map(({ node, version }) => `${node} ${version}`).join(', ')}): bring them to one version afterwards`,
  ]
}

/** How many minors `to` is ahead of `from`; another major is out of reach either way. */
function stepsFrom(from: Version, to: Version): number {
  if (from.major !== to.major) return to.major < from.major ? -Infinity : Infinity
  return to.minor - from.minor
}

function isBefore(one: Version, other: Version): boolean {
  const steps = stepsFrom(other, one)
  return steps === 0 ? one.patch < other.patch : steps < 0
}

function next({ major, minor: step }: Version): Version {
  return { major, minor: step + 1, patch: 0 }
}

function text({ major, minor: step, patch }: Version): string {
  return `${major}.${step}.${patch}`
}

function minor({ major, minor: step }: Version): string {
  return `${major}.${step}`
}
