import { judgeMembers } from '../../../domain/validation/etcd.ts'
import type { HealthCheck } from '../../node/health-check.ts'
import { everyMember } from './every-member.ts'

export const members: HealthCheck = async ({ config, nodes, without }) =>
  judgeMembers(config.nodes, await everyMember(nodes), without)
