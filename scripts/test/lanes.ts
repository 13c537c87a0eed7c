import { existsSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, relative } from 'node:path'
import type { LabProfile } from '../../lab/hosts/lab-hosts.ts'
import { kubernetesBuilt } from '../../lab/parts/parts.mjs'

/** Tests that need the same things, and how much of them. */
export interface Lane {
  readonly name: string
  /** What its tests need, for people. */
  readonly about: string
  /** Folder below the repository's root. */
  readonly dir: string
  /** Which of the folder's files are its own. */
  readonly has: (file: string) => boolean
  /** How long all of it takes on two cores, generously. A lane that doesn't fit what is left is dropped. */
  readonly minutes: number
  /**
   * Set where not every run can take all files: each is taken as long as it fits, in so many minutes, and every day
   * another one comes first. What doesn't fit is dropped by name.
   */
  readonly minutesEach?: number
  /** A file that takes longer counts as hanging, is killed and has failed. */
  readonly fileMinutes: number
  /** How many files run at the same time. */
  readonly atOnce: number
  /** Whether a file wants a lab that it finds in REQUORUM_TEST_LAB_DIR and shares with the lane's others. */
  readonly wantsLab: (file: string) => boolean
  /** Of that lab. */
  readonly profile: LabProfile
  /** Whether a pass of all its files says that Requorum works with the lab's versions. */
  readonly recorded: boolean
  /** Why the lane can't run on this machine, and what to do about it. */
  readonly unavailable: () => string | undefined
}

/** In the order in which they run: what tells soonest comes first. */
export const LANES: readonly Lane[] = [
  lane('unit', 'pure knowledge', { minutes: 2, fileMinutes: 3, atOnce: availableParallelism() }),
  lane('systems', 'each system against the real thing', {
    minutes: 10,
    fileMinutes: 10,
    wantsLab: (file) => file.includes('remote-steps'),
  }),
  lane('commands', 'the requorum command', { minutes: 6, fileMinutes: 8 }),
  lane('workflows', "runbooks on Temporal's test servers", { minutes: 14, fileMinutes: 10 }),
  lane('replay', 'stored histories against the runbooks of today', { minutes: 3, fileMinutes: 5 }),
  lane('lab', 'end to end, each file on a lab of its own', {
    has: (file) => !ROTATES.test(file),
    minutes: 45,
    fileMinutes: 25,
    recorded: true,
  }),
  lane('kubeadm', 'end to end on a control plane by kubeadm, one lab for all files', {
    minutes: 22,
    fileMinutes: 20,
    wantsLab: () => true,
    recorded: true,
    profile: 'kubeadm',
    unavailable: () =>
      kubernetesBuilt()
        ? undefined
        : 'Kubernetes has not been built here; do it once with: node scripts/setup.mjs --for kubeadm',
  }),
  lane('faults', 'what else goes wrong, each file on a lab of its own, as many as fit', {
    dir: join('test', 'lab'),
    has: (file) => ROTATES.test(file),
    minutes: 7,
    minutesEach: 7,
    fileMinutes: 25,
  }),
]

/** The long tail of the lab's tests: together more than one run may take. */
const ROTATES =
  /\/(adopt|clean-up|drill|fence|replace-faults|replace-nodes|restore-faults|roll-back|sweep)\.test\.ts$/

function lane(
  name: string,
  about: string,
  needs: Pick<Lane, 'minutes' | 'fileMinutes'> & Partial<Lane>,
): Lane {
  return {
    ...{ name, about, dir: join('test', name), atOnce: 1 },
    ...{
      has: () => true,
      wantsLab: () => false,
      profile: 'etcd',
      recorded: false,
      unavailable: () => undefined,
    },
    ...needs,
  }
}

/** The same files, with another one first every day. */
export function rotated(files: readonly string[], day: Date): string[] {
  const first = Math.floor(day.getTime() / 86_400_000) % Math.max(1, files.length)
  return [...files.slice(first), ...files.slice(0, first)]
}

/** The test files of a lane, sorted, as paths from the root. */
export function filesOf(root: string, { dir, has }: Pick<Lane, 'dir' | 'has'>): string[] {
  if (!existsSync(join(root, dir))) return []
  return readdirSync(join(root, dir), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter(has)
    .sort()
}

/** Test files that no lane would ever run. */
export function filesWithoutLane(root: string): string[] {
  const known = new Set(LANES.flatMap((each) => filesOf(root, each)))
  return filesOf(root, { dir: 'test', has: () => true }).filter((file) => !known.has(file))
}
