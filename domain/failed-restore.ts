import { shortDigest } from './consent.ts'
import { digestOfWhole } from './plan-step.ts'
import { digestOf, type RestorePlan } from './restore-plan.ts'
import type { PlanDigest } from './values.ts'

/** What may be approved when a step of a restore failed for good and no client could write yet. */
export type Wish = 'again' | 'another'

/** An approval is given to this plan, this failure and this many tries. */
export function wishDigest(plan: RestorePlan, wish: Wish, tries: number, why: string): PlanDigest {
  return digestOfWhole({ wish, restore: digestOf(plan), tries, why })
}

/** What a person reads then. Everything can still be put back, and is, where nobody says anything. */
export function failedRestoreMarkdown(plan: RestorePlan, why: string, another: boolean): string {
  return [
    `**The restore of ${plan.cluster} can't go on**: ${why}`,
    '',
    `It is plan ${shortDigest(digestOf(plan))}, from \`${plan.snapshot.key}\`. No client has written to the restored etcd yet.`,
    '',
    '- Mend the cause and approve: it goes on from the step that failed.',
    ...(another
      ? [
          '- Or approve the other plan: everything is put back, the next older snapshot is taken, and its own plan is asked for.',
        ]
      : []),
    '- Refused or not answered in time, everything is put back: data and manifests are what they were.',
  ].join('\n')
}
