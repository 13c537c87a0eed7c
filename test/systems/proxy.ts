import { createServer, connect, type Socket } from 'node:net'
import { portOf } from './free-port.ts'

export interface Proxy extends AsyncDisposable {
  readonly url: string
  /** The next so many answers to such requests (`PUT /bucket/key …`) are swallowed and the connection cut. */
  dropAnswerTo(request: RegExp, times: number): void
  dropped(): number
  /** The next answer is cut, or left hanging, after this many bytes. */
  breakAnswerAfter(bytes: number, how: 'cut' | 'stall'): void
  /** From now on this text in a request's head is replaced by another of the same length. */
  replace(text: string, by: string): void
  /** Heads of all requests so far, one per connection. */
  requests(): readonly string[]
}

/** A TCP proxy that does harm; without a target it takes connections and never answers. One request each. */
export async function proxyTo(target: string | undefined): Promise<Proxy> {
  const drops: { request: RegExp; left: number }[] = []
  const heads: string[] = []
  const sockets = new Set<Socket>()
  let dropped = 0
  let breakage: { after: number; how: 'cut' | 'stall' } | undefined
  let replacement: { text: string; by: string } | undefined
  const server = createServer((near) => {
    sockets.add(near)
    near.on('error', () => undefined)
    if (target === undefined) return
    const { hostname, port } = new URL(target)
    const far = connect(Number(port), hostname)
    sockets.add(far)
    far.on('error', () => near.destroy())
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
    let drop: { left: number } | undefined
    let answered = 0
    const broken = breakage
    near.on('data', (chunk) => {
      // A connection that is used again starts another request; heads come in one piece here.
      const text = chunk.toString('latin1')
      if (/^(PUT|HEAD|GET) \/.* HTTP\/1\.1\r\n/.test(text)) {
        heads.push(text.split('\r\n\r\n')[0] ?? '')
        drop = drops.find(({ request, left }) => left > 0 && request.test(text))
      }
      const changed = replacement === undefined ? text : text.replaceAll(replacement.text, replacement.by)
      far.write(Buffer.from(changed, 'latin1'))
    })
    far.on('data', (chunk) => {
      if (drop !== undefined) {
        drop.left--
        dropped++
        drop = undefined
        near.destroy()
        return
      }
      answered += chunk.length
      if (broken === undefined || answered < broken.after) near.write(chunk)
      else if (broken.how === 'cut') near.destroy()
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  return {
    url: `http://127.0.0.1:${portOf(server)}`,
    dropAnswerTo: (request, times) => drops.push({ request, left: times }),
    dropped: () => dropped,
    breakAnswerAfter: (after, how) => {
      breakage = { after, how }
    },
    replace: (text, by) => {
      replacement = { text, by }
    },
    requests: () => heads,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
