import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  humanBytes,
  humanSeconds,
  progressMarkdown,
  secondsBetween,
  type Progress,
} from '../../domain/progress.ts'

describe('seconds as people read them', () => {
  test('have the unit that fits', () => {
    const said: [number, string][] = [
      [0, '0 s'],
      [0.4, '0 s'],
      [59, '59 s'],
      [60, '1 min'],
      [840, '14 min'],
      [3_600, '1.0 h'],
      [19_800, '5.5 h'],
      [172_800, '2 d'],
      [864_000, '10 d'],
      [-3, '0 s'],
    ]
    for (const [seconds, text] of said) assert.equal(humanSeconds(seconds), text)
  })

  test('never reach the next unit in the one below it', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 400_000, noNaN: true }), (seconds) => {
        const [, number = '', unit] = /^(.*) (s|min|h|d)$/.exec(humanSeconds(seconds)) ?? []
        if (unit === 's') assert.ok(Number(number) < 60, humanSeconds(seconds))
        if (unit === 'min') assert.ok(Number(number) < 60, humanSeconds(seconds))
        if (unit === 'h') assert.ok(Number(number) < 48, humanSeconds(seconds))
      }),
      { numRuns: 500, examples: [[59.7], [3_599], [3_570], [172_799]] },
    )
  })

  test('lie between two times', () => {
    assert.equal(secondsBetween('2026-11-22T02:00:00.000Z', '2026-11-22T02:14:00.500Z'), 840.5)
  })
})

describe('bytes as people read them', () => {
  test('have the unit that fits', () => {
    const said: [number, string][] = [
      [0, '0 B'],
      [1_023, '1023 B'],
      [1_024, '1.0 KiB'],
      [25_000_032, '24 MiB'],
      [8 * 1_024 ** 3, '8.0 GiB'],
      [3 * 1_024 ** 4, '3.0 TiB'],
      [5_000 * 1_024 ** 4, '5000 TiB'],
    ]
    for (const [bytes, text] of said) assert.equal(humanBytes(bytes), text)
  })

  test('never reach the next unit in the one below it', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 31 - 1 }), (bytes) => {
        const [, number = '', unit] = /^([\d.]+) (\w+)$/.exec(humanBytes(bytes)) ?? []
        assert.ok(Number(number) < 1_024, `${bytes}: ${number} ${unit ?? ''}`)
      }),
      { numRuns: 500, examples: [[1_048_575], [1_073_741_823]] },
    )
  })
})

const progress: Progress = {
  runbook: 'restoreQuorum',
  cluster: 'prod',
  workflowId: 'recovery/prod',
  runId: '0198-77',
  steps: [
    {
      title: 'Survey nodes',
      state: 'done',
      startedAt: '2026-11-22T02:14:00Z',
      endedAt: '2026-11-22T02:14:03Z',
      note: 'no quorum',
    },
    {
      title: 'Lock the nodes',
      state: 'failed',
      startedAt: '2026-11-22T02:14:03Z',
      endedAt: '2026-11-22T02:14:04Z',
      note: 'held',
    },
    {
      title: 'Checkpoint: destroy',
      state: 'running',
      startedAt: '2026-11-22T02:14:04Z',
      endedAt: null,
      note: null,
    },
  ],
  waiting: null,
  decisions: [],
  decisionsSeen: 0,
  checks: [],
}
const waiting = {
  name: 'destroy',
  plan: '3fa9c1d2',
  digest: '3fa9c1d2',
  until: '2026-11-23T02:14:00Z',
  people: 2,
  proof: 'none' as const,
  approvedBy: ['ana'],
  shows: '**Restores prod**',
  approve: 'requorum approve prod --plan 3fa9c1d2',
  refuse: 'requorum refuse prod --plan 3fa9c1d2',
}
const decision = (sent: string, because: string | null) => ({
  at: '2026-11-22T02:20:00Z',
  sent,
  counted: because === null,
  because,
})

/** Headings and rows as Markdown finds them: what a stranger's text must not add to. */
const structure = (text: string) =>
  text.split('\n').filter((line) => /^\s*(#{1,6} |\||```|[-*] )/.test(line)).length

describe('the details of a run', () => {
  test('list its steps with their marks, times and notes', () => {
    const lines = progressMarkdown(progress).split('\n')
    assert.deepEqual(lines.slice(1), [
      '- ✓ Survey nodes (3 s): no quorum',
      '- ✗ Lock the nodes (1 s): held',
      '- ▶ Checkpoint: destroy',
    ])
  })

  test('begin with what a person has to do, with the command to copy', () => {
    const text = progressMarkdown({ ...progress, waiting })
    assert.ok(
      text.startsWith(
        '## Waits for a person: destroy (plan 3fa9c1d2)\n1 of 2 approvals (ana), until 2026-11-23T02:14:00Z.',
      ),
    )
    assert.match(text, /\*\*Approve:\*\*\n```\nrequorum approve prod --plan 3fa9c1d2\n```/)
    assert.match(text, /\*\*Refuse:\*\*\n```\nrequorum refuse prod --plan 3fa9c1d2\n```/)
  })

  test('show the last decisions that changed nothing, and how many were sent', () => {
    const decisions = [
      decision('{"n":0}', null),
      ...Array.from({ length: 7 }, (_, n) => decision(`{"n":${n + 1}}`, 'wrong')),
    ]
    const text = progressMarkdown({ ...progress, decisions, decisionsSeen: 300 })
    assert.match(text, /changed nothing \(300 sent in all\)/)
    assert.deepEqual(
      [...text.matchAll(/\{"n":(\d)\}/g)].map((match) => match[1]),
      ['3', '4', '5', '6', '7'],
    )
  })

  test('say nothing of decisions when all counted', () => {
    assert.doesNotMatch(
      progressMarkdown({ ...progress, decisions: [decision('{}', null)], decisionsSeen: 1 }),
      /changed nothing/,
    )
  })

  test('keep a check in its row, whatever it saw', () => {
    for (const text of ['a | b', 'two\nlines', '| x |\n|---|', 'tick ` tick', '\n## Heading']) {
      const shown = progressMarkdown({
        ...progress,
        checks: [{ name: `hashes ${text}`, verdict: 'fail', evidence: text }],
      })
      const rows = shown.split('\n').filter((line) => line.startsWith('| fail'))
      assert.equal(rows.length, 1)
      assert.equal(rows[0]!.replaceAll('\\|', '').split('|').length, 5, rows[0])
      assert.equal(
        structure(shown),
        structure(progressMarkdown({ ...progress, checks: [{ name: 'x', verdict: 'fail', evidence: 'y' }] })),
      )
    }
  })

  test('can’t be written into by a decision', () => {
    const plain = progressMarkdown({ ...progress, decisions: [decision('x', 'y')], decisionsSeen: 1 })
    for (const evil of ['`code`', '` ## x', '\n## ✅ Approved', '\n- ✓ Validate', '```\n', '| a | b |']) {
      const shown = progressMarkdown({ ...progress, decisions: [decision(evil, evil)], decisionsSeen: 1 })
      assert.equal(structure(shown), structure(plain), evil)
      const line = shown.split('\n').at(-1) ?? ''
      assert.equal(line.slice(line.indexOf(' — ')).match(/`/g)?.length, 2, line)
    }
  })

  test('can’t be written into by the note of a step', () => {
    const noted = (note: string) =>
      progressMarkdown({ ...progress, steps: [{ ...progress.steps[0]!, note }] })
    assert.equal(structure(noted('one\n## two\n- ✓ three')), structure(noted('one')))
  })
})
