import { isCancellation } from '@temporalio/workflow'
import { RequorumError } from '../../domain/failures.ts'
import type { Comparison } from '../../domain/validation/object-counts.ts'
import { whyOf } from './failure.ts'
import { look } from './hands.ts'
import type { Run } from './run.ts'

/**
 * The snapshot whose inventory the counts are held against: the one that is named, else the newest proved one.
 * Without one there is nothing to compare with, and the check says so.
 *
 * @throws RequorumError `input-invalid` when the named one isn't in the catalogue.
 */
export function chooseComparison(run: Run, named: string | undefined): Promise<Comparison> {
  return run.step(
    'Choose the snapshot to compare with',
    async (): Promise<Comparison> => {
      const catalogue = await look.readCatalogue(run.cluster).catch((error: unknown) => {
        if (isCancellation(error)) throw error
        return { unread: whyOf(error) }
      })
      if ('unread' in catalogue) return { none: `the catalogue can't be read: ${catalogue.unread}` }
      const found =
        named === undefined ? catalogue.proved[0] : catalogue.proved.find(({ key }) => key === named)
      if (found !== undefined) {
        const { key, takenAt, revision, inventory } = found
        return { key, takenAt, revision, inventory }
      }
      if (named === undefined) return { none: `there is no proved snapshot of ${run.cluster}` }
      throw new RequorumError('input-invalid', {
        what: `${named.slice(0, 200)} is no proved snapshot of ${run.cluster}.`,
        todo: `Name one of those that \`requorum snapshots ${run.cluster}\` lists, or none for the newest.`,
      })
    },
    (against) => ('none' in against ? against.none : against.key),
  )
}
