import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { labDown, labUp, type Lab, type LabRequest } from '../../lab/lab.ts'
import { Operator } from '../../lab/operator.ts'

/** Brings a lab of a bench's own up, measures on it, and takes it down, whatever came of it. */
export async function onBenchLab<Figures>(
  request: Omit<LabRequest, 'name' | 'dir'>,
  measure: (lab: Lab, operator: Operator) => Promise<Figures>,
): Promise<Figures> {
  const own = { name: `b${process.pid.toString(36)}`, dir: await mkdtemp(join(tmpdir(), 'requorum-bench-')) }
  try {
    const lab = await labUp({ ...request, ...own })
    const operator = await Operator.of(lab)
    try {
      return await measure(lab, operator)
    } finally {
      await operator.close()
    }
  } finally {
    await labDown({ ...own, say: request.say })
    await rm(own.dir, { recursive: true, force: true })
  }
}

/** To a tenth, as figures show them. */
export function tenths(seconds: number): number {
  return Math.round(seconds * 10) / 10
}
