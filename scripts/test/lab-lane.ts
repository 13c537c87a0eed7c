import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LabProfile } from '../../lab/hosts/lab-hosts.ts'

/** Tells the person at the terminal what goes on; one short line a call. */
export type Say = (line: string) => void

/** What finds the lab: the environment of the files that share it. */
export type LabEnvironment = Readonly<Record<'REQUORUM_TEST_LAB_DIR', string>>

/**
 * Does the work with a lab up, beside any other of this machine, and brings the lab down whatever the work
 * does. The lab is imported here and now, so that other lanes neither wait for it nor break with it.
 *
 * @throws what bringing up, the work or bringing down throws. What goes wrong while bringing down after the
 * work has failed is only said, so that the reason is not lost.
 */
export async function withLab(
  profile: LabProfile,
  say: Say,
  work: (env: LabEnvironment) => Promise<void>,
): Promise<void> {
  const { labDown, labUp } = await import('../../lab/lab.ts')
  const dir = await mkdtemp(join(tmpdir(), 'requorum-test-lab-'))
  const name = `s${process.pid.toString(36)}`
  const said: string[] = []
  const began = performance.now()
  try {
    await labUp({ name, dir, profile, say: (line) => said.push(line) })
  } catch (error) {
    for (const line of said) say(line)
    // A lab that did not come up has cleaned up already; its directory may be left.
    await rm(dir, { recursive: true, force: true })
    throw error
  }
  say(`a lab is up for this lane (${((performance.now() - began) / 1_000).toFixed(0)} s)`)
  const down = (): Promise<void> => labDown({ name, dir, say: () => undefined })
  try {
    await work({ REQUORUM_TEST_LAB_DIR: dir })
  } catch (error) {
    await down().catch((second: unknown) => say(`the lab in ${dir} did not come down: ${String(second)}`))
    throw error
  }
  await down()
}
