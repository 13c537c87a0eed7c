import { once } from 'node:events'
import type { Readable } from 'node:stream'
import type { ClientChannel } from 'ssh2'
import type { Leash } from './leash.ts'

/**
 * Writes all of `source` to a command's stdin, no faster than it takes it, and ends it.
 * Rejects when the source fails or the leash ends the wait. Ends quietly when the channel closes first, because
 * ssh2 answers no write to a closed channel.
 */
export async function feed(
  source: Readable,
  channel: ClientChannel,
  leash: Leash,
  waitingForSource: (waiting: boolean) => void,
): Promise<void> {
  const closed = new AbortController()
  channel.once('close', () => closed.abort())
  const signal = AbortSignal.any([closed.signal, leash.signal])

  try {
    for await (const chunk of source) {
      const data: unknown = chunk
      if (!Buffer.isBuffer(data) && typeof data !== 'string')
        throw new TypeError('a source gives bytes or text')
      waitingForSource(false)
      signal.throwIfAborted()
      leash.touch()
      if (!channel.write(data)) await once(channel, 'drain', { signal })
      waitingForSource(true)
    }
  } catch (error) {
    // The command ended, or the connection did: how is for the exit to say.
    if (closed.signal.aborted) return
    throw error
  }
  waitingForSource(false)
  leash.touch()
  channel.end()
}
