import { pipeline, Readable } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { RequorumError } from '../../domain/failures.ts'
import type { Packing } from '../../domain/snapshot.ts'

/**
 * What was packed, as it was before, at constant memory. Fails as its source does, and with `snapshot-damaged` for what
 * can't be unpacked.
 */
export function unpacked(source: Readable, packed: Packing | undefined): Readable {
  if (packed === undefined) return source
  const unpack = packed.by === 'zstd' ? createZstdDecompress() : createGunzip()
  pipeline(source, unpack, () => undefined)
  async function* chunks(): AsyncGenerator<Buffer> {
    try {
      for await (const chunk of unpack) yield Buffer.from(chunk)
    } catch (error) {
      const ofZlib =
        error instanceof Error && 'errno' in error && 'code' in error && /^Z/.test(String(error.code))
      if (!ofZlib) throw error
      throw new RequorumError(
        'snapshot-damaged',
        {
          what: `What the store gave can't be unpacked by ${packed?.by ?? ''}.`,
          why: error.message,
          todo: 'Look at the store; the next older snapshot is not touched by this.',
        },
        { cause: error },
      )
    }
  }
  return Readable.from(chunks(), { objectMode: false })
}
