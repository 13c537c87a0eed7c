import type { Alarm, SeenSchedule } from '../domain/freshness.ts'
import type { Systems } from './systems.ts'
import { watched } from './watched.ts'

export function createEngineActivities(systems: Systems) {
  return {
    /** Pauses the backup schedule; false when there is none. A pause that somebody else made is kept as theirs. */
    async pauseBackups(cluster: string, why: string): Promise<{ paused: boolean; wasPaused: boolean }> {
      return watched(() => systems.schedules.pause(cluster, why))
    },

    /** Waits for a backup that is running, and cancels it when it takes longer than the cluster's limit. */
    async settleBackups(
      cluster: string,
    ): Promise<{ waitedFor: readonly string[]; cancelled: readonly string[] }> {
      const { limits } = await systems.loadCluster(cluster)
      return watched((watching) => systems.schedules.settle(cluster, limits.backupWait, watching.signal))
    },

    async seeBackupSchedule(cluster: string): Promise<SeenSchedule> {
      return watched(() => systems.schedules.look(cluster))
    },

    /** Which of these owners of locks (workflow ID and run ID) are runs that go on. */
    async ownersAlive(owners: readonly string[]): Promise<string[]> {
      return watched(async () => {
        const alive = await Promise.all(owners.map((owner) => systems.runs.isAlive(owner)))
        return owners.filter((_, index) => alive[index])
      })
    },

    /** Tells whoever listens; told again, it is the same alarm by its key. */
    async raiseAlarm(alarm: Alarm, again: boolean): Promise<void> {
      await watched(() => systems.alarms.raise(alarm, again))
    },

    async clearAlarm(key: string, cluster: string): Promise<void> {
      await watched(() => systems.alarms.clear(key, cluster))
    },

    async resumeBackups(cluster: string, why: string): Promise<void> {
      await watched(() => systems.schedules.resume(cluster, why))
    },
  }
}
