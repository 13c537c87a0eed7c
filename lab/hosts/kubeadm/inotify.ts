import { existsSync } from 'node:fs'
import { mkdir, readFile, readdir, rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { exclusively } from '../../parts/exclusive.mjs'
import { labTag, type LabHosts } from '../lab-hosts.ts'

const LIMIT = '/proc/sys/fs/inotify/max_user_instances'
/**
 * A lab of this profile takes about 70 of the 128 that a machine allows one user by default; without any left
 * containerd comes up without its CRI service, and kubelets fail.
 */
const ENOUGH = 1_024
/** Gone with the next boot, and so is the raised limit. */
const SHELF = '/run/requorum-lab-inotify'
const BEFORE = join(SHELF, 'before')

type Named = Pick<LabHosts, 'name'>

/** Raises the machine's limit of inotify instances for as long as any lab of this profile is up. */
export async function raiseInotifyLimit(lab: Named): Promise<void> {
  await mkdir(join(SHELF, 'labs'), { recursive: true })
  await exclusively(SHELF, async () => {
    const limit = Number(await readFile(LIMIT, 'utf8'))
    if (limit < ENOUGH) {
      await writeFile(BEFORE, String(limit))
      await writeFile(LIMIT, String(ENOUGH)).catch(() => {
        throw new Error(
          `The lab needs more inotify instances than the ${limit} that this machine allows, and may not raise the limit. ` +
            `Set it where you may: sysctl fs.inotify.max_user_instances=${ENOUGH}`,
        )
      })
    }
    await writeFile(join(SHELF, 'labs', labTag(lab)), '')
  })
}

/** The last lab to go puts the limit back to what it was. */
export async function restoreInotifyLimit(lab: Named): Promise<void> {
  if (!existsSync(SHELF)) return
  await exclusively(SHELF, async () => {
    await rm(join(SHELF, 'labs', labTag(lab)), { force: true })
    if ((await readdir(join(SHELF, 'labs'))).length > 0) return
    const before = await readFile(BEFORE, 'utf8').catch(() => undefined)
    if (before !== undefined) await writeFile(LIMIT, before)
    await rm(BEFORE, { force: true })
    await rmdir(join(SHELF, 'labs'))
    await rmdir(SHELF)
  })
}
