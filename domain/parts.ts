import { sha256 as sha256Schema, type Sha256 } from './values.ts'

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
