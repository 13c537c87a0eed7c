import { createAsideActivities } from './aside.ts'
import { createBackupActivities } from './backup.ts'
import { createCatalogueActivities } from './catalogue.ts'
import { createCheckActivities } from './checks.ts'
import { createClusterActivities } from './cluster.ts'
import { createConsentActivities } from './consent.ts'
import { createDrillActivities } from './drill.ts'
import { createEngineActivities } from './engine.ts'
import { createJournalActivities } from './journal.ts'
import { createFenceActivities } from './fence.ts'
import { createNodeActivities } from './nodes.ts'
import { createRehearsalActivities } from './rehearsal.ts'
import { createSpaceActivities } from './space.ts'
import type { Systems } from './systems.ts'

/** All hands of Requorum, over the systems that they are given. Workflows know only their type. */
export function createActivities(systems: Systems) {
  return {
    ...createClusterActivities(systems),
    ...createNodeActivities(systems),
    ...createJournalActivities(systems),
    ...createBackupActivities(systems),
    ...createCatalogueActivities(systems),
    ...createEngineActivities(systems),
    ...createConsentActivities(systems),
    ...createCheckActivities(systems),
    ...createSpaceActivities(systems),
    ...createFenceActivities(systems),
    ...createAsideActivities(systems),
    ...createDrillActivities(systems),
    ...createRehearsalActivities(systems),
  }
}

export type Activities = ReturnType<typeof createActivities>
