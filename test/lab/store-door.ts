import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Transform } from 'node:stream'
import type { Lab } from '../../lab/lab.ts'
import { editClusterFile } from './use-lab.ts'

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

/**
 * A failing twin in front of the lab's store: passes everything on unchanged, and can stop one request at the door,
 * before the store sees it, or its answer, after the store did its work; or answer with a byte flipped.
 */
export class StoreDoor {
  readonly #server: Server
  readonly #rules: Rule[]
  readonly #flips: Rule['matches'][]
  readonly #putBack: () => Promise<void>

  private constructor(server: Server, rules: Rule[], flips: Rule['matches'][], putBack: () => Promise<void>) {
    this.#server = server
    this.#rules = rules
    this.#flips = flips
    this.#putBack = putBack
  }

  /** From here on the cluster file leads to the store through the door. */
  static async before(lab: Lab): Promise<StoreDoor> {
    const store = new URL(lab.store.endpoint)
    const rules: Rule[] = []
    const flips: Rule['matches'][] = []
    const server = createServer((incoming, outgoing) => {
      pass(store, rules, flips, incoming, outgoing).catch(() => outgoing.destroy())
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address: AddressInfo | string | null = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const putBack = await editClusterFile(lab, (file) => {
      const before = file['store']
      file['store'] = { ...(typeof before === 'object' ? before : {}), endpoint: `http://127.0.0.1:${port}` }
    })
    return new StoreDoor(server, rules, flips, putBack)
  }

  /** Holds the first request that matches, or its answer. */
  hold(on: Rule['on'], matches: Rule['matches']): Held {
    const arrival = Promise.withResolvers<void>()
    const end = Promise.withResolvers<boolean>()
    this.#rules.push({ on, matches, arrive: arrival.resolve, goesOn: end.promise })
    return { arrived: arrival.promise, release: () => end.resolve(true), drop: () => end.resolve(false) }
  }

  /** From here on the middle byte of every body that answers such a request is another one. */
  flip(matches: Rule['matches']): void {
    this.#flips.push(matches)
  }

  async close(): Promise<void> {
    await this.#putBack()
    this.#server.closeAllConnections()
    this.#server.close()
  }
}

async function pass(
  store: URL,
  rules: Rule[],
  flips: readonly Rule['matches'][],
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const { method = 'GET', url = '/' } = incoming
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
  incoming.pipe(onward)
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
