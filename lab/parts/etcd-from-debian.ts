import { createHash } from 'node:crypto'
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../hosts/commands.ts'
import { aptProxyOptions, debianArchitecture, distributionSources, sourceLine } from './debian-archive.ts'
import { etcdPart, type EtcdPrograms, type PinnedEtcd } from './parts.mjs'

type PinnedDebianPackage = PinnedEtcd['packages'][number]

/**
 * Unpacks etcd from Debian packages, fetched by an apt with a configuration of its own: nothing is installed and the
 * machine's apt is left as it is.
 * @param scratch - a directory for what it fetches and unpacks
 * @throws Error when the archive has another version, or a package is not the pinned one.
 */
export async function etcdFromDebian(lock: PinnedEtcd, scratch: string): Promise<EtcdPrograms> {
  const debs = await download(join(scratch, 'apt'), lock)
  const unpacked = join(scratch, 'unpacked')
  for (const deb of debs) await run('dpkg', ['-x', deb, unpacked])
  const program = (name: string): string => join(unpacked, 'usr/bin', name)
  return { etcd: program('etcd'), etcdctl: program('etcdctl'), etcdutl: program('etcdutl') }
}

async function download(apt: string, lock: PinnedEtcd): Promise<readonly string[]> {
  const architecture = await debianArchitecture()
  const debian = (await distributionSources()).find(
    (source) => source.origin === 'Debian' && !source.suite.includes('-'),
  )
  if (debian === undefined) {
    throw new Error(
      `etcd ${lock.version} comes from Debian ${lock.suite}, and no apt source of this machine is ` +
        `Debian's. Put etcd, etcdctl and etcdutl ${lock.version} into ` +
        `${etcdPart('3.5').binDir} and try again.`,
    )
  }
  for (const dir of ['etc', 'state/lists/partial', 'cache/archives/partial', 'debs']) {
    await mkdir(join(apt, dir), { recursive: true })
  }
  await writeFile(join(apt, 'etc/sources.list'), `${await sourceLine(debian, lock.suite)}\n`)
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
  await run('apt-get', [...own, 'download', ...lock.packages.map((pin) => `${pin.package}=${pin.version}`)], {
    cwd: join(apt, 'debs'),
    timeoutMs: 600_000,
  })
  const files = await readdir(join(apt, 'debs'))
  return Promise.all(
    lock.packages.map(async (pin) => {
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
