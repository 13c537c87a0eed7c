/** The store answers with a rotten snapshot, and then the restore itself fails: named, passed over, and undone. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  beforeRestoreEverywhere,
  consentedRestore,
  etcdctl,
  failureOf,
  makeSchedule,
  matches,
} from '../lab/recoveries.ts'
import { StoreDoor } from '../lab/store-door.ts'
import { everyByteStays } from '../lab/undone.ts'
import { everyHost, standStill, useLab } from '../lab/use-lab.ts'

const up = useLab({ keys: 300 })

test('a rotten snapshot is named and the one before offered; a failure before the opening leaves every byte as it was', async () => {
  const own = up()
  const { lab, operator } = own
  await makeSchedule(own)
  const keys: string[] = []
  for (const value of ['older', 'newer']) {
    await etcdctl(lab, 'cp-01', 'put', '/registry/configmaps/default/which', value)
    const backedUp = await operator.backup()
    assert.ok('verdict' in backedUp && backedUp.verdict.outcome === 'proved', JSON.stringify(backedUp))
    keys.push(backedUp.verdict.key)
  }
  const [older = '', newer = ''] = keys

  // Every byte stands still from here on, so that it can be compared.
  await standStill(lab)
  const door = await StoreDoor.before(lab)
  door.flip((method, path) => method === 'GET' && path.includes(newer))
  const real = await beforeRestoreEverywhere(lab, 'echo "a bad day" >&2; exit 3')

  const failure = await everyByteStays(own, async () => {
    await consentedRestore(own, (waiting) => {
      assert.match(waiting.shows, new RegExp(older), 'the one before is offered')
      const named = waiting.shows.split('\n').filter((line) => line.includes(newer))
      assert.match(named.join('\n'), /SHA-256|checksum/i, 'the rotten one is named, with its reason')
    })
    return failureOf(await operator.resultWithoutRetry())
  })
  assert.equal(failure.code, 'restore-undone')
  assert.match(failure.message, /a bad day/)
  const aside = await everyHost(lab, (host) => matches(lab, host, '/var/lib/etcd.*'))
  assert.deepEqual(aside.flat(), [], 'nothing is left aside')
  await real()
  await door.close()
})
