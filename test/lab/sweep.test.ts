import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { nameOf, slice } from '../sweep/cases.ts'
import { RUNBOOKS } from '../sweep/runbooks.ts'
import { Sweep } from '../sweep/sweep.ts'
import { useLab } from './use-lab.ts'

/** The whole sweep is `npm run sweep`; here a few cases of one runbook, other ones every day. */
const CASES = 6
const DAY = Math.floor(Date.now() / 86_400_000)

const up = useLab({ keys: 200 })
let sweep: Sweep | undefined
after(() => sweep?.end())

test('struck at its steps, a runbook ends as it does undisturbed', async (t) => {
  sweep = await Sweep.on(up())
  const runbook = RUNBOOKS[DAY % RUNBOOKS.length]
  assert.ok(runbook)
  const { cases } = await sweep.golden(runbook.name)
  const n = Math.ceil(cases.length / CASES)
  const k = (Math.floor(DAY / RUNBOOKS.length) % n) + 1
  t.diagnostic(
    `${runbook.name}, slice ${k}/${n} by the day: npm run sweep -- --only '^${runbook.name}' --part ${k}/${n}`,
  )
  for (const one of slice(cases, { k, n })) {
    const { equal, note, seconds } = await sweep.run(one)
    t.diagnostic(`${nameOf(one)}: ${equal ? 'equal' : 'differs'} (${seconds.toFixed(0)} s)`)
    assert.ok(equal, `${nameOf(one)}\n${note}`)
  }
})
