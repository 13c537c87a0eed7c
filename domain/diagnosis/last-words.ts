/** Why a run of etcd ended, as far as its own last words tell. */
export type EndCause = 'data' | 'space' | 'removed' | 'setup' | 'unknown'

/**
 * By etcd 3.5's own messages and those of bbolt and raft, which it is made of. The order matters: a database
 * that could not be written for want of space fails with words about pages as well.
 */
const CAUSES: readonly (readonly [Exclude<EndCause, 'unknown'>, RegExp])[] = [
  ['space', /no space left on device|disk quota exceeded|database space exceeded/i],
  ['removed', /permanently removed from the cluster|removed from (the )?cluster/i],
  // wal.ErrCRCMismatch, wal.ErrFileNotFound, …; snap.ErrNoDBSnapshot; bbolt's checks of pages and freelist; raft's
  // check that a log reaches its commit; the hash check against the peers before a start.
  [
    'data',
    /crc mismatch|invalid (database|checksum)|checksum error|version mismatch|freepages|freelist|invalid freelist|page \d+|bad magic|failed to find database snapshot file|failed to (read|open|repair) (the )?wal|wal: |unexpected EOF|snap: (no available|crc)|failed to recover v3 backend|tocommit\(\d+\) is out of range|found data inconsistency|corrupt/i,
  ],
  // A panic or a fault of memory in the code that reads pages and log records.
  [
    'data',
    /(panic|fatal error|unexpected fault)[^]*\[in go\.etcd\.io\/(bbolt|etcd\/server\/v3\/(wal|mvcc))/i,
  ],
  [
    'setup',
    /address already in use|permission denied|error verifying flags|flag provided but not defined|tls: |x509|\.(crt|key): no such file|cannot assign requested address|initial-cluster|member .* has already been bootstrapped/i,
  ],
]

export function causeOfEnd(words: string): EndCause {
  return CAUSES.find(([, pattern]) => pattern.test(words))?.[0] ?? 'unknown'
}
