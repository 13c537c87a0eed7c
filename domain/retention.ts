import type { SnapshotManifest } from './snapshot.ts'

/**
 * The local copies that may go: those beyond the newest `keep` that the store holds as proved snapshots.
 * A copy that is not stored yet is never among them, however old it is, and neither is a file whose name
 * isn't ours, nor the newest that is proved. Names carry their UTC time, so the order of names is the order of time.
 */
export function localCopiesToPrune(
  files: readonly string[],
  proved: readonly Pick<SnapshotManifest, 'key'>[],
  keep: number,
): string[] {
  const newestFirst = (names: readonly string[]): string[] => names.filter(isOurs).sort().reverse()
  const ours = newestFirst(files)
  const stored = newestFirst(proved.map(({ key }) => key.slice(key.lastIndexOf('/') + 1)))
  const newestStored = stored[0] ?? ''
  return ours.slice(keep).filter((file) => stored.includes(file) && file < newestStored)
}

function isOurs(file: string): boolean {
  return /^snapshot-\d{8}T\d{6}Z\.db$/.test(file)
}
