import { fail, judged } from '../../../domain/validation/finding.ts'
import { inOneLine, type HealthCheck } from '../../node/health-check.ts'
import { probeWrite } from '../member.ts'
import { everyMember } from './every-member.ts'

/** Always the same key: what a killed run left behind is deleted by the next. Outside of `/registry`, so no object. */
const PROBE_KEY = 'requorum/probe-validate'

/** A write through every member that answers: each of them forwards to the leader, and clients ask any. */
export const writeProbe: HealthCheck = async ({ nodes }) => {
  const answering = (await everyMember(nodes)).filter(({ member }) => member.answers)
  if (answering.length === 0) return fail('no member answers')
  const wrong: string[] = []
  const took: string[] = []
  for (const { at, node } of answering) {
    const began = performance.now()
    try {
      await probeWrite(at, PROBE_KEY)
      took.push(`${node} in ${Math.round(performance.now() - began)} ms`)
    } catch (error) {
      wrong.push(`through ${node} none went: ${inOneLine(error)}`)
    }
  }
  return judged(`put and deleted a key of our own through ${took.join(', ')}`, { wrong })
}
