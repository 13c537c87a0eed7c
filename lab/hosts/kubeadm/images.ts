import { readLock } from '../../parts/parts.mjs'

/** Where the images lie on a host: in the layer of the profile's programs. */
export const IMAGES_ON_HOST = '/usr/share/lab/images.tar'

/** The name of an image of the lab, by the versions of the lock file. */
export function imageName(name: 'pause' | 'coredns' | 'etcd'): string {
  const { kubernetes, etcd } = readLock()
  const tag = { pause: kubernetes.pause, coredns: `v${kubernetes.coredns}`, etcd: `${etcd.version}-0` }[name]
  return `${kubernetes.imageRepository}/${name}:${tag}`
}
