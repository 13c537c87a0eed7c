import type { MemberSeen } from '../../../domain/validation/etcd.ts'
import type { ControlPlaneNode } from '../../node/control-plane-node.ts'
import { inOneLine } from '../../node/health-check.ts'
import { readMember } from '../member.ts'

export type MemberAt = MemberSeen & { readonly at: ControlPlaneNode }

/** What the member of every node says; a node that can't be reached says why. */
export function everyMember(nodes: readonly ControlPlaneNode[]): Promise<MemberAt[]> {
  return Promise.all(
    nodes.map(async (at) => ({
      at,
      node: at.node.name,
      member: await readMember(at).catch((error: unknown) => ({
        answers: false as const,
        reason: inOneLine(error),
      })),
    })),
  )
}

/** Those behind which a quorum stands: they can be asked for what the whole cluster holds. */
export function withQuorum(seen: readonly MemberAt[]): MemberAt[] {
  return seen.filter(({ member }) => member.answers && member.healthy)
}
