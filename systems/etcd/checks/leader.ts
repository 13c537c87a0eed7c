import { judgeLeader } from '../../../domain/validation/etcd.ts'
import type { HealthCheck } from '../../node/health-check.ts'
import { everyMember } from './every-member.ts'

export const leader: HealthCheck = async ({ nodes }) => judgeLeader(await everyMember(nodes))
