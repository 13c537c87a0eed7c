/** Where Requorum keeps its things on a node: root only, on a filesystem that survives a reboot. */
export const NODE_STATE = '/var/lib/requorum'

/** Manifests that are kept from starting: of a node that a restore went on without. */
export const FENCED_MANIFESTS = `${NODE_STATE}/fenced/manifests`

export const FENCED_DIR = `${NODE_STATE}/fenced`
/** How that came about, and how a person takes it back. */
export const FENCED_JOURNAL = `${FENCED_DIR}/journal.md`
/** A directory for each recovery: its journal, its record, and the manifests that it took away. */
export const RECOVERIES = `${NODE_STATE}/recoveries`
/** A cluster's name in a line of its own says that drills may break this node. Made by a person, by hand, on the node. */
export const DRILL_MARK = `${NODE_STATE}/drills-allowed`

export function recoveryDir(recovery: string): string {
  return `${RECOVERIES}/${recovery}`
}

export function journalPath(recovery: string): string {
  return `${recoveryDir(recovery)}/journal.md`
}

/** Named by content, so that a file which is already there is recognised and never fetched twice. */
export function stagedSnapshotPath(backupDirectory: string, sha256: string): string {
  return `${backupDirectory}/staged-${sha256.slice(0, 16)}.db`
}
