import type { Mark, RecordedRecovery, RecoveryRecord } from '../domain/recovery-record.ts'
import {
  markRecovery,
  readRecoveryRecord,
  recordedRecoveries,
  writeJournal,
} from '../systems/node/journal.ts'
import { takeOverLock } from '../systems/node/node.ts'
import { nodeAt, type NodeRef, type Systems } from './systems.ts'
import { watched } from './watched.ts'

/** What recoveries leave on the nodes for people, and for a run that comes after them. */
export function createJournalActivities(systems: Systems) {
  return {
    async writeJournal(ref: NodeRef, recovery: string, text: string, record?: RecoveryRecord): Promise<void> {
      const at = await nodeAt(systems, ref)
      await watched(() => writeJournal(at, recovery, text, record))
    },

    async markRecovery(ref: NodeRef, recovery: string, mark: Mark, text: string): Promise<void> {
      const at = await nodeAt(systems, ref)
      await watched(() => markRecovery(at, recovery, mark, text))
    },

    /** The recoveries that a node knows, newest first. @throws RequorumError `record-unreadable` */
    async recordedRecoveries(ref: NodeRef): Promise<RecordedRecovery[]> {
      const at = await nodeAt(systems, ref)
      return watched(() => recordedRecoveries(at))
    },

    /** @throws RequorumError `record-unreadable` */
    async readRecoveryRecord(ref: NodeRef, recovery: string): Promise<RecoveryRecord> {
      const at = await nodeAt(systems, ref)
      return watched(() => readRecoveryRecord(at, recovery))
    },

    /** Takes a lock from the run that held it, or that of nobody; another's is left alone. @throws `lock-held` */
    async takeOverLock(ref: NodeRef, from: string, owner: string): Promise<void> {
      const at = await nodeAt(systems, ref)
      await watched(() => takeOverLock(at, from, owner))
    },
  }
}
