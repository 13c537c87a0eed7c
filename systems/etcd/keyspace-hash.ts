import type { ControlPlaneNode } from '../node/control-plane-node.ts'
import { readHash, readMember } from './member.ts'

const POLL_MS = 500
const LOOKS = 20

/**
 * The members' hashes of the keyspace at one revision that all of them have.
 *
 * Compaction runs on each member in its own time, and hashes compare at one compact revision only; a few looks
 * are given to members that are between the two.
 *
 * @throws RequorumError `etcd-unavailable` when a member doesn't tell its hash.
 */
export async function compareHashes(
  nodes: readonly ControlPlaneNode[],
): Promise<{ equal: boolean; evidence: string }> {
  let evidence = ''
  for (let attempt = 0; attempt < LOOKS; attempt += 1) {
    const members = await Promise.all(nodes.map(readMember))
    const revisions = members.flatMap((member) => (member.answers ? [BigInt(member.revision)] : []))
    const shared = revisions.reduce((low, next) => (next < low ? next : low), revisions[0] ?? 0n)
    const member = members.find((one) => one.answers && BigInt(one.revision) === shared)
    if (!member?.answers) return { equal: false, evidence: 'no member answers' }
    const hashes = await Promise.all(nodes.map((at) => readHash(at, member.revision)))
    evidence = hashes
      .map((one, index) => `${nodes[index]?.node.name ?? ''} ${one.hash.toString(16)}`)
      .join(', ')
    const compact = new Set(hashes.map((one) => one.compactRevision))
    if (compact.size === 1) {
      return {
        equal: new Set(hashes.map((one) => one.hash)).size === 1,
        evidence: `${evidence} at revision ${member.revision}`,
      }
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  return { equal: false, evidence: `members stay at different compact revisions: ${evidence}` }
}
