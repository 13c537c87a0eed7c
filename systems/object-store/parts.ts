import { createHash } from 'node:crypto'
import { sha256 as sha256Schema, type Sha256 } from '../../domain/values.ts'

/** A piece of an object that is stored in parts. */
export interface Part {
  /** From 1. */
  readonly number: number
  /** Where it begins in the whole, in bytes. */
  readonly offset: number
  readonly sizeBytes: number
  readonly sha256: Sha256
}

/** How many parts an object may have (S3 User Guide, "Multipart upload limits"). */
const MOST_PARTS = 10_000

const MIB = 1_048_576

/** The size of every part but the last: what was asked for, or more where that would make too many. In whole MiB. */
export function partBytesFor(sizeBytes: number, wanted: number): number {
  return Math.max(wanted, Math.ceil(sizeBytes / MOST_PARTS / MIB) * MIB)
}

/** @param hashes - the SHA-256 of each part, in their order */
export function partsOf(sizeBytes: number, partBytes: number, hashes: readonly string[]): Part[] {
  const count = Math.ceil(sizeBytes / partBytes)
  if (hashes.length !== count) throw new RangeError(`${count} parts, and ${hashes.length} hashes`)
  return hashes.map((hash, index) => ({
    number: index + 1,
    offset: index * partBytes,
    sizeBytes: Math.min(partBytes, sizeBytes - index * partBytes),
    sha256: sha256Schema.parse(hash),
  }))
}

/**
 * What S3 keeps as the SHA-256 of an object in parts: the SHA-256 over those of the parts, and how many there are (S3
 * User Guide, "Checking object integrity", composite checksums).
 */
export function hashOfParts(parts: readonly Pick<Part, 'sha256'>[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(Buffer.from(part.sha256, 'hex'))
  return `${hash.digest('hex')}-${parts.length}`
}
