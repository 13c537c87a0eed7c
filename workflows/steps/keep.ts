import { check, type Check } from '../../domain/verdict.ts'
import { whyOf } from './failure.ts'

/**
 * Does work whose failure is a failed check and no failed run: where nothing is swapped back any more, all that is left
 * is done all the same.
 *
 * @param name - of the check that is added where it fails
 * @returns null where it failed
 */
export async function keep<Result>(
  checks: Check[],
  name: string,
  work: () => Promise<Result>,
): Promise<Result | null> {
  try {
    return await work()
  } catch (error) {
    checks.push(check(name, false, whyOf(error)))
    return null
  }
}
