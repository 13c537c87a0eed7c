/**
 * Where the lab's parts are: the one place that knows how the cache is laid out. Plain JavaScript,
 * because the set-up runs it before there is a Node that strips types. Types: parts.d.mts.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))

export function cacheDir() {
  const own = absolute('REQUORUM_CACHE')
  if (own !== undefined) return own
  const shared = absolute('XDG_CACHE_HOME')
  return join(shared ?? join(homedir(), '.cache'), 'requorum')
}

export function readLock() {
  return JSON.parse(readFileSync(join(here, 'lock.json'), 'utf8'))
}

export function machineArch() {
  if (process.arch === 'x64' || process.arch === 'arm64') return process.arch
  throw new Error(`The lab's parts exist for x64 and arm64; this machine is ${process.arch}.`)
}

export function partTarget(name) {
  const wheel = readLock().wheels[name]
  if (wheel === undefined) throw new Error(`lab/parts/lock.json has no part called ${name}.`)
  return join(cacheDir(), 'parts', `${name}-${wheel.version}-${machineArch()}`, name)
}

export function partPath(name) {
  const path = partTarget(name)
  if (existsSync(path)) return path
  throw new Error(
    `The lab's part "${name}" is not at ${path}: the set-up has not run, or ran with another ` +
      `REQUORUM_CACHE or XDG_CACHE_HOME. Run: node scripts/setup.mjs`,
  )
}

export function etcdVersion(line) {
  const { etcd, etcdFromSource } = readLock()
  return line === '3.5' ? etcd.version : etcdFromSource.version
}

export function etcdPart(line) {
  const layer = join(cacheDir(), `etcd-${etcdVersion(line)}`, 'layer')
  return { version: etcdVersion(line), binDir: join(layer, 'usr/local/bin'), layer }
}

/** Put in its place whole, so that one program stands for all three. */
export function etcdThere(line) {
  return existsSync(join(etcdPart(line).binDir, 'etcd'))
}

/** What decides how Kubernetes for the lab comes out; a change of any of it is another directory. */
const KUBERNETES_RECIPE = ['kubernetes', 'coredns'].flatMap((module) =>
  ['go.mod', 'go.sum'].map((file) => join(module, file)),
)
KUBERNETES_RECIPE.push('coredns/main.go', 'kubernetes/pause/main.go')

/** Raise it when the steps in kubernetes.ts or images.ts change what comes out. */
const KUBERNETES_REVISION = 2

export function kubernetesHome() {
  const hash = createHash('sha256').update(
    JSON.stringify([KUBERNETES_REVISION, readLock().kubernetes, readLock().etcd]),
  )
  for (const file of KUBERNETES_RECIPE) hash.update(readFileSync(join(here, file)))
  const name = `kubernetes-${readLock().kubernetes.version}-${machineArch()}-${hash.digest('hex').slice(0, 12)}`
  return join(cacheDir(), name)
}

export function kubernetesBuilt() {
  return existsSync(join(kubernetesHome(), 'whole.json'))
}

function absolute(variable) {
  const value = process.env[variable]
  if (value === undefined || value === '') return undefined
  if (isAbsolute(value)) return value
  throw new Error(`${variable} has to be an absolute path; it is "${value}".`)
}
