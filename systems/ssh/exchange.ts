import { constants } from 'node:os'
import type { Readable } from 'node:stream'
import type { ClientChannel } from 'ssh2'
import type { Connection } from './connection.ts'
import { connectionLost } from './errors.ts'

/** A running command: its channel, the connection that it runs over, and how errors call it. */
export interface Running {
  channel: ClientChannel
  connection: Connection
  /** Program and first word of its arguments. */
  what: string
}

/**
 * The exit code, once all output has been read; 128 + n when signal n ended the command, as shells count.
 * @throws RequorumError connection-lost when the channel closes without either: ssh2 then says `close` without
 *   a code, which is not success and not failure.
 */
export async function exitOf({ channel, connection, what }: Running): Promise<number> {
  const { stderr } = channel
  const [code, signal] = await new Promise<[unknown, unknown]>((resolve) => {
    channel.once('close', (exit: unknown, by: unknown) => {
      if (stderr.readableEnded || stderr.destroyed) resolve([exit, by])
      else stderr.once('end', () => resolve([exit, by]))
    })
  })
  if (typeof code === 'number') return code
  if (typeof signal === 'string') return 128 + signalNumber(signal)
  throw connectionLost(connection.target, what, connection.lastError)
}

/** Gives each chunk on; whoever listens has the channel flowing, which is its back-pressure. */
export function onData(stream: Readable, take: (chunk: Buffer) => void): void {
  stream.on('data', (chunk: unknown) => {
    if (Buffer.isBuffer(chunk)) take(chunk)
  })
}

function signalNumber(name: string): number {
  const known = Object.entries(constants.signals).find(([signal]) => signal === name)
  return known?.[1] ?? 0
}
