import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, test } from 'node:test'
import { RequorumError } from '../../domain/failures.ts'
import { fail, pass, type Finding } from '../../domain/validation/finding.ts'
import { checkWithin, type HealthCheck, type UnderCheck } from '../../systems/node/health-check.ts'
import { clusterConfig } from './examples.ts'

function under(limitMs: number, signal = new AbortController().signal): UnderCheck {
  return {
    config: clusterConfig(),
    nodes: [],
    run: '1a2b3c4d',
    limitMs,
    against: { none: 'nothing is compared' },
    watching: { signal, onBeat: () => undefined },
  }
}

/** Finds one after the other, and the last one from then on. */
function finding(...found: Finding[]): HealthCheck & { looks: () => number } {
  let looks = 0
  const check = async (): Promise<Finding> => found[Math.min(looks++, found.length - 1)] ?? fail('none')
  return Object.assign(check, { looks: () => looks })
}

const forEver: HealthCheck = () => new Promise(() => undefined)

describe('a check within its limit', () => {
  test('gives what it found', async () => {
    const check = finding(pass('good'))
    assert.deepEqual(await checkWithin(check, under(1_000), { again: 0 }), pass('good'))
    assert.equal(check.looks(), 1)
  })

  test('that throws is a failure with what and why, in one line', async () => {
    const throws: HealthCheck = async () => {
      throw new RequorumError('etcd-unavailable', { what: 'cp-01: no.', why: 'a\nb', todo: 'Look.' })
    }
    assert.deepEqual(
      await checkWithin(throws, under(1_000), { again: 0 }),
      fail('it could not be made: cp-01: no. a b'),
    )
  })

  test('that never ends is a failure at its limit, even when it hears no signal', async () => {
    const began = performance.now()
    assert.deepEqual(
      await checkWithin(forEver, under(100), { again: 0 }),
      fail('it did not come to its end within 0.1 s'),
    )
    assert.ok(performance.now() - began < 2_000)
  })

  test('looks at a failure again as often as it is told to, or until it is good', async () => {
    const hasty = finding(fail('not yet'), pass('now'))
    assert.equal((await checkWithin(hasty, under(1_000), { again: 0 })).verdict, 'fail')
    const slow = finding(fail('not yet'), fail('not yet'), pass('now'))
    assert.equal((await checkWithin(slow, under(1_000), { again: 1, pauseMs: 5 })).verdict, 'fail')
    assert.equal(slow.looks(), 2)
    const patient = finding(fail('not yet'), fail('not yet'), pass('now'))
    assert.deepEqual(await checkWithin(patient, under(5_000), { again: Infinity, pauseMs: 5 }), pass('now'))
    assert.equal(patient.looks(), 3)
  })

  test('that is to be looked at for ever ends with what it saw last, when its time is over', async () => {
    const never = finding(fail('cp-03 is down'))
    assert.deepEqual(
      await checkWithin(never, under(100), { again: Infinity, pauseMs: 10 }),
      fail('cp-03 is down'),
    )
    let looks = 0
    const hangsLater: HealthCheck = (asked) => {
      looks += 1
      return looks === 1 ? Promise.resolve(fail('cp-03 is down')) : forEver(asked)
    }
    assert.deepEqual(
      await checkWithin(hangsLater, under(100), { again: Infinity, pauseMs: 10 }),
      fail('cp-03 is down'),
    )
  })

  test('that is cancelled throws the cancellation and finds nothing', async () => {
    for (const check of [forEver, finding(fail('not yet'))]) {
      const controller = new AbortController()
      const ended = checkWithin(check, under(60_000, controller.signal), { again: Infinity, pauseMs: 30_000 })
      await sleep(20)
      controller.abort(new Error('stop'))
      await assert.rejects(ended, /stop/)
    }
  })
})
