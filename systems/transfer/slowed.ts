import { Transform } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

/** Passes everything on, no faster than so many bytes a second on the whole. */
export function slowed(bytesPerSecond: number): Transform {
  const begun = performance.now()
  let passed = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      passed += chunk.length
      const early = (passed / bytesPerSecond) * 1_000 - (performance.now() - begun)
      if (early <= 0) done(null, chunk)
      else void sleep(early).then(() => done(null, chunk))
    },
  })
}
