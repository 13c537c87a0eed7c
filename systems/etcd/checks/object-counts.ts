import { fail, skipped } from '../../../domain/validation/finding.ts'
import { judgeCounts } from '../../../domain/validation/object-counts.ts'
import type { HealthCheck } from '../../node/health-check.ts'
import { countKinds } from '../kind-counts.ts'
import { everyMember, withQuorum } from './every-member.ts'

export const objectCounts: HealthCheck = async ({ nodes, against, limitMs, watching }) => {
  if ('none' in against) return skipped(against.none)
  if ('skipped' in against.inventory) {
    return skipped(`${against.key} has no inventory: ${against.inventory.skipped}`)
  }
  const [asked] = withQuorum(await everyMember(nodes))
  if (asked === undefined) return fail('no member with a quorum behind it could be asked')
  const now = await countKinds(asked.at, against.revision, { timeoutMs: limitMs, signal: watching.signal })
  return judgeCounts(against, now)
}
