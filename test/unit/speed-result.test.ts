import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { speedResult, stepsBetween, type Round } from '../bench/speed-result.ts'

const marks = (firstWrite: number, readyz: number | null) => ({ firstWrite, readyz })

function round(firstWrite: number, differs: Partial<Round> = {}): Round {
  return {
    requorum: marks(firstWrite, 2 * firstWrite),
    plain: marks(75, 90),
    floorAtOnce: marks(30, 40),
    floorInOrder: marks(20, 45),
    steps: [{ title: `Restore in ${firstWrite} s`, seconds: firstWrite }],
    checkedSeconds: firstWrite + 3,
    stagedBeforeSeconds: 8,
    ...differs,
  }
}

describe('the figures of a restore', () => {
  it('are to the first write, and to ready API servers beside it', () => {
    const result = speedResult([round(25)])
    assert.deepEqual([result.oursSeconds, result.plainSeconds, result.floorSeconds], [25, 75, 20])
    assert.deepEqual([result.ratioToPlain, result.ratioToFloor], [3, 1.25])
    assert.deepEqual(result.goalMet, { plain: true, floor: true })
    assert.deepEqual(result.readyz, { ours: 50, plain: 90, floor: 40 })
    assert.deepEqual([result.checkedSeconds, result.stagedBeforeSeconds], [28, 8])
  })

  it('take the faster way to the floor, mark by mark', () => {
    const result = speedResult([round(25)])
    assert.deepEqual(result.floors, { atOnce: 30, inOrder: 20 })
    assert.equal(result.readyz?.floor, 40)
  })

  it('say that a goal is missed', () => {
    assert.deepEqual(speedResult([round(25.1)]).goalMet, { plain: false, floor: false })
    assert.deepEqual(speedResult([round(25.1, { plain: marks(80, 90) })]).goalMet, {
      plain: true,
      floor: false,
    })
  })

  it('are medians of all rounds, and the steps are of the round in the middle', () => {
    const result = speedResult([round(70), round(50), round(55)])
    assert.equal(result.oursSeconds, 55)
    assert.equal(result.steps[0]?.title, 'Restore in 55 s')
    assert.equal(speedResult([round(50), round(60)]).oursSeconds, 55)
  })

  it('say nothing of API servers where there are none', () => {
    const etcdOnly = { plain: marks(30, null), floorAtOnce: marks(8, null), floorInOrder: marks(9, null) }
    const result = speedResult([round(10, { requorum: marks(10, null), ...etcdOnly })])
    assert.equal(result.readyz, null)
    assert.deepEqual([result.ratioToPlain, result.ratioToFloor], [3, 1.25])
  })

  it('are not made up without any round, or of rounds that can not be compared', () => {
    assert.throws(() => speedResult([]), /Nothing was measured/)
    assert.throws(() => speedResult([round(50), round(0, { requorum: marks(10, null) })]), /API servers/)
  })
})

describe('the steps between two moments', () => {
  const at = (second: number): string => new Date(second * 1_000).toISOString()
  const steps = [
    { title: 'Survey', startedAt: at(0), endedAt: at(5) },
    { title: 'Checkpoint', startedAt: at(5), endedAt: at(11) },
    { title: 'Stop', startedAt: at(11), endedAt: at(18.34) },
    { title: 'Wait', startedAt: at(18.34), endedAt: at(40) },
    { title: 'Validate', startedAt: at(40), endedAt: null },
  ]

  it('are cut where the service was away', () => {
    assert.deepEqual(stepsBetween(steps, new Date(10_000), new Date(30_000)), [
      { title: 'Checkpoint', seconds: 1 },
      { title: 'Stop', seconds: 7.3 },
      { title: 'Wait', seconds: 11.7 },
    ])
  })

  it('count one that goes on up to the end', () => {
    assert.deepEqual(stepsBetween(steps, new Date(40_000), new Date(42_000)), [
      { title: 'Validate', seconds: 2 },
    ])
  })
})
