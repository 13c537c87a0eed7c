/** What a relay costs the worker in memory. The same at 1 GiB: npm run bench -- relay */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findWorker } from '../../lab/services/worker.ts'
import { proved } from './backup-runs.ts'
import { fillTo } from './big-keyspace.ts'
import { idleBytes, peakBytesDuring } from './memory.ts'
import { standStill, useLab } from './use-lab.ts'

const MIB = 1024 * 1024
/** What a relay may add to the worker's memory, however large the snapshot is. */
const RELAY_BYTES = 150_000_000
const own = useLab({ cluster: { transfer: { way: 'relay' } } })

test('a relay of 256 MiB, to the store and back to three nodes at once, costs the worker no more than 150 MB', async (t) => {
  const { lab, operator } = own()
  await fillTo(lab.hosts, 256 * MIB)
  const worker = await findWorker(lab.dir)
  assert.ok(worker)
  const idle = await idleBytes(worker)
  const up = await peakBytesDuring(worker, () => operator.backup())
  const { sizeBytes } = proved(up.result)
  assert.ok(sizeBytes >= 256 * MIB)

  await standStill(lab)
  const down = await peakBytesDuring(worker, async () => {
    await operator.startRestore()
    return operator.untilCheckpoint('destroy', 600_000)
  })
  assert.ok(down.result, 'the restore came to its checkpoint, with the snapshot on every node')
  await operator.decide(down.result, 'refuse')
  await operator.result()

  const mb = (bytes: number): string => `${Math.round(bytes / MIB)} MiB`
  t.diagnostic(
    `snapshot ${mb(sizeBytes)}; worker idle ${mb(idle)}, peak up ${mb(up.peakBytes)}, peak down ${mb(down.peakBytes)}; ` +
      `whole backup ${up.seconds.toFixed(1)} s, whole staging ${down.seconds.toFixed(1)} s`,
  )
  assert.ok(up.peakBytes - idle <= RELAY_BYTES, `node to store: ${mb(up.peakBytes - idle)} above idle`)
  assert.ok(down.peakBytes - idle <= RELAY_BYTES, `store to nodes: ${mb(down.peakBytes - idle)} above idle`)
})
