import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { goBuild } from './go-build.ts'
import type { EtcdPrograms } from './parts.mjs'

const MODULE = fileURLToPath(new URL('etcd-source', import.meta.url))

/**
 * Builds etcd from its Go modules, whose checksums are in go.sum: about two minutes on two idle cores.
 * @param work - keeps Go's caches, so that an interrupted build goes on where it was
 */
export async function etcdFromSource(
  version: string,
  work: string,
  say: (line: string) => void,
): Promise<EtcdPrograms> {
  const packages = ['server', 'etcdctl', 'etcdutl'].map((name) => `go.etcd.io/etcd/${name}/v3`)
  await goBuild({
    ...{ work, module: MODULE, packages, say },
    ...{ flags: [], title: `Building etcd ${version} from source` },
  })
  const program = (name: string): string => join(work, 'bin', name)
  return { etcd: program('server'), etcdctl: program('etcdctl'), etcdutl: program('etcdutl') }
}
