import type { Destruction } from '../../lab/hosts/destroy-quorum.ts'
import type { DrillFindings } from './report.ts'

/** What lives in a cluster: the drill fills it, remembers it, and looks afterwards whether it is back. */
export interface World {
  /** Fills the cluster with what has to be back. */
  fill(): Promise<void>
  /** Notes how it is, right before the backup. */
  remember(): Promise<void>
  /** Writes what the backup doesn't have. Says how much. */
  writeOn(): Promise<string>
  /** What the drill itself holds against the verdict: it destroyed the cluster, so it knows what has to be back. */
  findings(destruction: Destruction): Promise<DrillFindings>
  close(): Promise<void>
}
