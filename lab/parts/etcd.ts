import { access, copyFile, mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { run } from '../hosts/commands.ts'
import { etcdFromDebian } from './etcd-from-debian.ts'
import { etcdFromSource } from './etcd-from-source.ts'
import { forgetBuild } from './go-build.ts'
import { etcdPart, readLock, type EtcdLine, type EtcdPart, type EtcdPrograms } from './parts.mjs'

export const ETCD_LINES: readonly EtcdLine[] = ['3.5', '3.6']

/** Which etcd a lab has when nobody says: tests, sweeps and benchmarks, which bring labs up by themselves, are told so. */
export function wishedEtcd(): EtcdLine {
  const wish = process.env['REQUORUM_LAB_ETCD']
  if (wish === undefined || wish === '') return '3.5'
  const line = ETCD_LINES.find((one) => one === wish)
  if (line !== undefined) return line
  throw new Error(`REQUORUM_LAB_ETCD is "${wish}"; the lab has etcd ${ETCD_LINES.join(' and ')}.`)
}

/**
 * Makes sure that etcd, etcdctl and etcdutl of this minor version are in the cache: 3.5 out of Debian packages, 3.6 built
 * from its Go modules by the toolchain that `node scripts/setup.mjs --for etcd-3.6` brings.
 * @throws Error when what comes is not the version of the lock file.
 */
export async function ensureEtcd(line: EtcdLine, say: (line: string) => void): Promise<EtcdPart> {
  const part = etcdPart(line)
  if (await isWhole(part)) return part
  const home = dirname(part.layer)
  const building = `${home}.building`
  const partial = `${home}.partial-${process.pid}-${Date.now()}`
  try {
    await mkdir(partial, { recursive: true })
    const programs = await fetchOrBuild(line, { scratch: partial, building, say })
    const binDir = join(partial, 'layer', part.binDir.slice(part.layer.length))
    await mkdir(binDir, { recursive: true })
    for (const [name, path] of Object.entries(programs)) await copyFile(path, join(binDir, name))
    // The modes of a layer's directories are those of the hosts.
    await run('chmod', ['-R', '0755', join(partial, 'layer')])
    await confirmVersion(join(binDir, 'etcd'), part.version)
    await mkdir(home, { recursive: true })
    await rm(part.layer, { recursive: true, force: true })
    await rename(join(partial, 'layer'), part.layer)
  } finally {
    await rm(partial, { recursive: true, force: true })
  }
  if (line !== '3.5') await forgetBuild(building)
  return part
}

function fetchOrBuild(
  line: EtcdLine,
  { scratch, building, say }: { scratch: string; building: string; say: (line: string) => void },
): Promise<EtcdPrograms> {
  const { etcd, etcdFromSource: source } = readLock()
  if (line === '3.6') return etcdFromSource(source.version, building, say)
  say(`Fetching etcd ${etcd.version} (Debian ${etcd.suite}, about 25 MB)`)
  return etcdFromDebian(etcd, scratch)
}

async function isWhole({ binDir, version }: EtcdPart): Promise<boolean> {
  try {
    for (const name of ['etcd', 'etcdctl', 'etcdutl']) await access(join(binDir, name))
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
