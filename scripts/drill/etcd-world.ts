import { setTimeout as sleep } from 'node:timers/promises'
import type { Destruction } from '../../lab/hosts/destroy-quorum.ts'
import { readAll, seedKeyspace, watchFrom, type WholeKeyspace } from '../../lab/hosts/keyspace.ts'
import { writeLoad } from '../../lab/hosts/write-load.ts'
import type { Lab } from '../../lab/lab.ts'
import type { DrillFindings } from './report.ts'
import type { World } from './world.ts'

const KEYS = 2_000

/** An etcd with a Kubernetes-shaped keyspace and no API server: every key can be compared. */
export class EtcdWorld implements World {
  readonly #lab: Lab
  #before: WholeKeyspace | undefined

  constructor(lab: Lab) {
    this.#lab = lab
  }

  async fill(): Promise<void> {
    await seedKeyspace(this.#lab.hosts, { keys: KEYS, seed: Date.now() % 1_000_000 })
  }

  async remember(): Promise<void> {
    this.#before = await readAll(this.#lab.hosts)
  }

  async writeOn(): Promise<string> {
    const load = await writeLoad(this.#lab.hosts, { perSecond: 100 })
    await sleep(2_000)
    const { acknowledged } = await load.stop()
    return `${acknowledged.length} writes`
  }

  async findings(destruction: Destruction): Promise<DrillFindings> {
    const before = this.#before
    if (before === undefined) throw new Error('The drill has nothing to compare with.')
    const after = new Map((await readAll(this.#lab.hosts)).keys.map((key) => [key.key, key]))
    const same = before.keys.filter((key) => {
      const now = after.get(key.key)
      return (
        now !== undefined && now.value === key.value && now.version === key.version && now.lease === key.lease
      )
    })
    const watch = await watchFrom(this.#lab.hosts, before.revision)
    const newest = destruction.load.acknowledged.at(-1)
    return [
      {
        claim: 'every key from before the snapshot is back with value, version and lease',
        holds: same.length === before.keys.length,
        saw: `${same.length} of ${before.keys.length}`,
      },
      {
        claim: 'a watch from an old revision is told "compacted"',
        holds: watch.answer === 'compacted',
        saw: watch.answer,
      },
      {
        claim: 'what was written after the snapshot is gone, as the plan said',
        holds: newest !== undefined && !after.has(Buffer.from(newest.key).toString('base64')),
        saw:
          newest === undefined
            ? 'nothing was written'
            : `the last acknowledged write was revision ${newest.revision}`,
      },
    ]
  }

  async close(): Promise<void> {
    // Nothing of it runs.
  }
}
