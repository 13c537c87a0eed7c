import { fetchOnto, storeFrom } from '../../activities/transfer.ts'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import type { SavedSnapshot } from '../../domain/snapshot.ts'
import { revision, sha256 } from '../../domain/values.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import type { Lab } from '../../lab/lab.ts'
import type { ControlPlaneNode, Watching } from '../../systems/node/control-plane-node.ts'
import { createS3Store } from '../../systems/object-store/s3-store.ts'
import { createNodeShell, type NodeShell } from '../../systems/ssh/node-shell.ts'
import { loadCluster } from '../../workers/home.ts'
import { idleBytes, peakBytesDuring } from '../lab/memory.ts'
import { snapshotOf } from '../unit/examples.ts'
import { onBenchLab, tenths } from './bench-lab.ts'

const GIB = 1024 ** 3
const SOURCE = '/var/lib/large.db'
const TARGET = '/var/lib/fetched.db'

export interface LargeFile {
  readonly bytes: number
  readonly ways: readonly LargeTransfer[]
}

export interface LargeTransfer {
  readonly transfer: 'direct' | 'relay'
  /** Node to store, the SHA-256 of each part included; store to another node, the SHA-256 of the whole included. */
  readonly storeSeconds: number
  readonly fetchSeconds: number
  /** Of this process, which does what a worker does and relays what is relayed. */
  readonly idleBytes: number
  readonly peakBytes: number
}

/**
 * A file of random bytes that is larger than S3 takes in one put, to the store and onto another node, both ways. Not etcd's:
 * etcd does not grow that large on a lab, and of what is in a file the transfer knows nothing. Brings its own lab up and down.
 */
export async function largeFile(bytes: number, say: (line: string) => void): Promise<LargeFile> {
  const diskBytes = 2 * GIB + 2 * bytes
  return onBenchLab({ say, diskBytes }, async (lab) => {
    const config = await loadCluster(lab.dir, lab.name)
    const shell = createNodeShell({ home: lab.dir, config: config.ssh })
    try {
      say(`Writing ${Math.round(bytes / 1024 ** 2)} MiB of random bytes on cp-01`)
      const digest = await typed(
        lab,
        'cp-01',
        `head -c ${bytes} /dev/urandom >${SOURCE}; sync ${SOURCE}; ${hashed(SOURCE)}`,
      )
      const ways: LargeTransfer[] = []
      for (const transfer of ['direct', 'relay'] as const) {
        const measured = await measure(
          lab,
          shell,
          { ...config, transfer: { ...config.transfer, way: transfer } },
          digest,
          bytes,
        )
        say(`  ${transfer}: stored in ${measured.storeSeconds} s, fetched in ${measured.fetchSeconds} s`)
        ways.push({ transfer, ...measured })
      }
      return { bytes, ways }
    } finally {
      await shell.close()
    }
  })
}

async function measure(
  lab: Lab,
  shell: NodeShell,
  config: ClusterConfig,
  digest: string,
  bytes: number,
): Promise<Omit<LargeTransfer, 'transfer'>> {
  const store = createS3Store({ home: lab.dir, config: config.store })
  const [from, onto] = config.nodes.map((node): ControlPlaneNode => ({ shell, config, node }))
  if (from === undefined || onto === undefined) throw new Error('The lab has fewer than two nodes.')
  const watching: Watching = { signal: new AbortController().signal, onBeat: () => undefined }
  const takenAt = new Date().toISOString()
  const { key } = snapshotOf(takenAt)
  const saved: SavedSnapshot = {
    ...{ node: from.node.name, path: SOURCE, takenAt, sha256: sha256.parse(digest), sizeBytes: bytes },
    ...{ revision: revision.parse('1'), totalKeys: 1, liveKeys: null, hash: '00000000' },
  }
  const idle = await idleBytes(process.pid)
  const up = await peakBytesDuring(process.pid, () => storeFrom(from, store, saved, key, watching))
  const { versionId, hashOfParts } = up.result
  const snapshot = snapshotOf(takenAt, { versionId, sha256: saved.sha256, sizeBytes: bytes, hashOfParts })
  const down = await peakBytesDuring(process.pid, () => fetchOnto(onto, store, snapshot, TARGET, watching))
  const arrived = await typed(lab, onto.node.name, `${hashed(TARGET)}; rm -f ${TARGET}`)
  if (arrived !== digest) throw new Error(`What arrived has SHA-256 ${arrived}, and ${digest} was sent.`)
  return {
    storeSeconds: tenths(up.seconds),
    fetchSeconds: tenths(down.seconds),
    idleBytes: idle,
    peakBytes: Math.max(up.peakBytes, down.peakBytes),
  }
}

async function typed(lab: Lab, host: string, commands: string): Promise<string> {
  return (await atConsole(lab.hosts, host, commands, [], { timeoutMs: 1_800_000 })).stdout.trim()
}

const hashed = (path: string): string => `openssl dgst -sha256 -r ${path} | cut -d ' ' -f 1`
