import { randomFillSync } from 'node:crypto'
import { z } from 'zod'
import { EtcdGateway } from '../../lab/hosts/etcd-gateway.ts'
import type { LabHosts } from '../../lab/hosts/lab-hosts.ts'

const VALUE_BYTES = 8 * 1024
/** etcd takes 128 operations and 1.5 MiB a transaction. */
const KEYS_PER_TXN = 128
const PARALLEL = 4

/** Fills etcd with values of 8 KiB that can't be compressed, so that its database is about as large as asked. */
export async function fillTo(
  lab: LabHosts,
  bytes: number,
  prefix = '/registry/configmaps/bulk',
): Promise<void> {
  const transactions = Math.ceil(bytes / (VALUE_BYTES * KEYS_PER_TXN))
  const gateway = await EtcdGateway.connect(lab)
  try {
    const work = Array.from({ length: transactions }, (_, index) => index).values()
    await Promise.all(
      Array.from({ length: PARALLEL }, async () => {
        for (const index of work)
          await gateway.call('/v3/kv/txn', { success: puts(prefix, index) }, z.unknown(), 60_000)
      }),
    )
  } finally {
    gateway.close()
  }
}

function puts(prefix: string, transaction: number): unknown[] {
  return Array.from({ length: KEYS_PER_TXN }, (_, index) => ({
    request_put: {
      key: Buffer.from(`${prefix}/${transaction}-${index}`).toString('base64'),
      value: randomFillSync(Buffer.allocUnsafe(VALUE_BYTES)).toString('base64'),
    },
  }))
}

const size = z.looseObject({ dbSize: z.string() })

/** Fills etcd until its database has about this size: pages take more than what is in them. */
export async function fillUntil(lab: LabHosts, bytes: number, prefix: string): Promise<void> {
  const gateway = await EtcdGateway.connect(lab)
  try {
    for (let turn = 1; ; turn++) {
      const { dbSize } = await gateway.call('/v3/maintenance/status', {}, size)
      const missing = bytes - Number(dbSize)
      if (missing < VALUE_BYTES * KEYS_PER_TXN) return
      await fillTo(lab, missing / 2, `${prefix}-${turn}`)
    }
  } finally {
    gateway.close()
  }
}
