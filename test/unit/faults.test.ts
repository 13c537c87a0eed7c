import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { faultSets, isMeant, patternOf, readFaults, titlesIn } from '../../scripts/faults/table.ts'

const root = join(import.meta.dirname, '../..')
const HEAD = '| fault | expected | test file › test name | command |\n| --- | --- | --- | --- |\n'

describe('the table of faults', () => {
  const markdown = readFileSync(join(root, 'test/faults/README.md'), 'utf8')
  const bySet = faultSets(markdown).map((set) => ({ set, rows: readFaults(markdown, set) }))
  const faults = bySet.flatMap(({ rows }) => rows)

  test('has rows, each fault once', () => {
    for (const { set, rows } of bySet) assert.ok(rows.length > 12, set)
    assert.equal(new Set(faults.map(({ fault }) => fault)).size, faults.length)
  })

  for (const { fault, tests, runs } of faults) {
    test(`${fault}: its tests are there, and its command runs them`, () => {
      for (const reference of tests) {
        const titles = titlesIn(readFileSync(join(root, reference.file), 'utf8'))
        for (const part of reference.name.split(' › ')) {
          assert.ok(
            titles.some((title) => title.test(part)),
            `${reference.file} has nothing called "${part}"`,
          )
        }
        const pattern = patternOf(runs.filter(({ file }) => file === reference.file))
        // As node:test does: names joined by a blank, those of suites included.
        assert.match(reference.name.replaceAll(' › ', ' '), new RegExp(pattern ?? ''))
      }
    })
  }
})

describe('a row of faults', () => {
  const test1 = 'test/unit/x.test.ts › a suite › a name'

  test('has a fault, what is expected, its tests and its commands', () => {
    const row = `| one \\| two | undone | ${test1}<br>test/lab/y.test.ts › z | \`npm test -- test/unit/x.test.ts --grep 'a \\| b'\`<br>\`npm test -- test/lab/y.test.ts\` |`
    assert.deepEqual(readFaults(HEAD + row, 'recovery'), [
      {
        fault: 'one | two',
        expected: 'undone',
        tests: [
          { file: 'test/unit/x.test.ts', name: 'a suite › a name' },
          { file: 'test/lab/y.test.ts', name: 'z' },
        ],
        runs: [{ file: 'test/unit/x.test.ts', grep: 'a | b' }, { file: 'test/lab/y.test.ts' }],
      },
    ])
    assert.deepEqual(readFaults(HEAD + row, 'store'), [])
    assert.equal(readFaults(`# Faults\n## Store\n${HEAD}${row}`, 'store').length, 1)
  })

  for (const [what, row] of [
    ['has too few cells', `| one | ${test1} | \`npm test -- test/unit/x.test.ts\` |`],
    ['names no test', '| one | undone | somewhere | `npm test -- test/unit/x.test.ts` |'],
    ['runs something else', `| one | undone | ${test1} | \`rm -rf /\` |`],
    ['does not run its test', `| one | undone | ${test1} | \`npm test -- test/unit/y.test.ts\` |`],
  ] as const) {
    test(`that ${what} is refused by its words`, () => {
      assert.throws(() => readFaults(HEAD + row, 'recovery'), /The row "one" of the faults/)
    })
  }

  test('means a test by its name, and all that is below a suite', () => {
    const meant = { file: 'test/unit/x.test.ts', name: 'a suite' }
    assert.ok(isMeant(meant, 'a suite › one'))
    assert.ok(isMeant(meant, 'a suite'))
    assert.ok(!isMeant(meant, 'a suite of others › one'))
  })

  test('shares one run of a file with others, of all of it where one needs that', () => {
    const file = 'test/unit/x.test.ts'
    assert.equal(
      patternOf([
        { file, grep: 'a' },
        { file, grep: 'b' },
      ]),
      '(?:a)|(?:b)',
    )
    assert.equal(patternOf([{ file, grep: 'a' }, { file }]), undefined)
  })

  test('may name a test whose title has holes', () => {
    const [title] = titlesIn('test(`${name}: it ${says === null ? "a" : "b"} ends`, () => {})')
    assert.ok(title?.test('disk full: it b ends'))
    assert.ok(!title?.test('disk full: it begins'))
  })
})
