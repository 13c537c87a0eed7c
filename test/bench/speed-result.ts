/** What a restore is measured by. */
type Mark = 'firstWrite' | 'readyz'

/** What clients outside of the cluster see of a restore, in seconds since it was begun. */
export interface ServiceMarks {
  /** The first write that any member acknowledged. */
  readonly firstWrite: number
  /** When each API server had answered /readyz with 200; null where there are none. */
  readonly readyz: number | null
}

export interface TimedStep {
  readonly title: string
  readonly seconds: number
}

/** One time through all ways of restoring, on one cluster. */
export interface Round {
  readonly requorum: ServiceMarks
  readonly plain: ServiceMarks
  /** The bare minimum, with etcd started everywhere at once. */
  readonly floorAtOnce: ServiceMarks
  /** The same with etcd started node after node, and all else after it. */
  readonly floorInOrder: ServiceMarks
  /** Requorum's steps from the approval to the first write. */
  readonly steps: readonly TimedStep[]
  /** From the approval until Requorum let clients in. */
  readonly checkedSeconds: number
  /** What staging took, before consent was asked for. */
  readonly stagedBeforeSeconds: number
}

/** What has to come out on two cores. A figure that misses it is told, and fails nothing. */
export const GOAL = { leastToPlain: 3, mostToFloor: 1.25 } as const

export interface SpeedResult {
  readonly rounds: number
  /** To the first write that any member acknowledged: with Requorum, by the plain runbook, and the least there is. */
  readonly oursSeconds: number
  readonly plainSeconds: number
  readonly floorSeconds: number
  /** How many times as fast as the plain runbook; higher is better. */
  readonly ratioToPlain: number
  /** How many times the floor; 1 would be perfect. */
  readonly ratioToFloor: number
  readonly goal: typeof GOAL
  readonly goalMet: { readonly plain: boolean; readonly floor: boolean }
  /** Both ways to the floor, to the first write; `floorSeconds` is the faster one. */
  readonly floors: { readonly atOnce: number; readonly inOrder: number }
  /** The same to the moment when every API server is ready; null where there are none. */
  readonly readyz: { readonly ours: number; readonly plain: number; readonly floor: number } | null
  /** Until Requorum had checked everything and let clients in. The other two check nothing. */
  readonly checkedSeconds: number
  /** What it took before consent was asked for: the snapshot to every node, with the checks there. In no other figure. */
  readonly stagedBeforeSeconds: number
  /** Where Requorum's time goes, to the first write: of the round whose restore was in the middle. */
  readonly steps: readonly TimedStep[]
}

/**
 * The figures of all rounds as one. Medians over the rounds; the floor is, mark by mark, the faster of its two
 * ways, because a floor that could be gone below is none.
 *
 * @throws Error without any round, or when rounds differ in whether there are API servers.
 */
export function speedResult(rounds: readonly Round[]): SpeedResult {
  const of = (mark: Mark, way: (round: Round) => ServiceMarks): number =>
    median(rounds.map((round) => seconds(way(round), mark)))
  const all = (mark: Mark) => {
    const atOnce = of(mark, (round) => round.floorAtOnce)
    const inOrder = of(mark, (round) => round.floorInOrder)
    return {
      ours: of(mark, (round) => round.requorum),
      plain: of(mark, (round) => round.plain),
      floor: Math.min(atOnce, inOrder),
      floors: { atOnce: tenths(atOnce), inOrder: tenths(inOrder) },
    }
  }
  const { ours, plain, floor, floors } = all('firstWrite')
  const ready = rounds.some(({ requorum }) => requorum.readyz !== null) ? all('readyz') : null
  return {
    rounds: rounds.length,
    oursSeconds: tenths(ours),
    plainSeconds: tenths(plain),
    floorSeconds: tenths(floor),
    ratioToPlain: hundredths(plain / ours),
    ratioToFloor: hundredths(ours / floor),
    goal: GOAL,
    goalMet: { plain: plain / ours >= GOAL.leastToPlain, floor: ours / floor <= GOAL.mostToFloor },
    floors,
    readyz:
      ready === null
        ? null
        : { ours: tenths(ready.ours), plain: tenths(ready.plain), floor: tenths(ready.floor) },
    checkedSeconds: tenths(median(rounds.map((round) => round.checkedSeconds))),
    stagedBeforeSeconds: tenths(median(rounds.map((round) => round.stagedBeforeSeconds))),
    steps: middleRound(rounds).steps,
  }
}

/** The steps between two moments, in order, each as far as it lies between them. */
export function stepsBetween(
  steps: readonly {
    readonly title: string
    readonly startedAt: string
    readonly endedAt: string | null
  }[],
  from: Date,
  to: Date,
): TimedStep[] {
  return steps.flatMap(({ title, startedAt, endedAt }) => {
    const began = Math.max(Date.parse(startedAt), from.getTime())
    const ended = Math.min(endedAt === null ? to.getTime() : Date.parse(endedAt), to.getTime())
    return ended <= began ? [] : [{ title, seconds: tenths((ended - began) / 1_000) }]
  })
}

function seconds(marks: ServiceMarks, mark: Mark): number {
  const value = marks[mark]
  if (value === null) throw new Error('Some rounds have API servers and some have none.')
  return value
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]]
  if (low === undefined || high === undefined) throw new Error('Nothing was measured.')
  return (low + high) / 2
}

function middleRound(rounds: readonly Round[]): Round {
  const sorted = rounds.toSorted((a, b) => a.requorum.firstWrite - b.requorum.firstWrite)
  const middle = sorted[(sorted.length - 1) >> 1]
  if (middle === undefined) throw new Error('Nothing was measured.')
  return middle
}

function tenths(value: number): number {
  return Math.round(value * 10) / 10
}

function hundredths(value: number): number {
  return Math.round(value * 100) / 100
}
