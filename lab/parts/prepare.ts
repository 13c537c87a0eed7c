/**
 * The part of the set-up that is TypeScript: etcd, the base root of the lab's hosts and, for the profile kubeadm,
 * Kubernetes. Run by scripts/setup.mjs with the project's own Node, once node_modules is there; it holds the
 * set-up's lock. What it says goes to standard output line by line, what is only for a moment with two spaces
 * before it; a failure is one message on standard error and exit code 1.
 *
 * Usage: node prepare.ts etcd|etcd-3.6|kubeadm
 */
import { ensureBaseRoot } from './base-root.ts'
import { ensureEtcd } from './etcd.ts'
import { ensureKubernetes } from './kubernetes.ts'
import { cacheDir } from './parts.mjs'
import { ensureSeedSnapshot } from './seed-snapshot.ts'

const say = (line: string): void => console.log(line)

try {
  const what = process.argv[2]
  const part = await ensureEtcd(what === 'etcd-3.6' ? '3.6' : '3.5', say)
  await ensureSeedSnapshot(part)
  const profile = what === 'kubeadm' ? 'kubeadm' : 'etcd'
  const baseRoot = await ensureBaseRoot({ cacheDir: cacheDir(), profile, say })
  if (profile === 'kubeadm') {
    await ensureKubernetes({ baseRoot, etcdBinDir: part.binDir, etcdVersion: part.version, say })
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
