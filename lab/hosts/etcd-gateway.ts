import { readFile } from 'node:fs/promises'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { clientUrl } from './etcd-manifest.ts'
import { labPaths, type LabHost, type LabHosts } from './lab-hosts.ts'

const header = z.looseObject({ revision: z.string().default('0') })

const member = z.looseObject({
  ID: z.string(),
  name: z.string().default(''),
  peerURLs: z.array(z.string()),
  isLearner: z.boolean().default(false),
})

export const memberList = z.looseObject({ header, members: z.array(member), member: member.optional() })

/** A member as etcd's gateway describes it; the ID is a decimal string, as it has 64 bits. */
export type GatewayMember = z.infer<typeof member>

/** etcd's own answer that it did not do what was asked. */
export class EtcdRefused extends Error {
  readonly status: number

  constructor(path: string, status: number, text: string) {
    super(`etcd answered ${path} with ${status}: ${text.slice(0, 300)}`)
    this.name = 'EtcdRefused'
    this.status = status
  }
}

/**
 * A client of etcd's gRPC gateway (JSON over HTTPS with a client certificate) for the lab's own
 * work: to form the cluster, to fill it and to compare it. Runbooks use etcdctl on the nodes.
 */
export class EtcdGateway {
  readonly #agent: Agent
  readonly #endpoints: readonly string[]

  private constructor(agent: Agent, endpoints: readonly string[]) {
    this.#agent = agent
    this.#endpoints = endpoints
  }

  /** @param hosts - who is asked; by default all of the lab's, the first that answers */
  static async connect(lab: LabHosts, hosts: readonly LabHost[] = lab.hosts): Promise<EtcdGateway> {
    const { pki } = labPaths(lab)
    const agent = new Agent({
      keepAlive: true,
      maxSockets: 64,
      ca: await readFile(join(pki, 'ca.crt')),
      cert: await readFile(join(pki, 'client.crt')),
      key: await readFile(join(pki, 'client.key')),
    })
    return new EtcdGateway(agent, hosts.map(clientUrl))
  }

  /**
   * One request to the first endpoint that can be reached.
   * @throws EtcdRefused when etcd answers anything but 200; Error when nobody answers in time.
   */
  async call<T>(path: string, body: unknown, answer: z.ZodType<T>, timeoutMs = 10_000): Promise<T> {
    let last: unknown
    for (const endpoint of this.#endpoints) {
      try {
        const { status, text } = await this.#post(endpoint, path, body, timeoutMs)
        if (status !== 200) throw new EtcdRefused(path, status, text)
        return answer.parse(parseGatewayJson(text))
      } catch (error) {
        if (error instanceof EtcdRefused) throw error
        last = error
      }
    }
    throw new Error(`No etcd endpoint of the lab answered ${path} (${this.#endpoints.join(', ')}).`, {
      cause: last,
    })
  }

  /** Asks until etcd agrees or the time is over, for what is refused only for a while. */
  async insist<T>(path: string, body: unknown, answer: z.ZodType<T>, limitMs: number): Promise<T> {
    const deadline = Date.now() + limitMs
    for (;;) {
      try {
        return await this.call(path, body, answer, 2_000)
      } catch (error) {
        if (Date.now() >= deadline) throw error
        await sleep(100)
      }
    }
  }

  /** The first JSON message of a stream that `accept` takes; the stream is closed then. */
  async firstMessage<T>(
    path: string,
    body: unknown,
    accept: (message: unknown) => T | undefined,
    timeoutMs: number,
  ): Promise<T | undefined> {
    const endpoint = this.#endpoints[0] ?? ''
    return new Promise((resolve, reject) => {
      const call = request(`${endpoint}${path}`, { method: 'POST', agent: this.#agent }, (response) => {
        let pending: string[] = []
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          pending.push(chunk)
          // One message can be megabytes in many chunks: joined once, at its end.
          if (!chunk.includes('\n')) return
          const lines = pending.join('').split('\n')
          pending = [lines.pop() ?? '']
          for (const line of lines) {
            const taken = accept(parseGatewayJson(line))
            if (taken !== undefined) {
              finish(taken)
              return
            }
          }
        })
        response.on('end', () => {
          finish(undefined)
        })
        response.on('error', () => {
          finish(undefined)
        })
      })
      const timer = setTimeout(() => {
        finish(undefined)
      }, timeoutMs)
      const finish = (result: T | undefined): void => {
        clearTimeout(timer)
        call.destroy()
        resolve(result)
      }
      call.on('error', (error) => {
        clearTimeout(timer)
        reject(error)
      })
      call.end(JSON.stringify(body))
    })
  }

  close(): void {
    this.#agent.destroy()
  }

  async #post(
    endpoint: string,
    path: string,
    body: unknown,
    timeoutMs: number,
  ): Promise<{ readonly status: number; readonly text: string }> {
    return new Promise((resolve, reject) => {
      const call = request(
        `${endpoint}${path}`,
        { method: 'POST', agent: this.#agent, signal: AbortSignal.timeout(timeoutMs) },
        (response) => {
          const parts: Buffer[] = []
          response.on('data', (chunk: Buffer) => parts.push(chunk))
          response.on('error', reject)
          response.on('end', () => {
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString('utf8') })
          })
        },
      )
      call.on('error', reject)
      call.end(JSON.stringify(body))
    })
  }
}

/** The gateway writes numbers of 64 bits as strings, so none of them can lose digits here. */
function parseGatewayJson(text: string): unknown {
  // eslint-disable-next-line no-restricted-properties -- see above; etcdctl's JSON is another matter
  return JSON.parse(text)
}
