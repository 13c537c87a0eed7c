import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { labDown, labUp } from '../../lab/lab.ts'
import { median } from './speed-result.ts'

export interface LabSpeed {
  readonly rounds: number
  /** Medians. */
  readonly upSeconds: number
  readonly downSeconds: number
  /** Every round, in order: a machine that others use shows here. */
  readonly up: readonly number[]
  readonly down: readonly number[]
}

/**
 * What every test that uses a lab waits for, profile etcd: from nothing to an etcd that answers on every member,
 * with store, engine and worker; and until nothing of it is left. The parts are there.
 */
export async function labSpeed(rounds: number, say: (line: string) => void): Promise<LabSpeed> {
  const up: number[] = []
  const down: number[] = []
  // What is built once on a machine (the base root, bundled workflows) belongs to the set-up.
  for (let round = 0; round <= rounds; round++) {
    const dir = await mkdtemp(join(tmpdir(), 'requorum-bench-'))
    const request = { name: `b${process.pid.toString(36)}`, dir, say: () => undefined }
    try {
      const upSeconds = await seconds(() => labUp(request))
      const downSeconds = await seconds(() => labDown(request))
      if (round > 0) {
        up.push(upSeconds)
        down.push(downSeconds)
        say(`up ${upSeconds} s, down ${downSeconds} s`)
      }
    } finally {
      await labDown(request)
      await rm(dir, { recursive: true, force: true })
    }
  }
  return { rounds, upSeconds: median(up), downSeconds: median(down), up, down }
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return Math.round((performance.now() - began) / 10) / 100
}
