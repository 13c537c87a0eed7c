import { parse } from 'lossless-json'
import { z } from 'zod'
import { RequorumError } from '../../domain/failures.ts'
import { etcdId, revision, type EtcdId, type Revision } from '../../domain/values.ts'

/**
 * etcd prints 64-bit IDs, revisions, terms and indexes as JSON numbers, which `JSON.parse` rounds. Here every
 * integer is a bigint until it becomes a string of its own kind.
 */
const integer = z.bigint()
export const idField = z
  .bigint()
  .default(0n)
  .transform((value): EtcdId => etcdId.parse(BigInt.asUintN(64, value).toString(16).padStart(16, '0')))
export const revisionField = z
  .bigint()
  .default(0n)
  .transform((value): Revision => revision.parse(value.toString()))
export const decimalField = z
  .bigint()
  .default(0n)
  .transform((value) => value.toString())
/** For sizes and counts, which stay far below 2^53. */
export const countField = integer.default(0n).transform(Number)

/** @throws RequorumError `etcd-output-unreadable` */
export function parseEtcdJson<Shape extends z.ZodType>(
  shape: Shape,
  text: string,
  command: string,
): z.output<Shape> {
  let why: string
  try {
    const value = parse(text, undefined, {
      parseNumber: (digits) => (/^-?\d+$/.test(digits) ? BigInt(digits) : Number(digits)),
    })
    const read = shape.safeParse(value)
    if (read.success) return read.data
    why = z.prettifyError(read.error)
  } catch (error) {
    why = error instanceof Error ? error.message : String(error)
  }
  throw new RequorumError('etcd-output-unreadable', {
    what: `The output of ${command} isn't what was expected.`,
    why: why.slice(0, 500),
    todo: 'Run it by hand on the node; report it with the version of etcdctl or etcdutl.',
  })
}
