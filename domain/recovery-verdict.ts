import type { AdoptVerdict } from './adopt-verdict.ts'
import type { CleanUpVerdict } from './clean-up-text.ts'
import type { ReliefVerdict } from './relief-verdict.ts'
import type { RollBackVerdict } from './roll-back-text.ts'
import type { ReplaceVerdict, RestoreVerdict } from './verdict.ts'

/** What a run under `recovery/<cluster>` ends with, whichever runbook it is of. */
export type RecoveryVerdict =
  RestoreVerdict | ReplaceVerdict | ReliefVerdict | AdoptVerdict | CleanUpVerdict | RollBackVerdict
