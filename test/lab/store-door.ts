import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Transform } from 'node:stream'
import type { Lab } from '../../lab/lab.ts'
import { portOf } from '../systems/free-port.ts'
import { editClusterFile } from './own-lab.ts'

export interface Held {
  /** Resolves when the thing has come to the door. */
  readonly arrived: Promise<void>
  /** Lets it through. */
  release(): void
  /** It never gets through: the connection breaks. */
  drop(): void
}

interface Rule {
  readonly on: 'request' | 'answer'
  readonly matches: (method: string, path: string) => boolean
  readonly arrive: () => void
  readonly goesOn: Promise<boolean>
}

/** What the door says in the store's place, as long as it is told to. */
interface Saying {
  readonly matches: Rule['matches']
  readonly status: number
  readonly code: string
  said: number
}

/**
 * A failing twin in front of the lab's store: passes everything on unchanged, and can stop one request at the door,
 * before the store sees it, or its answer, after the store did its work; answer with a byte flipped; answer itself; or
 * take its time.
 */
export class StoreDoor {
  readonly #server: Server
  readonly #doings: Doings
  readonly #putBack: () => Promise<void>

  private constructor(server: Server, doings: Doings, putBack: () => Promise<void>) {
    this.#server = server
    this.#doings = doings
    this.#putBack = putBack
  }

  /**
   * From here on the cluster file leads to the store through the door.
   * @param from - whether only the worker's loopback has the door, or the nodes come to it too
   */
  static async before(lab: Lab, from: 'worker' | 'nodes' = 'worker'): Promise<StoreDoor> {
    const store = new URL(lab.store.endpoint)
    const doings: Doings = { rules: [], flips: [], sayings: [], bytesPerSecond: null }
    const server = createServer((incoming, outgoing) => {
      pass(store, doings, incoming, outgoing).catch(() => outgoing.destroy())
    })
    const host = from === 'worker' ? '127.0.0.1' : lab.hosts.machineAddress
    await new Promise<void>((resolve) => server.listen(0, host, resolve))
    const endpoint = `http://${host}:${portOf(server)}`
    const putBack = await editClusterFile(lab, (file) => {
      const before = file['store']
      file['store'] = { ...(typeof before === 'object' ? before : {}), endpoint }
    })
    return new StoreDoor(server, doings, putBack)
  }

  /** Holds the first request that matches, or its answer. */
  hold(on: Rule['on'], matches: Rule['matches']): Held {
    const arrival = Promise.withResolvers<void>()
    const end = Promise.withResolvers<boolean>()
    this.#doings.rules.push({ on, matches, arrive: arrival.resolve, goesOn: end.promise })
    return { arrived: arrival.promise, release: () => end.resolve(true), drop: () => end.resolve(false) }
  }

  /** From here on the middle byte of every body that answers such a request is another one. */
  flip(matches: Rule['matches']): void {
    this.#doings.flips.push(matches)
  }

  /** From here on the door answers such requests itself, with an error as S3 words them. */
  say(
    status: number,
    code: string,
    matches: Rule['matches'],
  ): { readonly times: () => number; stop(): void } {
    const saying: Saying = { matches, status, code, said: 0 }
    const { sayings } = this.#doings
    sayings.push(saying)
    return { times: () => saying.said, stop: () => void sayings.splice(sayings.indexOf(saying), 1) }
  }

  /** From here on what comes is passed on no faster than this. */
  slow(bytesPerSecond: number): void {
    this.#doings.bytesPerSecond = bytesPerSecond
  }

  async close(): Promise<void> {
    await this.#putBack()
    this.#server.closeAllConnections()
    this.#server.close()
  }
}

interface Doings {
  readonly rules: Rule[]
  readonly flips: Rule['matches'][]
  readonly sayings: Saying[]
  bytesPerSecond: number | null
}

async function pass(
  store: URL,
  { rules, flips, sayings, bytesPerSecond }: Doings,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const { method = 'GET', url = '/' } = incoming
  const saying = sayings.find(({ matches }) => matches(method, url))
  if (saying !== undefined) {
    saying.said += 1
    incoming.resume()
    outgoing.writeHead(saying.status, { 'content-type': 'application/xml', connection: 'close' })
    outgoing.end(`<?xml version="1.0"?><Error><Code>${saying.code}</Code><Message>as told</Message></Error>`)
    return
  }
  const held = async (on: Rule['on']): Promise<void> => {
    const index = rules.findIndex((rule) => rule.on === on && rule.matches(method, url))
    const [rule] = index < 0 ? [] : rules.splice(index, 1)
    if (rule === undefined) return
    rule.arrive()
    if (!(await rule.goesOn)) throw new Error('dropped at the door')
  }
  await held('request')
  const onward = request({
    host: store.hostname,
    port: store.port,
    method,
    path: url,
    headers: incoming.headers,
  })
  ;(bytesPerSecond === null ? incoming : incoming.pipe(slowedTo(bytesPerSecond))).pipe(onward)
  incoming.once('close', () => {
    if (!incoming.complete) onward.destroy()
  })
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    onward.once('response', resolve)
    onward.once('error', reject)
  })
  await held('answer')
  outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
  const middle = Math.floor(Number(answer.headers['content-length'] ?? 0) / 2)
  const flipped = middle > 0 && flips.some((matches) => matches(method, url))
  ;(flipped ? answer.pipe(flipAt(middle)) : answer).pipe(outgoing)
  answer.once('error', () => outgoing.destroy())
}

function slowedTo(bytesPerSecond: number): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      setTimeout(() => done(null, chunk), (chunk.length / bytesPerSecond) * 1_000)
    },
  })
}

function flipAt(offset: number): Transform {
  let passed = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const at = offset - passed
      passed += chunk.length
      if (at < 0 || at >= chunk.length) return done(null, chunk)
      const flipped = Buffer.from(chunk)
      flipped[at] = (flipped[at] ?? 0) ^ 1
      done(null, flipped)
    },
  })
}
