import type { Readable } from 'node:stream'
import { RequorumError } from '../../domain/failures.ts'
import { metered } from './metered.ts'
import type { NewObject, PutOptions } from './object-store.ts'
import type { S3Requests } from './s3-requests.ts'

export interface Streamed extends PutOptions {
  readonly source: Readable
  /** The object, and how many bytes of it this request carries. */
  readonly content: Pick<NewObject, 'key' | 'sizeBytes'>
  /** As in `storeFailure`. */
  readonly doing: string
}

/**
 * Sends a stream as the body of one request. A source that fails ends the request, and its failure reaches the caller
 * unchanged; what the store or the connection failed becomes what `failed` makes of it.
 */
export async function sendStream<Answer>(
  { refuseIfAborted }: S3Requests,
  { source, content, doing, signal, onBytes }: Streamed,
  send: (body: Readable, options: { abortSignal: AbortSignal }) => Promise<Answer>,
  failed: (error: unknown) => Promise<Error>,
): Promise<Answer> {
  let sourceFailure: Error | undefined
  const stop = new AbortController()
  const body = metered(source, {
    sizeBytes: content.sizeBytes,
    onBytes,
    failed: (error) => error,
    wrongSize: (passed) => sizeChanged(content, passed),
  })
  // The SDK only pipes the body: without this a source that failed would leave the request open until the
  // store gives up.
  body.on('error', (error) => {
    sourceFailure ??= error
    stop.abort()
  })
  const abortSignal = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])
  try {
    return await send(body, { abortSignal })
  } catch (error) {
    refuseIfAborted(signal, doing)
    throw sourceFailure ?? (await failed(error))
  } finally {
    body.destroy()
    source.destroy()
  }
}

function sizeChanged({ key, sizeBytes }: Streamed['content'], passed: number): RequorumError {
  return new RequorumError('store-mismatch', {
    what: `The content for ${key} was to have ${sizeBytes} bytes.`,
    why: passed > sizeBytes ? 'it went on after that' : `it ended after ${passed}`,
    todo: 'Save the snapshot again: its file changed after it was measured. Nothing was stored.',
  })
}
