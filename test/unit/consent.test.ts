import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  consentStatement,
  decisionSchema,
  excerpt,
  judge,
  shortDigest,
  type OpenCheckpoint,
} from '../../domain/consent.ts'
import { planDigest } from '../../domain/values.ts'

const digest = planDigest.parse(`3fa9c1d2${'0'.repeat(56)}`)
const open: OpenCheckpoint = { name: 'destroy', digest, people: 2, until: '2026-11-23T02:14:00.000Z' }
const yes = { checkpoint: 'destroy', decision: 'approve', plan: '3fa9c1d2', by: 'ana' }
const because = (
  sent: unknown,
  at: OpenCheckpoint | null = open,
  already: readonly string[] = [],
): string | null => {
  const judged = judge(
    sent,
    at,
    already.map((who) => ({ who, digest })),
  )
  return judged.valid ? null : judged.because
}

describe('a decision counts', () => {
  test('when it names the checkpoint and at least eight digits of the plan that wait', () => {
    assert.equal(because(yes), null)
    assert.equal(because({ ...yes, plan: digest.slice(0, 9) }), null)
    assert.equal(because({ ...yes, plan: digest }), null)
    assert.equal(because({ ...yes, decision: 'refuse' }), null)
    assert.equal(because({ ...yes, proof: '-----BEGIN SSH SIGNATURE-----' }), null)
  })

  test('when somebody else has approved already', () => {
    assert.equal(because(yes, open, ['ben']), null)
  })

  test('when somebody who approved changes to a refusal', () => {
    assert.equal(because({ ...yes, decision: 'refuse' }, open, ['ana']), null)
  })
})

describe('a decision changes nothing', () => {
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  const cases: [string, unknown, RegExp][] = [
    ['nothing', undefined, /^malformed/],
    ['null', null, /^malformed/],
    ['a word', 'approve', /^malformed: the input/],
    ['a number', 42, /^malformed/],
    ['a list', [yes], /^malformed/],
    ['JSON within JSON', JSON.stringify(yes), /^malformed/],
    ['an empty object', {}, /^malformed: checkpoint/],
    ['circular', circular, /^malformed/],
    ['no plan', { ...yes, plan: undefined }, /^malformed: plan/],
    ['seven digits', { ...yes, plan: '3fa9c1d' }, /at least 8 hex digits/],
    ['more digits than there are', { ...yes, plan: `${digest}0` }, /^malformed: plan/],
    ['upper case', { ...yes, plan: '3FA9C1D2' }, /^malformed: plan/],
    ['a plan as a number', { ...yes, plan: 31415926 }, /^malformed: plan/],
    ['a pattern', { ...yes, plan: '........' }, /^malformed: plan/],
    ['another word', { ...yes, decision: 'yes' }, /^malformed: decision/],
    ['no name', { ...yes, by: '' }, /^malformed: by/],
    ['a huge name', { ...yes, by: 'a'.repeat(1_000_000) }, /^malformed: by/],
    ['a huge proof', { ...yes, proof: 'a'.repeat(1_000_000) }, /^malformed: proof/],
    ['a field that nobody knows', { ...yes, force: true }, /^malformed.*force/],
    ['a huge field that nobody knows', { ...yes, ['x'.repeat(1_000_000)]: 1 }, /^malformed/],
    ['a stranger’s checkpoint', { ...yes, checkpoint: 'accept' }, /the checkpoint that waits is "destroy"/],
    ['another plan', { ...yes, plan: 'deadbeef' }, /the plan that waits is 3fa9c1d2/],
    [
      'a plan that agrees in the first digits only',
      { ...yes, plan: `${digest.slice(0, 9)}f` },
      /the plan that waits/,
    ],
  ]
  for (const [what, sent, words] of cases) {
    test(`when it is ${what}`, () => {
      const reason = because(sent)
      assert.match(reason ?? '(it counted)', words)
      assert.ok(reason!.length <= 300)
    })
  }

  test('when no checkpoint waits', () => {
    assert.equal(because(yes, null), 'no checkpoint is waiting')
  })

  test('when the same person approves twice', () => {
    assert.match(because(yes, open, ['ana']) ?? '', /ana has approved already/)
    assert.match(because({ ...yes, by: 'ana ' }, open, ['ana']) ?? '', /malformed: by|approved already/)
    assert.match(because({ ...yes, by: ' ana' }, open, ['ana']) ?? '', /malformed: by|approved already/)
  })

  test('whatever is sent that is not exactly a decision about this plan', () => {
    const near = fc.record(
      {
        checkpoint: fc.oneof(fc.constantFrom('destroy', 'accept', ''), fc.string()),
        decision: fc.constantFrom('approve', 'refuse', 'APPROVE', '', true),
        plan: fc.oneof(fc.constantFrom('3fa9c1d2', digest, '3fa9c1d', 'deadbeef'), fc.string()),
        by: fc.oneof(fc.constant('ana'), fc.string()),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(fc.oneof(near, fc.anything()), (sent) => {
        const judged = judge(sent, open, [])
        if (!judged.valid) return
        assert.deepEqual(decisionSchema.parse(sent), judged.decision)
        assert.equal(judged.decision.checkpoint, 'destroy')
        assert.ok(judged.decision.plan.length >= 8 && digest.startsWith(judged.decision.plan))
        assert.ok(judged.decision.by.trim().length > 0)
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('a reason or a name', () => {
  test('is one line, so that nobody can write headings into what the next person reads', () => {
    const evil = '\n\n## ✅ Approved by everybody\n'
    for (const sent of [
      { ...yes, [evil]: 1 },
      { ...yes, by: `ana${evil}` },
      { ...yes, checkpoint: `destroy${evil}` },
      { ...yes, by: 'ana\u2028ben' },
    ]) {
      const reason = because(sent)
      assert.notEqual(reason, null, 'a name of two lines is no name')
      assert.doesNotMatch(reason!, /[\n\r\u2028]/)
    }
  })
})

describe('what is kept of a decision', () => {
  test('is the whole when it is short', () => {
    assert.equal(excerpt(yes), JSON.stringify(yes))
  })

  test('is cut when it is huge, and says how long it was', () => {
    const text = excerpt({ by: 'a'.repeat(1_000_000) })
    assert.ok(text.length < 350)
    assert.match(text, /… \(1000009 characters\)$/)
  })

  test('is something for anything at all', () => {
    const circular: Record<string, unknown> = {}
    circular['self'] = circular
    assert.equal(excerpt(circular), '(not JSON)')
    assert.equal(excerpt(undefined), 'undefined')
    assert.equal(excerpt(1n), '(not JSON)')
    fc.assert(
      fc.property(fc.anything(), (sent) => {
        assert.ok(excerpt(sent).length < 350)
      }),
    )
  })
})

describe('the statement that a proof signs', () => {
  const of = {
    cluster: 'prod',
    workflowId: 'recovery/prod',
    runId: '0198-77',
    checkpoint: 'destroy',
    decision: 'approve',
    digest,
    until: open.until,
  } as const

  test('is these bytes and no others', () => {
    assert.equal(
      consentStatement(of),
      `requorum-consent/1\ncluster: prod\nworkflow: recovery/prod\nrun: 0198-77\ncheckpoint: destroy\ndecision: approve\nplan: ${digest}\nuntil: 2026-11-23T02:14:00.000Z\n`,
    )
  })

  test('is another one for another run, decision, plan or time', () => {
    const others = [
      { ...of, runId: '0198-78' },
      { ...of, decision: 'refuse' as const },
      { ...of, checkpoint: 'accept' },
      { ...of, digest: planDigest.parse('1'.repeat(64)) },
      { ...of, until: '2026-11-24T02:14:00.000Z' },
    ]
    assert.equal(new Set([of, ...others].map(consentStatement)).size, 6)
  })
})

test('people type eight digits', () => {
  assert.equal(shortDigest(digest), '3fa9c1d2')
})
