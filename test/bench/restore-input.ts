import { randomBytes } from 'node:crypto'
import { copyFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { hostPaths, type LabHosts } from '../../lab/hosts/lab-hosts.ts'
import type { BackupVerdict } from '../../domain/verdict.ts'

/** What a restore by hand is given; the same for all nodes. */
export interface RestoreInput {
  /** The snapshot's path on every node. */
  readonly snapshot: string
  readonly initialCluster: string
  readonly token: string
}

const ON_NODES = 'bench-snapshot.db'

/** Puts the local copy of a backup on every node, past the network, as Requorum has it staged before it asks for consent. */
export async function layOutSnapshot(lab: LabHosts, backup: BackupVerdict): Promise<string> {
  const local = join(hostPaths(lab, backup.source).varLib, 'etcd-backups', basename(backup.key))
  await Promise.all(lab.hosts.map(({ name }) => copyFile(local, join(hostPaths(lab, name).varLib, ON_NODES))))
  return `/var/lib/${ON_NODES}`
}

/** With a token of its own, as each restore has to have. */
export function restoreInput(lab: LabHosts, snapshot: string): RestoreInput {
  return {
    snapshot,
    initialCluster: lab.hosts.map(({ name, address }) => `${name}=https://${address}:2380`).join(','),
    token: `bench-${randomBytes(4).toString('hex')}`,
  }
}
