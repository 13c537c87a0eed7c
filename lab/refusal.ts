import { RequorumError } from '../domain/failures.ts'

/** What the lab refuses for a reason that a person can mend. */
export function labRefusal(what: string, todo: string): RequorumError {
  return new RequorumError('input-invalid', { what, todo })
}
