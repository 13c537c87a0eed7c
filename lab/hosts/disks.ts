import { mkdir, open, readFile, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode, run } from './commands.ts'
import { hostPaths, type LabHosts } from './lab-hosts.ts'

/**
 * Mounts a host's disks: its root (the base root below, etcd and the profile's programs on it, its own layer above) and
 * a real, small filesystem for /var/lib, so that renames, syncs and a full disk are what they are on a node.
 * What is mounted already stays. @returns what kind of filesystem /var/lib became.
 */
export async function mountDisks(
  lab: Pick<LabHosts, 'dir' | 'baseRoot' | 'layers' | 'diskBytes'>,
  hostName: string,
): Promise<LabHosts['diskKind']> {
  const paths = hostPaths(lab, hostName)
  for (const dir of [paths.upper, paths.work, paths.root, paths.varLib]) await mkdir(dir, { recursive: true })
  const mounted = await mountPoints()
  if (!mounted.has(paths.root)) {
    const layers = `lowerdir=${[...lab.layers, lab.baseRoot].join(':')},upperdir=${paths.upper},workdir=${paths.work}`
    await run('mount', ['-t', 'overlay', 'requorum-lab', '-o', layers, paths.root])
  }
  const kind = mounted.get(paths.varLib)
  if (kind === 'tmpfs' || kind === 'ext4') return kind
  return mountVarLib(lab, hostName)
}

/** Unmounts a host's disks; the image and the host's own layer stay where they are. */
export async function unmountDisks(lab: Pick<LabHosts, 'dir'>, hostName: string): Promise<void> {
  const paths = hostPaths(lab, hostName)
  const mounted = await mountPoints()
  for (const place of [paths.varLib, paths.root]) {
    if (!mounted.has(place)) continue
    const first = await run('umount', [place], { accept: [0, 1, 32] })
    // Busy for a moment while the kernel lets go of the processes that were just killed.
    if (first.exitCode !== 0) await run('umount', ['--lazy', place])
  }
}

/** Deletes what a host had on its disks. They have to be unmounted. */
export async function discardDisks(lab: Pick<LabHosts, 'dir'>, hostName: string): Promise<void> {
  const { home, root, varLib } = hostPaths(lab, hostName)
  const mounted = await mountPoints()
  if (mounted.has(root) || mounted.has(varLib)) {
    throw new Error(`${home} still has something mounted, so it was not deleted. Take the lab down first.`)
  }
  await rm(home, { recursive: true, force: true })
  await rmdir(join(lab.dir, 'hosts')).catch(() => undefined)
}

async function mountVarLib(
  lab: Pick<LabHosts, 'dir' | 'baseRoot' | 'diskBytes'>,
  hostName: string,
): Promise<LabHosts['diskKind']> {
  const paths = hostPaths(lab, hostName)
  const fresh = await createSparse(paths.diskImage, lab.diskBytes)
  if (fresh) {
    await run('mkfs.ext4', [
      ...['-q', '-F', '-m', '0', '-L', hostName],
      ...['-E', 'lazy_itable_init=1,lazy_journal_init=1,nodiscard'],
      ...['-d', join(lab.baseRoot, 'var/lib'), paths.diskImage],
    ])
  }
  const loop = await run('mount', ['-o', 'loop,noatime', paths.diskImage, paths.varLib], {
    accept: [0, 1, 32],
  })
  if (loop.exitCode === 0) return 'ext4'
  if (!fresh) {
    throw new Error(
      `The disk of ${hostName} (${paths.diskImage}) can't be mounted: ${loop.stderr.trim()}. ` +
        'Are loop devices gone from this machine? Take the lab down and bring it up anew.',
    )
  }
  // Containers often have no loop devices. Memory is as bounded; only its syncs cost nothing.
  await rm(paths.diskImage, { force: true })
  await run('mount', ['-t', 'tmpfs', '-o', `size=${lab.diskBytes},mode=0755`, 'requorum-lab', paths.varLib])
  await run('cp', ['-a', join(lab.baseRoot, 'var/lib', '.'), paths.varLib])
  return 'tmpfs'
}

async function createSparse(path: string, bytes: number): Promise<boolean> {
  const file = await open(path, 'wx', 0o600).catch((error: unknown) => {
    if (errorCode(error) === 'EEXIST') return undefined
    throw error
  })
  if (file === undefined) return false
  await file.truncate(bytes)
  await file.close()
  return true
}

/** Every mount point of this mount namespace with its filesystem type (proc(5), mountinfo). */
export async function mountPoints(): Promise<ReadonlyMap<string, string>> {
  const text = await readFile('/proc/self/mountinfo', 'utf8')
  const points = new Map<string, string>()
  for (const line of text.split('\n')) {
    const [left, right] = line.split(' - ')
    const place = left?.split(' ')[4]
    const kind = right?.split(' ')[0]
    if (place !== undefined && kind !== undefined) points.set(unescapeMount(place), kind)
  }
  return points
}

function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}
