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
  /** Whether `npm test` runs it. The others have commands of their own: they take longer than a commit may wait. */
  readonly inCi: boolean
  /**
   * A lane that takes longer has failed: what of it still runs is killed, what has not begun does not. Several times
   * what two quiet cores need, because a busy machine is no bug.
   */
  readonly minutes: number
  /** The same of one file. */
  readonly fileMinutes: number
  /** How many files run at the same time. */
  readonly atOnce: number
  /** Whether a file wants a lab that it finds in REQUORUM_TEST_LAB_DIR and shares with the lane's others. */
  readonly wantsLab: (file: string) => boolean
  /** Of that lab. */
  readonly profile: LabProfile
  /** Why the lane can't run on this machine, and what to do about it. */
  readonly unavailable: () => string | undefined
}

/** In the order in which they run: what tells soonest comes first. */
export const LANES: readonly Lane[] = [
  lane('unit', 'pure knowledge', { inCi: true, minutes: 8, fileMinutes: 4, atOnce: availableParallelism() }),
  lane('replay', 'stored histories against the runbooks of today', {
    inCi: true,
    minutes: 4,
    fileMinutes: 4,
  }),
  lane('workflows', "runbooks on Temporal's test servers", {
    inCi: true,
    minutes: 15,
    fileMinutes: 8,
    atOnce: 2,
  }),
  lane('end-to-end', 'the whole path, each file on a lab of its own', {
    inCi: true,
    minutes: 20,
    fileMinutes: 10,
  }),
  lane('systems', 'each system against the real thing', {
    minutes: 30,
    fileMinutes: 10,
    wantsLab: (file) => file.includes('remote-steps'),
  }),
  lane('commands', 'the requorum command', { minutes: 20, fileMinutes: 10 }),
  lane('lab', 'whatever goes wrong, each file on a lab of its own', {
    minutes: 180,
    fileMinutes: 25,
  }),
  lane('kubeadm', 'end to end on a control plane by kubeadm, one lab for all files', {
    minutes: 60,
    fileMinutes: 20,
    wantsLab: () => true,
    profile: 'kubeadm',
    unavailable: () =>
      kubernetesBuilt()
        ? undefined
        : 'Kubernetes has not been built here; do it once with: node scripts/setup.mjs --for kubeadm',
  }),
]

function lane(
  name: string,
  about: string,
  needs: Pick<Lane, 'minutes' | 'fileMinutes'> & Partial<Lane>,
): Lane {
  return {
    ...{ name, about, dir: join('test', name), inCi: false, atOnce: 1 },
    ...{
      wantsLab: () => false,
      profile: 'etcd',
      unavailable: () => undefined,
    },
    ...needs,
  }
}

/** The test files of a lane, sorted, as paths from the root. */
export function filesOf(root: string, { dir }: Pick<Lane, 'dir'>): string[] {
  if (!existsSync(join(root, dir))) return []
  return readdirSync(join(root, dir), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort()
}

/** Test files that no lane would ever run. */
export function filesWithoutLane(root: string): string[] {
  const known = new Set(LANES.flatMap((each) => filesOf(root, each)))
  return filesOf(root, { dir: 'test' }).filter((file) => !known.has(file))
}
