import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { EtcdGateway, EtcdRefused } from './etcd-gateway.ts'
import type { LabHosts } from './lab-hosts.ts'

const written = z.looseObject({ header: z.looseObject({ revision: z.string() }) })

/** One write that etcd acknowledged. */
export interface AcknowledgedWrite {
  /** As text, such as `/registry/events/load/1234-17`. */
  readonly key: string
  readonly revision: bigint
}

export interface WriteLoadResult {
  /** In the order of the acknowledgements. What is not in the store later was lost. */
  readonly acknowledged: readonly AcknowledgedWrite[]
  /** Writes without an answer: they may be in the store or not. */
  readonly unknown: number
  /** Writes that etcd refused. */
  readonly refused: number
  /** The longest time without an acknowledgement, in milliseconds, from the first one to the end of the load. */
  readonly longestPauseMs: number
}

export interface WriteLoad {
  /** So far. */
  acknowledged(): number
  /** Ends the load, waits for what is under way (2 s at most), and says what was written. */
  stop(): Promise<WriteLoadResult>
}

/** More at a time would only queue in etcd. */
const MOST_UNDER_WAY = 32
const WRITE_LIMIT_MS = 2_000

/**
 * Writes small events, each under a key of its own, at a steady rate until it is stopped. It goes
 * on while etcd is away, so it can run through a whole outage.
 */
export async function writeLoad(lab: LabHosts, options: { readonly perSecond: number }): Promise<WriteLoad> {
  const gateway = await EtcdGateway.connect(lab)
  const prefix = `/registry/events/load/${Date.now()}`
  const acknowledged: AcknowledgedWrite[] = []
  const underWay = new Set<Promise<void>>()
  let [unknown, refused, next] = [0, 0, 0]
  let [heardAt, longestPauseMs] = [Infinity, 0]
  const heard = (): void => {
    longestPauseMs = Math.max(longestPauseMs, performance.now() - heardAt)
    heardAt = performance.now()
  }
  let running = true

  const write = async (key: string): Promise<void> => {
    try {
      const body = {
        key: Buffer.from(key).toString('base64'),
        value: Buffer.from(`k8s\0load ${key}`).toString('base64'),
      }
      const { header } = await gateway.call('/v3/kv/put', body, written, WRITE_LIMIT_MS)
      acknowledged.push({ key, revision: BigInt(header.revision) })
      heard()
    } catch (error) {
      // An answer of etcd's own can still mean "timed out, may be written": only a plain no is a no.
      if (error instanceof EtcdRefused && error.status === 400) refused++
      else unknown++
    }
  }

  const pump = (async () => {
    const began = performance.now()
    while (running) {
      const due = Math.floor(((performance.now() - began) / 1000) * options.perSecond)
      while (next < due && underWay.size < MOST_UNDER_WAY) {
        const attempt = write(`${prefix}-${next++}`)
        underWay.add(attempt)
        void attempt.finally(() => underWay.delete(attempt))
      }
      // What could not be written in time is dropped, not caught up with.
      if (underWay.size >= MOST_UNDER_WAY) next = Math.max(next, due)
      await sleep(5)
    }
  })()

  return {
    acknowledged: () => acknowledged.length,
    stop: async () => {
      running = false
      await pump
      await Promise.all(underWay)
      if (acknowledged.length > 0) heard()
      gateway.close()
      return { acknowledged, unknown, refused, longestPauseMs }
    },
  }
}
