import type { Logger } from '@temporalio/common'
import { FINDINGS, type Alarm, type Finding } from '../../domain/freshness.ts'

/**
 * Where alarms go. An alarm is told apart by its key alone: raised twice it is one, and cleared it is over. A ticket
 * system is one more of these.
 */
export interface Alarms {
  /** @param again - it has been open since an earlier look */
  raise(alarm: Alarm, again: boolean): Promise<void>
  clear(key: string, cluster: string): Promise<void>
}

/** The worker's log, and whatever shows which findings are open: its metrics. */
export function createAlarms(
  { logger }: { readonly logger: Logger },
  showOpen: (cluster: string, finding: Finding['what'], open: boolean) => void,
): Alarms {
  const show = (cluster: string, open: readonly string[]): void => {
    for (const finding of FINDINGS) showOpen(cluster, finding, open.includes(finding))
  }
  const said = ({ findings }: Alarm): string =>
    findings.map(({ evidence, todo }) => `${evidence}. ${todo}`).join('; ')
  return {
    async raise(alarm, again) {
      if (again) logger.warn(`alarm ${alarm.key} is open since ${alarm.since}: ${said(alarm)}`)
      else logger.error(`ALARM ${alarm.key}: ${said(alarm)}`)
      show(
        alarm.cluster,
        alarm.findings.map(({ what }) => what),
      )
      await Promise.resolve()
    },
    async clear(key, cluster) {
      logger.info(`alarm ${key} is over`)
      show(cluster, [])
      await Promise.resolve()
    },
  }
}
