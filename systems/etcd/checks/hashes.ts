import { judgeHashes } from '../../../domain/validation/etcd.ts'
import { fail } from '../../../domain/validation/finding.ts'
import type { HealthCheck } from '../../node/health-check.ts'
import { compareHashes } from '../keyspace-hash.ts'
import { everyMember } from './every-member.ts'

/** Members that answer are compared with each other; that one doesn't is for `members` to say. */
export const hashes: HealthCheck = async ({ nodes }) => {
  const seen = await everyMember(nodes)
  const answering = seen.filter(({ member }) => member.answers)
  if (answering.length === 0) return fail('no member answers')
  const compared = await compareHashes(answering.map(({ at }) => at))
  const silent = seen.filter(({ member }) => !member.answers)
  return judgeHashes(
    compared,
    silent.map(({ node }) => node),
  )
}
