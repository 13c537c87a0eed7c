import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Agent, get } from 'node:https'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { EtcdGateway } from '../../lab/hosts/etcd-gateway.ts'
import { hostPaths, type LabHost, type LabHosts } from '../../lab/hosts/lab-hosts.ts'
import type { ServiceMarks } from './speed-result.ts'

const WRITE_POLL_MS = 100
const READYZ_POLL_MS = 250
/** A member without a leader holds a request back: what is asked anew is answered no later. */
const ANSWER_WITHIN_MS = 1_000
/** On a busy machine a server that is ready may take seconds to say so; one that is not says that at once. */
const READYZ_WITHIN_MS = 5_000
const SETTLED_LOOKS = 5
const SETTLED_PAUSE_MS = 3_000

/** A watch on a cluster that is away, from the moment its clock was started. */
export interface MarkWatch {
  readonly startedAt: Date
  /** @throws Error when it does not come to all of it within the limit. */
  readonly marks: Promise<ServiceMarks>
}

/**
 * Starts the clock and looks from outside, as a client would, until etcd takes a write and every API server is
 * ready. The same eyes for every way of restoring, so that none is judged by what it says of itself.
 *
 * The write is a put of a key of the bench's own, on every member at once, about every 100 ms; an API server is
 * asked for /readyz at its own address about every 250 ms, without credentials (system:public-info-viewer).
 */
export async function watchMarks(lab: LabHosts, limitMs: number): Promise<MarkWatch> {
  const members = await eachMember(lab)
  const doors = await eachDoor(lab)
  const startedAt = new Date()
  const began = performance.now()
  const since = (): number => (performance.now() - began) / 1_000
  const limit = AbortSignal.timeout(limitMs)
  const key = `/bench/first-write-${randomBytes(4).toString('hex')}`

  const written = new AbortController()
  const firstWrite = Promise.any(
    members.map((member) =>
      poll(() => put(member, key), WRITE_POLL_MS, AbortSignal.any([limit, written.signal])).then(since),
    ),
  ).finally(() => {
    written.abort()
  })
  const readiness = Promise.all(
    doors.map(async (door) => {
      await poll(() => door.ready(), READYZ_POLL_MS, limit)
      return since()
    }),
  )
  const marks = Promise.all([firstWrite, readiness])
    .then(([write, ready]) => ({ firstWrite: write, readyz: ready.length === 0 ? null : Math.max(...ready) }))
    .catch((cause: unknown) => {
      throw new Error(`The cluster was not back within ${limitMs / 1_000} s.`, { cause })
    })
    .finally(() => {
      for (const client of [...members, ...doors]) client.close()
    })
  // Whoever is stopped before it waits for them is stopped by another error.
  marks.catch(() => undefined)
  return { startedAt, marks }
}

/** Waits until an API server whose etcd is gone has stopped saying for a moment more that it is ready. */
export async function untilSilent(lab: LabHosts, limitMs = 120_000): Promise<void> {
  const doors = await eachDoor(lab)
  const limit = AbortSignal.timeout(limitMs)
  const silent = async (door: ApiServerDoor): Promise<boolean> => !(await door.ready().catch(() => false))
  try {
    await Promise.all(doors.map((door) => poll(() => silent(door), READYZ_POLL_MS, limit)))
  } finally {
    for (const door of doors) door.close()
  }
}

/** Waits until the cluster has served without a break for a while: what crashed in the outage has come back too. */
export async function untilSettled(lab: LabHosts, limitMs = 600_000): Promise<void> {
  const limit = AbortSignal.timeout(limitMs)
  for (let good = 0; good < SETTLED_LOOKS;) {
    limit.throwIfAborted()
    const served = await watchMarks(lab, 2 * ANSWER_WITHIN_MS).then(({ marks }) => marks.catch(() => null))
    good = served === null ? 0 : good + 1
    await sleep(SETTLED_PAUSE_MS)
  }
}

async function poll(ask: () => Promise<boolean>, everyMs: number, end: AbortSignal): Promise<void> {
  while (!(await ask().catch(() => false))) {
    await sleep(everyMs)
    end.throwIfAborted()
  }
}

function eachMember(lab: LabHosts): Promise<EtcdGateway[]> {
  return Promise.all(lab.hosts.map((host) => EtcdGateway.connect(lab, [host])))
}

async function put(member: EtcdGateway, key: string): Promise<boolean> {
  const body = { key: Buffer.from(key).toString('base64'), value: '' }
  await member.call('/v3/kv/put', body, z.unknown(), ANSWER_WITHIN_MS)
  return true
}

async function eachDoor(lab: LabHosts): Promise<ApiServerDoor[]> {
  return lab.profile === 'kubeadm' ? Promise.all(lab.hosts.map((host) => ApiServerDoor.of(lab, host))) : []
}

/** One API server, asked by its own address, past any load balancer. */
class ApiServerDoor {
  readonly #url: string
  readonly #agent: Agent

  private constructor(host: LabHost, ca: Buffer) {
    this.#url = `https://${host.address}:6443/readyz`
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1, ca })
  }

  static async of(lab: LabHosts, host: LabHost): Promise<ApiServerDoor> {
    const ca = join(hostPaths(lab, host.name).root, 'etc/kubernetes/pki/ca.crt')
    return new ApiServerDoor(host, await readFile(ca))
  }

  ready(): Promise<boolean> {
    const options = { agent: this.#agent, signal: AbortSignal.timeout(READYZ_WITHIN_MS) }
    return new Promise((resolve, reject) => {
      const call = get(this.#url, options, (response) => {
        response.once('error', reject)
        response.once('end', () => {
          resolve(response.statusCode === 200)
        })
        response.resume()
      })
      call.once('error', reject)
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}
