import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { partPath } from '../parts/parts.mjs'
import { removeSockets, type MasterPorts } from './object-server.ts'
import type { ServiceSpec } from './service.ts'

const LEADS_WITHIN_MS = 60_000

/**
 * The part of SeaweedFS that keeps the bytes, as a process of its own: within the server it would announce itself 1.79 s
 * after its start, the master leads after 1.5 to 1.875 s, and who comes a moment early is not heard for five seconds
 * (SeaweedFS 4.48).
 */
export function volumeServerSpec(dir: string, master: MasterPorts | null): ServiceSpec {
  const data = join(dir, 'data')
  return {
    name: 'volumes',
    dir,
    portCount: 2,
    prepare: () => {
      mkdirSync(data, { recursive: true, mode: 0o700 })
      return Promise.resolve()
    },
    command: ([http, grpc]) => ({
      command: partPath('weed'),
      args: [
        ...['-logtostderr=true', 'volume', `-dir=${data}`, '-max=0', '-preStopSeconds=0'],
        ...['-ip=127.0.0.1', '-ip.bind=127.0.0.1', `-port=${http}`, `-port.grpc=${grpc}`],
        ...(master === null ? [] : [`-mserver=127.0.0.1:${master.http}.${master.grpc}`]),
      ],
    }),
    ready: async ([http]) => {
      const response = await fetch(`http://127.0.0.1:${http}/healthz`, { signal: AbortSignal.timeout(5_000) })
      await response.arrayBuffer()
      return response.ok
    },
    readyWithinMs: 90_000,
    endGraceMs: 1_000,
    sweep: ([http, grpc]) => removeSockets([`volume-${http}`, `volume-grpc-${grpc}`]),
  }
}

/** Waits until the master leads; false when that is not waited for any more. */
export async function masterLeads({ http }: MasterPorts, stop?: AbortSignal): Promise<boolean> {
  const deadline = Date.now() + LEADS_WITHIN_MS
  while (Date.now() < deadline && stop?.aborted !== true) {
    const text = await fetch(`http://127.0.0.1:${http}/cluster/status`, {
      signal: AbortSignal.timeout(5_000),
    })
      .then((response) => response.text())
      .catch(() => '')
    if (/"IsLeader":\s*true/.test(text)) return true
    await sleep(20)
  }
  return false
}
