import { createHash } from 'node:crypto'
import { access, copyFile, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { run } from '../hosts/commands.ts'
import { aptProxyOptions, debianArchitecture, distributionSources, sourceLine } from './debian-archive.ts'

/** Where the hosts have them. */
const IN_LAYER = 'usr/local/bin'
const BINARIES = ['etcd', 'etcdctl', 'etcdutl'] as const

/** One Debian package, pinned: the archive's signature says who made it, the hash says that it is this one. */
export interface PinnedDebianPackage {
  readonly package: string
  readonly version: string
  /** SHA-256 of the .deb file in hex, by Debian's name of the architecture. */
  readonly sha256: Readonly<Record<string, string>>
}

export interface EtcdPartOptions {
  /** Where parts are kept between runs; made when missing. */
  readonly cacheDir: string
  /** etcd's own version, such as `3.5.16`: what `etcd --version` has to answer. */
  readonly version: string
  readonly lock: {
    /** The Debian release that has exactly this version, such as `trixie`. */
    readonly suite: string
    readonly packages: readonly PinnedDebianPackage[]
  }
  readonly say: (line: string) => void
}

/** The directory of etcd's three programs, and the layer over the hosts' base root that has them in its PATH. */
export interface EtcdPart {
  readonly binDir: string
  readonly layer: string
}

/** Where etcd of this version is, or will be, in the cache. */
export function etcdPart(cacheDir: string, version: string): EtcdPart {
  const layer = join(cacheDir, `etcd-${version}`, 'layer')
  return { binDir: join(layer, IN_LAYER), layer }
}

/**
 * Makes sure that etcd, etcdctl and etcdutl of this version are in the cache. They come out of Debian packages, fetched
 * by an apt with a configuration of its own: nothing is installed and the machine's apt is left as it is.
 * @throws Error when the archive has another version, or a package is not the pinned one.
 */
export async function ensureEtcd(options: EtcdPartOptions): Promise<EtcdPart> {
  const part = etcdPart(options.cacheDir, options.version)
  if (await isWhole(part.binDir, options.version)) return part

  options.say(`Fetching etcd ${options.version} (Debian ${options.lock.suite}, about 25 MB)`)
  const partial = join(options.cacheDir, `.etcd-${options.version}-${process.pid}-${Date.now()}`)
  try {
    const debs = await download(join(partial, 'apt'), options)
    for (const deb of debs) await run('dpkg', ['-x', deb, join(partial, 'unpacked')])
    const binDir = join(partial, 'layer', IN_LAYER)
    await mkdir(binDir, { recursive: true })
    for (const name of BINARIES) await copyFile(join(partial, 'unpacked/usr/bin', name), join(binDir, name))
    // The modes of a layer's directories are those of the hosts.
    await run('chmod', ['-R', '0755', join(partial, 'layer')])
    await confirmVersion(join(binDir, 'etcd'), options.version)
    await mkdir(dirname(part.layer), { recursive: true })
    await rm(part.layer, { recursive: true, force: true })
    await rename(join(partial, 'layer'), part.layer)
  } finally {
    await rm(partial, { recursive: true, force: true })
  }
  return part
}

async function download(apt: string, options: EtcdPartOptions): Promise<readonly string[]> {
  const architecture = await debianArchitecture()
  const debian = (await distributionSources()).find(
    (source) => source.origin === 'Debian' && !source.suite.includes('-'),
  )
  if (debian === undefined) {
    throw new Error(
      `etcd ${options.version} comes from Debian ${options.lock.suite}, and no apt source of this machine is ` +
        `Debian's. Put ${BINARIES.join(', ')} ${options.version} into ` +
        `${etcdPart(options.cacheDir, options.version).binDir} and try again.`,
    )
  }
  for (const dir of ['etc', 'state/lists/partial', 'cache/archives/partial', 'debs']) {
    await mkdir(join(apt, dir), { recursive: true })
  }
  await writeFile(join(apt, 'etc/sources.list'), `${await sourceLine(debian, options.lock.suite)}\n`)
  const own = [
    `Dir::Etc::SourceList=${apt}/etc/sources.list`,
    'Dir::Etc::SourceParts=/dev/null',
    'Dir::Etc::Preferences=/dev/null',
    'Dir::Etc::PreferencesParts=/dev/null',
    `Dir::State=${apt}/state`,
    'Dir::State::Status=/dev/null',
    `Dir::Cache=${apt}/cache`,
    'Acquire::Languages=none',
    'APT::Sandbox::User=root',
    ...(await aptProxyOptions()).map((line) => line.replace(/ "(.*)";$/, '=$1')),
  ].flatMap((option) => ['-o', option])
  await run('apt-get', [...own, 'update'], { timeoutMs: 600_000 })
  await run(
    'apt-get',
    [...own, 'download', ...options.lock.packages.map((pin) => `${pin.package}=${pin.version}`)],
    { cwd: join(apt, 'debs'), timeoutMs: 600_000 },
  )
  const files = await readdir(join(apt, 'debs'))
  return Promise.all(
    options.lock.packages.map(async (pin) => {
      const file = files.find((name) => name.startsWith(`${pin.package}_`))
      if (file === undefined) throw new Error(`apt did not leave a file for ${pin.package} ${pin.version}.`)
      const path = join(apt, 'debs', file)
      await verify(path, pin, architecture)
      return path
    }),
  )
}

async function verify(path: string, pin: PinnedDebianPackage, architecture: string): Promise<void> {
  const expected = pin.sha256[architecture]
  if (expected === undefined) {
    throw new Error(
      `The lock file pins no SHA-256 of ${pin.package} ${pin.version} for ${architecture}, so it is not used. ` +
        'Add it to the lock file after you looked at where it comes from.',
    )
  }
  const actual = createHash('sha256')
    .update(await readFile(path))
    .digest('hex')
  if (actual !== expected) {
    throw new Error(
      `${pin.package} ${pin.version} is not the pinned file: SHA-256 ${actual} instead of ${expected}. ` +
        'It was not unpacked. Find out why the archive changed before you change the lock file.',
    )
  }
}

async function isWhole(binDir: string, version: string): Promise<boolean> {
  try {
    for (const name of BINARIES) await access(join(binDir, name))
    await confirmVersion(join(binDir, 'etcd'), version)
    return true
  } catch {
    return false
  }
}

async function confirmVersion(etcd: string, version: string): Promise<void> {
  const { stdout } = await run(etcd, ['--version'])
  const answered = /^etcd Version: (\S+)$/m.exec(stdout)?.[1]
  if (answered !== version) {
    throw new Error(`${etcd} is version ${answered ?? 'unknown'}, not ${version}.`)
  }
}
