import { readFileSync } from 'node:fs'
import type { Inventory } from '../../domain/snapshot.ts'
import { sha256, type Revision } from '../../domain/values.ts'
import type { ControlPlaneNode } from '../node/control-plane-node.ts'
import { SHA256 } from '../node/sha256.ts'
import { etcdctl, etcdReason, runEtcdctl } from './etcdctl.ts'

const script = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8')
/** A function for scripts that read keys page by page. */
export const KEYS_A_PAGE = script('./keys-a-page.sh')
/** The names of so many keys are about a megabyte. */
export const MOST_KEYS = 5_000
export const INVENTORY = SHA256 + KEYS_A_PAGE + script('./inventory.sh')

/** How many keys live at a revision: etcd knows it from its index, whatever they hold. Null when it can't tell any more. */
export async function countLiveKeys(
  at: ControlPlaneNode,
  rev: Revision,
  signal: AbortSignal,
): Promise<number | null> {
  const result = await runEtcdctl(
    at,
    // etcdctl gives counts in this form alone.
    ['get', `--rev=${rev}`, '--from-key', '--count-only', '--write-out=fields', '--', ''],
    { timeoutSeconds: 60, signal },
  )
  const count = /^"Count" : (\d+)$/m.exec(result.stdout)?.[1]
  return result.code === 0 && count !== undefined ? Number(count) : null
}

/**
 * What the running cluster holds at a revision: counts, counts by kind, a digest over all keys and one over a sample of their
 * values. Reads page by page at one revision, so it is exact however busy the cluster is; a revision that has been compacted
 * away since gives `skipped`.
 */
export async function takeInventory(
  at: ControlPlaneNode,
  rev: Revision,
  signal: AbortSignal,
): Promise<Inventory> {
  const result = await at.shell.script(at.node, INVENTORY, [rev, String(MOST_KEYS), ...etcdctl(at, 60)], {
    timeoutMs: at.config.limits.transfer,
    signal,
  })
  return result.code === 0
    ? readInventory(result.stdout)
    : { skipped: `revision ${rev} could not be read whole: ${etcdReason(result.stderr)}` }
}

/** What inventory.sh printed. */
export function readInventory(stdout: string): Exclude<Inventory, { skipped: string }> {
  const value = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(stdout)?.[1] ?? ''
  const kinds = [...stdout.matchAll(/^kind=(\d+) (.+)$/gm)].map((match): [string, number] => [
    match[2] ?? '',
    Number(match[1]),
  ])
  return {
    keys: Number(value('keys')),
    leased: Number(value('leased')),
    metadata: sha256.parse(value('metadata')),
    sample: sha256.parse(value('sample')),
    kinds: Object.fromEntries(kinds),
  }
}
