import { createHash } from 'node:crypto'
import type { StoredObject } from '../../domain/snapshot.ts'
import { sha256 as sha256Schema, type Sha256 } from '../../domain/values.ts'

/** As S3 wants it in its headers. */
export function base64Of(sha256: Sha256): string {
  return Buffer.from(sha256, 'hex').toString('base64')
}

/** The store's checksum as hex; null for none, and for one over parts (`…-3`), which isn't the content's hash. */
export function sha256Of(base64: string | undefined): Sha256 | null {
  if (base64 === undefined || !/^[A-Za-z0-9+/]{43}=$/.test(base64)) return null
  return sha256Schema.parse(Buffer.from(base64, 'base64').toString('hex'))
}

/** What the store says of an object's content: the hash of the whole, or that over its parts. */
export function checksumsOf(base64: string | undefined): Pick<StoredObject, 'sha256' | 'hashOfParts'> {
  const [, hash, parts] = /^([A-Za-z0-9+/]{43}=)-(\d+)$/.exec(base64 ?? '') ?? []
  if (hash === undefined) return { sha256: sha256Of(base64) }
  return { sha256: null, hashOfParts: `${Buffer.from(hash, 'base64').toString('hex')}-${parts}` }
}

/**
 * What S3 keeps as the SHA-256 of an object in parts: the SHA-256 over those of the parts, and how many there are (S3
 * User Guide, "Checking object integrity", composite checksums).
 */
export function hashOfParts(parts: readonly { readonly sha256: Sha256 }[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(Buffer.from(part.sha256, 'hex'))
  return `${hash.digest('hex')}-${parts.length}`
}
