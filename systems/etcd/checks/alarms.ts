import { judgeAlarms } from '../../../domain/validation/etcd.ts'
import { fail } from '../../../domain/validation/finding.ts'
import type { HealthCheck } from '../../node/health-check.ts'
import { readAlarms } from '../member.ts'
import { everyMember, withQuorum } from './every-member.ts'

export const alarms: HealthCheck = async ({ nodes }) => {
  const seen = await everyMember(nodes)
  const [asked] = withQuorum(seen)
  if (asked === undefined) return fail('no member with a quorum behind it could be asked')
  return judgeAlarms(await readAlarms(asked.at), seen)
}
