import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hasCommand, run } from '../hosts/commands.ts'
import { forgetBuild, goBuild } from './go-build.ts'
import { buildImages } from './images.ts'
import { kubernetesBuilt, kubernetesHome, readLock } from './parts.mjs'

const MODULES = {
  kubernetes: fileURLToPath(new URL('kubernetes', import.meta.url)),
  coredns: fileURLToPath(new URL('coredns', import.meta.url)),
}

const CONTROL_PLANE = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy'] as const
const ON_THE_HOSTS = ['kubelet', 'kubeadm', 'kubectl'] as const

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
  const build = (module: string, packages: readonly string[], title: string, flags?: readonly string[]) =>
    goBuild({ work, module, packages, title, flags: flags ?? [], say })
  const programs = [...ON_THE_HOSTS, ...CONTROL_PLANE].map((name) => `k8s.io/kubernetes/cmd/${name}`)
  await build(MODULES.kubernetes, programs, `Building Kubernetes ${version} from source`, flags)
  await build(MODULES.kubernetes, ['./pause'], `Building pause ${pause}`)
  await build(MODULES.coredns, ['.'], `Building CoreDNS ${coredns}`)
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
  await forgetBuild(work)
  return kubernetesParts()
}

function image(name: string, tag: string, programs: readonly string[]) {
  return { name, tag, programs }
}

async function confirmVersion(kubelet: string, version: string): Promise<void> {
  const { stdout } = await run(kubelet, ['--version'])
  if (stdout.trim() === `Kubernetes v${version}`) return
  throw new Error(`${kubelet} says "${stdout.trim()}" and not v${version}.`)
}
