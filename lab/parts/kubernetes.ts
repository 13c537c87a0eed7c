import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hasCommand, run } from '../hosts/commands.ts'
import { buildImages } from './images.ts'
import { kubernetesBuilt, kubernetesHome, partPath, readLock } from './parts.mjs'

const MODULES = {
  kubernetes: fileURLToPath(new URL('kubernetes', import.meta.url)),
  coredns: fileURLToPath(new URL('coredns', import.meta.url)),
}

const CONTROL_PLANE = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy'] as const
const ON_THE_HOSTS = ['kubelet', 'kubeadm', 'kubectl'] as const

/** A build on one busy core may take this long; progress is shown all the while. */
const BUILD_LIMIT_MS = 4 * 3_600_000

/** What the kubeadm profile needs of Kubernetes. */
export interface KubernetesParts {
  /** `1.33.13` */
  readonly version: string
  /**
   * A layer over the hosts' base root: kubelet, kubeadm and kubectl in usr/bin, and in usr/share/lab/images.tar the
   * images of the control plane and its add-ons, as `ctr images import` takes them.
   */
  readonly layer: string
}

/** The parts as they lie in the cache. @throws Error with the command that builds them when they don't. */
export function kubernetesParts(): KubernetesParts {
  if (!kubernetesBuilt()) {
    throw new Error(
      'Kubernetes for the lab has not been built on this machine. Run: node scripts/setup.mjs --for kubeadm',
    )
  }
  return { version: readLock().kubernetes.version, layer: join(kubernetesHome(), 'layer') }
}

export interface KubernetesOptions {
  /** From ensureBaseRoot, profile kubeadm: what the images' programs need of a system comes from it. */
  readonly baseRoot: string
  /** From ensureEtcd. */
  readonly etcdBinDir: string
  readonly etcdVersion: string
  readonly say: (line: string) => void
}

/**
 * Builds Kubernetes and CoreDNS from their Go modules, whose checksums are in go.sum, and packs images from the
 * binaries. About 10 minutes on two idle cores and 6 GB of disk for the time of the build; what stays is the
 * binaries. An interrupted build goes on where it was: Go's caches are kept until it is whole.
 */
export async function ensureKubernetes(options: KubernetesOptions): Promise<KubernetesParts> {
  if (kubernetesBuilt()) return kubernetesParts()
  const { say } = options
  const { version, coredns, pause } = readLock().kubernetes
  const home = kubernetesHome()
  const work = `${home}.building`
  const bin = join(work, 'bin')
  await mkdir(bin, { recursive: true })

  const [major = '', minor = ''] = version.split('.')
  const flags = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version'].flatMap((place) => [
    `-X ${place}.gitVersion=v${version}`,
    `-X ${place}.gitMajor=${major} -X ${place}.gitMinor=${minor}`,
    `-X ${place}.gitTreeState=clean -X ${place}.buildDate=1970-01-01T00:00:00Z`,
  ])
  const programs = [...ON_THE_HOSTS, ...CONTROL_PLANE].map((name) => `k8s.io/kubernetes/cmd/${name}`)
  await build(work, MODULES.kubernetes, programs, flags, `Building Kubernetes ${version} from source`, say)
  await build(work, MODULES.kubernetes, ['./pause'], [], `Building pause ${pause}`, say)
  await build(work, MODULES.coredns, ['.'], [], `Building CoreDNS ${coredns}`, say)
  await confirmVersion(join(bin, 'kubelet'), version)

  if (!(await hasCommand('umoci'))) throw new Error('umoci is not installed. Run the set-up: it brings it.')
  say('Packing the images')
  await buildImages({
    work: join(work, 'images'),
    target: join(work, 'images.tar'),
    repository: readLock().kubernetes.imageRepository,
    baseRoot: options.baseRoot,
    images: [
      ...CONTROL_PLANE.slice(0, 3).map((name) => image(name, `v${version}`, [join(bin, name)])),
      { ...image('kube-proxy', `v${version}`, [join(bin, 'kube-proxy')]), withIptables: true },
      image('etcd', `${options.etcdVersion}-0`, [
        join(options.etcdBinDir, 'etcd'),
        join(options.etcdBinDir, 'etcdctl'),
        join(options.etcdBinDir, 'etcdutl'),
      ]),
      { ...image('coredns', `v${coredns}`, [join(bin, 'coredns')]), entrypoint: '/usr/local/bin/coredns' },
      { ...image('pause', pause, [join(bin, 'pause')]), entrypoint: '/usr/local/bin/pause' },
    ],
  })

  const layer = join(work, 'whole/layer')
  await rm(join(work, 'whole'), { recursive: true, force: true })
  await mkdir(join(layer, 'usr/bin'), { recursive: true })
  await mkdir(join(layer, 'usr/share/lab'), { recursive: true })
  for (const name of ON_THE_HOSTS) await rename(join(bin, name), join(layer, 'usr/bin', name))
  await rename(join(work, 'images.tar'), join(layer, 'usr/share/lab/images.tar'))
  await writeFile(join(work, 'whole/whole.json'), `${JSON.stringify({ version, coredns, pause })}\n`)
  await rm(home, { recursive: true, force: true })
  await rename(join(work, 'whole'), home)
  await forget(work)
  return kubernetesParts()
}

function image(name: string, tag: string, programs: readonly string[]) {
  return { name, tag, programs }
}

async function build(
  work: string,
  module: string,
  packages: readonly string[],
  flags: readonly string[],
  title: string,
  say: (line: string) => void,
): Promise<void> {
  const go = join(partPath('go'), 'bin/go')
  const env = {
    ...inherited(),
    GOROOT: partPath('go'),
    GOTOOLCHAIN: 'local',
    GOFLAGS: '-mod=readonly -modcacherw -buildvcs=false',
    GOMODCACHE: join(work, 'gomod'),
    GOCACHE: join(work, 'gocache'),
    CGO_ENABLED: '0',
  }
  say(`${title}: fetching its modules`)
  const listed = await run(go, ['list', '-deps', ...packages], {
    cwd: module,
    env,
    timeoutMs: BUILD_LIMIT_MS,
    onLine: (line) => {
      if (line.startsWith('go: downloading')) say(`  ${line.slice(4)}`)
    },
  })
  const total = listed.stdout.trimEnd().split('\n').length
  say(title)
  let compiled = 0
  // -v names each package when its compilation begins; what is in the cache of an interrupted build is not named.
  const ldflags = ['-s -w', ...flags].join(' ')
  await run(
    go,
    ['build', '-v', '-trimpath', '-ldflags', ldflags, '-o', `${join(work, 'bin')}/`, ...packages],
    {
      cwd: module,
      env,
      timeoutMs: BUILD_LIMIT_MS,
      onLine: () => {
        compiled += 1
        if (compiled % 10 === 0) say(`  ${compiled} of at most ${total} packages compiled`)
      },
    },
  )
}

async function confirmVersion(kubelet: string, version: string): Promise<void> {
  const { stdout } = await run(kubelet, ['--version'])
  if (stdout.trim() === `Kubernetes v${version}`) return
  throw new Error(`${kubelet} says "${stdout.trim()}" and not v${version}.`)
}

/** Go's caches and the toolchain: gigabytes that nobody needs any more. */
async function forget(work: string): Promise<void> {
  await rm(work, { recursive: true, force: true })
  const toolchain = partPath('go')
  if (existsSync(toolchain)) await rm(join(toolchain, '..'), { recursive: true, force: true })
}

function inherited(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}
