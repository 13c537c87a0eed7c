import { z } from 'zod'

/**
 * The small types that must not be mixed up.
 *
 * etcd's IDs, revisions, terms and indexes are 64 bit. They travel as strings, never as JSON numbers:
 * `JSON.parse` turned member 8e9e05c52164694d into …6800.
 */
export const etcdId = z
  .string()
  .regex(/^[0-9a-f]{16}$/, '16 hex digits')
  .brand<'EtcdId'>()
export type EtcdId = z.infer<typeof etcdId>

/** An ID as etcdctl prints it and wants it typed: hexadecimal without leading zeros. */
export function typedId(id: EtcdId): string {
  return id.replace(/^0+(?=.)/, '')
}

/** A revision of the keyspace, decimal int64. */
export const revision = z
  .string()
  .regex(/^\d{1,19}$/, 'a decimal int64')
  .brand<'Revision'>()
export type Revision = z.infer<typeof revision>

export const sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/, '64 hex digits')
  .brand<'Sha256'>()
export type Sha256 = z.infer<typeof sha256>

/** SHA-256 over the canonical form of what a plan will do. People type its first eight digits. */
export const planDigest = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .brand<'PlanDigest'>()
export type PlanDigest = z.infer<typeof planDigest>

/** ISO 8601 in UTC, to the second or finer, always with a Z. */
export const utcTime = z.iso.datetime()

export function compareRevisions(a: Revision, b: Revision): number {
  const difference = BigInt(a) - BigInt(b)
  return difference < 0n ? -1 : difference > 0n ? 1 : 0
}

export function addToRevision(base: Revision, amount: bigint): Revision {
  return revision.parse((BigInt(base) + amount).toString())
}

/** `20261122T021400Z`: sorts by time, is safe in a path, and is UTC because it says Z. */
export function compactUtc(time: Date): string {
  return time
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(/[-:]/g, '')
}

/** `2026-11-22T02:14:00.000Z` of `20261122T021400Z`. */
export function utcOfCompact(compact: string): string {
  return compact.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6.000Z')
}

/** JSON with sorted keys and no white space, so that equal content has one form. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : inner,
  )
}
