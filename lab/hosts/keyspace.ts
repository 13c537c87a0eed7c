import { z } from 'zod'
import { EtcdGateway } from './etcd-gateway.ts'
import { SEEDED_KINDS, objectValue, seededRandom, type SeededKind } from './kubernetes-values.ts'
import type { LabHosts } from './lab-hosts.ts'

const header = z.looseObject({ revision: z.string().default('0') })
const written = z.looseObject({ header })
const granted = z.looseObject({ ID: z.string() })

const storedKey = z.looseObject({
  key: z.string(),
  value: z.string().default(''),
  version: z.string(),
  lease: z.string().default('0'),
  create_revision: z.string(),
  mod_revision: z.string(),
})
const range = z.looseObject({ header, kvs: z.array(storedKey).default([]), more: z.boolean().default(false) })

/** Writes in one transaction; each transaction is one revision. etcd allows 128. */
const WRITES_PER_TXN = 16
const PARALLEL_TXNS = 16
/** As kube-apiserver's --event-ttl. */
const EVENT_TTL_SECONDS = 3600
const EVENTS_PER_LEASE = 100
const UPDATED_SHARE = 0.2
const DELETED_SHARE = 0.1

export interface SeedOptions {
  /** How many keys there are in the end. */
  readonly keys: number
  /** The same seed gives the same keys and values, though not the same revisions. */
  readonly seed: number
}

export interface SeedResult {
  readonly liveKeys: number
  readonly deletedKeys: number
  readonly leases: number
  /** The store's revision afterwards. */
  readonly revision: bigint
}

interface SeededObject {
  readonly kind: SeededKind
  readonly name: string
  readonly namespace: string
  readonly key: string
}

/**
 * Fills etcd with what a Kubernetes cluster would have there: objects of many kinds with binary
 * values, a fifth of them updated, a tenth deleted again, events on leases of an hour.
 */
export async function seedKeyspace(lab: LabHosts, options: SeedOptions): Promise<SeedResult> {
  const random = seededRandom(options.seed)
  const total = Math.ceil(options.keys / (1 - DELETED_SHARE))
  const objects = Array.from({ length: total }, (_, index) => pickObject(index, options.seed, random))
  const gateway = await EtcdGateway.connect(lab)
  try {
    const leases = await grantLeases(gateway, objects.filter(isEvent).length)
    let events = 0
    const put = (object: SeededObject, version: number): unknown => {
      const lease = isEvent(object)
        ? leases[Math.floor(events++ / EVENTS_PER_LEASE) % leases.length]
        : undefined
      return {
        request_put: {
          key: base64(object.key),
          value: objectValue(object.kind, { ...object, version }, random).toString('base64'),
          ...(lease === undefined ? {} : { lease }),
        },
      }
    }
    await inTransactions(
      gateway,
      objects.map((object) => put(object, 1)),
    )
    await inTransactions(
      gateway,
      objects.slice(0, Math.floor(total * UPDATED_SHARE)).map((object) => put(object, 2)),
    )
    const doomed = objects.slice(options.keys)
    await inTransactions(
      gateway,
      doomed.map((object) => ({ request_delete_range: { key: base64(object.key) } })),
    )
    const { header: last } = await gateway.call('/v3/kv/range', { key: base64('/'), keys_only: true }, range)
    return {
      liveKeys: options.keys,
      deletedKeys: doomed.length,
      leases: leases.length,
      revision: BigInt(last.revision),
    }
  } finally {
    gateway.close()
  }
}

/** One key as etcd has it; key and value in base64, the numbers of 64 bits as decimal strings. */
export interface StoredKey {
  readonly key: string
  readonly value: string
  readonly version: string
  readonly lease: string
  readonly createRevision: string
  readonly modRevision: string
}

export interface WholeKeyspace {
  /** The revision at which all of it was read. */
  readonly revision: bigint
  /** In the order of the keys. */
  readonly keys: readonly StoredKey[]
}

/** Reads every key at one revision, to compare what was there before with what is there after. */
export async function readAll(lab: LabHosts): Promise<WholeKeyspace> {
  const gateway = await EtcdGateway.connect(lab)
  try {
    const keys: StoredKey[] = []
    let from = 'AA=='
    let revision = '0'
    for (;;) {
      const page = await gateway.call(
        '/v3/kv/range',
        { key: from, range_end: 'AA==', limit: '500', ...(revision === '0' ? {} : { revision }) },
        range,
        30_000,
      )
      if (revision === '0') revision = page.header.revision
      for (const each of page.kvs) {
        keys.push({
          key: each.key,
          value: each.value,
          version: each.version,
          lease: each.lease,
          createRevision: each.create_revision,
          modRevision: each.mod_revision,
        })
      }
      const last = page.kvs.at(-1)
      if (!page.more || last === undefined) return { revision: BigInt(revision), keys }
      from = Buffer.concat([Buffer.from(last.key, 'base64'), Buffer.from([0])]).toString('base64')
    }
  } finally {
    gateway.close()
  }
}

/** What a watch that begins at an old revision gets. */
export type WatchAnswer =
  | { readonly answer: 'compacted'; readonly compactRevision: bigint }
  | { readonly answer: 'events'; readonly events: readonly WatchEvent[] }
  | { readonly answer: 'nothing' }

export interface WatchEvent {
  readonly type: 'put' | 'delete'
  readonly key: string
  readonly modRevision: bigint
}

const watchMessage = z.looseObject({
  result: z.looseObject({
    canceled: z.boolean().default(false),
    compact_revision: z.string().default('0'),
    events: z
      .array(
        z.looseObject({
          type: z.string().default('PUT'),
          kv: z.looseObject({ key: z.string(), mod_revision: z.string() }),
        }),
      )
      .default([]),
  }),
})

/**
 * Watches the whole keyspace from a revision, as a client does that remembers it, and returns the
 * first thing that etcd answered; `nothing` after `timeoutMs` without events.
 */
export async function watchFrom(lab: LabHosts, revision: bigint, timeoutMs = 3_000): Promise<WatchAnswer> {
  const gateway = await EtcdGateway.connect(lab)
  try {
    const request = { create_request: { key: 'AA==', range_end: 'AA==', start_revision: String(revision) } }
    const answer = await gateway.firstMessage('/v3/watch', request, watchAnswer, timeoutMs)
    return answer ?? { answer: 'nothing' }
  } finally {
    gateway.close()
  }
}

function watchAnswer(message: unknown): WatchAnswer | undefined {
  const { result } = watchMessage.parse(message)
  if (result.compact_revision !== '0') {
    return { answer: 'compacted', compactRevision: BigInt(result.compact_revision) }
  }
  if (result.events.length === 0) return undefined
  return {
    answer: 'events',
    events: result.events.map(({ type, kv }) => ({
      type: type === 'DELETE' ? 'delete' : 'put',
      key: Buffer.from(kv.key, 'base64').toString('utf8'),
      modRevision: BigInt(kv.mod_revision),
    })),
  }
}

function pickObject(index: number, seed: number, random: () => number): SeededObject {
  const sum = SEEDED_KINDS.reduce((weights, kind) => weights + kind.weight, 0)
  let left = random() * sum
  const kind = SEEDED_KINDS.find((candidate) => (left -= candidate.weight) < 0) ?? SEEDED_KINDS[0]
  if (kind === undefined) throw new Error('There is no kind to seed.')
  const namespace = kind.namespaced ? `team-${Math.floor(random() * 12)}` : ''
  const name = `${kind.kind.toLowerCase()}-${seed}-${index}`
  return {
    kind,
    name,
    namespace,
    key: ['/registry', kind.resource, namespace, name].filter(Boolean).join('/'),
  }
}

function isEvent(object: SeededObject): boolean {
  return object.kind.kind === 'Event'
}

async function grantLeases(gateway: EtcdGateway, events: number): Promise<readonly string[]> {
  const count = Math.max(1, Math.ceil(events / EVENTS_PER_LEASE))
  return Promise.all(
    Array.from({ length: count }, async () => {
      const lease = await gateway.call('/v3/lease/grant', { TTL: String(EVENT_TTL_SECONDS) }, granted)
      return lease.ID
    }),
  )
}

async function inTransactions(gateway: EtcdGateway, operations: readonly unknown[]): Promise<void> {
  const batches: unknown[][] = []
  for (let index = 0; index < operations.length; index += WRITES_PER_TXN) {
    batches.push(operations.slice(index, index + WRITES_PER_TXN))
  }
  const work = batches.values()
  await Promise.all(
    Array.from({ length: PARALLEL_TXNS }, async () => {
      for (const success of work) await gateway.call('/v3/kv/txn', { success }, written, 30_000)
    }),
  )
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}
