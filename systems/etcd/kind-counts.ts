import { readFileSync } from 'node:fs'
import { RequorumError } from '../../domain/failures.ts'
import type { CountedNow } from '../../domain/validation/object-counts.ts'
import { revision, type Revision } from '../../domain/values.ts'
import type { ControlPlaneNode } from '../node/control-plane-node.ts'
import { etcdctl, etcdReason } from './etcdctl.ts'
import { KEYS_A_PAGE, MOST_KEYS } from './inventory.ts'

const COUNTS = KEYS_A_PAGE + readFileSync(new URL('./kind-counts.sh', import.meta.url), 'utf8')

/**
 * Counts the objects of each kind that the running cluster holds, and those of them that are younger than a
 * revision. Reads keys only: neither Secrets nor anything else that an object holds.
 *
 * @throws RequorumError `etcd-unavailable`
 */
export async function countKinds(
  at: ControlPlaneNode,
  since: Revision,
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
): Promise<CountedNow> {
  const result = await at.shell.script(at.node, COUNTS, [since, String(MOST_KEYS), ...etcdctl(at, 60)], {
    timeoutMs,
    signal,
  })
  if (result.code !== 0) {
    throw new RequorumError('etcd-unavailable', {
      what: `${at.node.name}: the objects could not be counted.`,
      why: etcdReason(result.stderr),
      todo: `Look at etcd on ${at.node.name}.`,
    })
  }
  return readKindCounts(result.stdout)
}

/** What kind-counts.sh printed. */
export function readKindCounts(stdout: string): CountedNow {
  const kinds = [...stdout.matchAll(/^kind=(\d+) (\d+) (.+)$/gm)].map(
    ([, now = '', created = '', kind = '']): [string, { now: number; created: number }] => [
      kind,
      { now: Number(now), created: Number(created) },
    ],
  )
  return {
    revision: revision.parse(/^revision=(\d+)$/m.exec(stdout)?.[1]),
    kinds: Object.fromEntries(kinds),
  }
}
