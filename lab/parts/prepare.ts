/**
 * The part of the set-up that is TypeScript: etcd, the base root of the lab's hosts and, for the profile kubeadm,
 * Kubernetes. Run by scripts/setup.mjs with the project's own Node, once node_modules is there; it holds the
 * set-up's lock. What it says goes to standard output line by line, what is only for a moment with two spaces
 * before it; a failure is one message on standard error and exit code 1.
 *
 * Usage: node prepare.ts etcd|kubeadm
 */
import { ensureBaseRoot } from './base-root.ts'
import { ensureEtcd } from './etcd.ts'
import { ensureKubernetes } from './kubernetes.ts'
import { cacheDir, readLock } from './parts.mjs'
import { ensureSeedSnapshot } from './seed-snapshot.ts'

const say = (line: string): void => console.log(line)

try {
  const { etcd } = readLock()
  const part = await ensureEtcd({ cacheDir: cacheDir(), version: etcd.version, lock: etcd, say })
  await ensureSeedSnapshot(part)
  const profile = process.argv[2] === 'kubeadm' ? 'kubeadm' : 'etcd'
  const baseRoot = await ensureBaseRoot({ cacheDir: cacheDir(), profile, say })
  if (profile === 'kubeadm') {
    await ensureKubernetes({ baseRoot, etcdBinDir: part.binDir, etcdVersion: etcd.version, say })
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
