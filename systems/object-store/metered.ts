import { pipeline, Transform, type Readable } from 'node:stream'

export interface MeterRequest {
  readonly sizeBytes: number
  /** Told after each chunk how many bytes have passed. */
  readonly onBytes?: ((passed: number) => void) | undefined
  /** Says what the source's error means to whoever reads the meter. */
  readonly failed: (error: Error) => Error
  /** The error for a source that ended early or went on too long, after this many bytes. */
  readonly wrongSize: (passed: number) => Error
}

/**
 * The source, watched: passes exactly `sizeBytes` or fails. Destroying either end destroys both, and no late
 * error of the source is left without a listener, which would end the process.
 */
export function metered(source: Readable, request: MeterRequest): Readable {
  let passed = 0
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      passed += chunk.length
      if (passed > request.sizeBytes) {
        done(request.wrongSize(passed))
        return
      }
      request.onBytes?.(passed)
      done(null, chunk)
    },
    flush(done) {
      done(passed === request.sizeBytes ? null : request.wrongSize(passed))
    },
  })
  // Before the pipeline's own listener, which would pass the raw error on.
  source.on('error', (error) => meter.destroy(request.failed(error)))
  meter.on('error', () => undefined)
  pipeline(source, meter, () => undefined)
  return meter
}
