import type { RecoveryVerdict } from '../../domain/recovery-verdict.ts'
import { cleanUpVerdictText, rollBackVerdictText } from './aside.ts'
import { reliefVerdictText } from './relieve.ts'
import { adoptVerdictText, replaceVerdictText, restoreVerdictText } from './verdict.ts'

/** The report of whatever ran under `recovery/<cluster>`. */
export function recoveryVerdictText(verdict: RecoveryVerdict, now: Date): string {
  if (!('runbook' in verdict)) return restoreVerdictText(verdict, now)
  switch (verdict.runbook) {
    case 'replaceMember':
      return replaceVerdictText(verdict)
    case 'relieve':
      return reliefVerdictText(verdict)
    case 'adopt':
      return adoptVerdictText(verdict)
    case 'cleanUp':
      return cleanUpVerdictText(verdict)
    case 'rollBack':
      return rollBackVerdictText(verdict)
  }
}
