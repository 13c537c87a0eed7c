import assert from 'node:assert/strict'
import { afterEach, type TestContext } from 'node:test'
import { endOf, type Ended } from '../../lab/operator.ts'
import { recoveryWorkflowId, type ReplaceRequest } from '../../domain/messages.ts'
import type { ReplaceVerdict } from '../../domain/verdict.ts'
import { ALL_VOTE, clusterIds, members, until } from './members.ts'
import type { OwnLab } from './use-lab.ts'

/** What the tests of a replacement do again and again, on the lab that is theirs. */
export function replacementsOn(own: () => OwnLab) {
  const end = (): Promise<Ended<ReplaceVerdict>> => {
    const { lab, operator } = own()
    return endOf<ReplaceVerdict>(operator.client.workflow.getHandle(recoveryWorkflowId(lab.name)))
  }

  /** Starts a replacement of this node's member, or of whatever is found, and approves its plan. */
  const consented = async (
    wanted: string | Omit<ReplaceRequest, 'cluster'> = {},
  ): Promise<() => Promise<Ended<ReplaceVerdict>>> => {
    const { operator } = own()
    await operator.startReplacement(typeof wanted === 'string' ? { node: wanted } : wanted)
    const waiting = await operator.untilCheckpoint('replace')
    if (waiting === undefined) throw new Error(`It ended before it asked: ${JSON.stringify(await end())}`)
    await operator.decide(waiting, 'approve')
    return end
  }
  return { end, consented }
}

export function replaced(ended: Ended<ReplaceVerdict>, t: TestContext): ReplaceVerdict {
  assert.ok('verdict' in ended, JSON.stringify(ended))
  const { verdict } = ended
  t.diagnostic(verdict.steps.map(({ title, seconds }) => `${title} ${seconds} s`).join('; '))
  assert.equal(verdict.outcome, 'replaced')
  assert.deepEqual(
    verdict.checks.filter((one) => one.verdict === 'fail'),
    [],
  )
  return verdict
}

/** Whatever a test did, the next one starts with three voters of one cluster. */
export function threeVotersAfterEach(own: () => OwnLab): void {
  afterEach(async () => {
    const { lab } = own()
    await until('three voters', async () => (await members(lab)).join() === ALL_VOTE.join())
    await until('one cluster', async () => (await clusterIds(lab)).size === 1)
  })
}
