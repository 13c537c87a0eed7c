import { setTimeout as sleep } from 'node:timers/promises'
import { killWorker, startWorker } from '../../lab/services/worker.ts'
import type { OwnLab } from '../lab/own-lab.ts'
import type { StoreDoor } from '../lab/store-door.ts'

export interface Disturbed extends OwnLab {
  /** Between nodes and store. */
  readonly door: StoreDoor
}

/** What happens to one backup. It begins with the backup, and is over when it resolves. */
export interface Disturbance {
  readonly name: string
  /** @param moment - from 0 to 1: how far into the backup's usual time */
  readonly happen: (own: Disturbed, moment: number) => Promise<void>
}

/** An undisturbed backup of the soak's keyspace takes about as long. */
const USUAL_MS = 2_500
const toStore = (method: string): boolean => method === 'PUT'
const fromStore = (method: string): boolean => method === 'GET' || method === 'HEAD'

export const DISTURBANCES: readonly Disturbance[] = [
  { name: 'none', happen: () => Promise.resolve() },
  {
    name: 'worker killed',
    async happen({ lab }, moment) {
      await sleep(moment * USUAL_MS)
      await killWorker(lab.dir)
      await startWorker(lab.dir, () => undefined)
    },
  },
  {
    name: 'worker killed twice',
    async happen({ lab }, moment) {
      for (const share of [moment, 1]) {
        await sleep(share * USUAL_MS)
        await killWorker(lab.dir)
        await startWorker(lab.dir, () => undefined)
      }
    },
  },
  { name: 'store busy for puts', happen: ({ door }, moment) => busy(door, toStore, moment) },
  { name: 'store busy for reads', happen: ({ door }, moment) => busy(door, fromStore, moment) },
  { name: 'a put is reset', happen: ({ door }) => dropped(door, 'request', toStore) },
  { name: 'the answer of a put is lost', happen: ({ door }) => dropped(door, 'answer', toStore) },
  { name: 'the answer of a read is lost', happen: ({ door }) => dropped(door, 'answer', fromStore) },
  {
    name: 'worker killed while the store is busy',
    async happen(own, moment) {
      await Promise.all([
        busy(own.door, toStore, moment),
        (async () => {
          await sleep(USUAL_MS)
          await killWorker(own.lab.dir)
          await startWorker(own.lab.dir, () => undefined)
        })(),
      ])
    },
  },
]

async function busy(door: StoreDoor, matches: (method: string) => boolean, moment: number): Promise<void> {
  const saying = door.say(503, 'SlowDown', matches)
  await sleep(1_000 + moment * 6_000)
  saying.stop()
}

async function dropped(
  door: StoreDoor,
  on: 'request' | 'answer',
  matches: (method: string) => boolean,
): Promise<void> {
  const held = door.hold(on, matches)
  // A backup that ended before anything came to the door leaves nothing to drop.
  await Promise.race([held.arrived, sleep(20_000)])
  held.drop()
}
