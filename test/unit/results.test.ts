import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { test } from 'node:test'
import { markdownTable, resultPage } from '../../scripts/results/record.ts'

const DIR = new URL('../../docs/results/', import.meta.url)
const FACTS = ['Result', 'Command', 'When', 'Commit', 'Machine', 'On']

test('a page says what came of it, by which command, when, of which commit and on what machine', () => {
  const page = resultPage(
    {
      ...{ name: 'test-kubeadm', title: 'Tests: end to end', command: 'npm run test:kubeadm -- --record' },
      ...{
        verdict: '21 passed, 0 failed, 0 skipped in 20 min',
        beside: 'Kubernetes 1.33.13',
        body: 'rows\n',
      },
    },
    {
      at: new Date('2026-11-27T03:04:05.678Z'),
      ...{ commit: '4d6ce69a01', machine: 'Debian GNU/Linux 12 (bookworm), x64, 2 cores', etcd: '3.5.16' },
    },
  )
  assert.equal(
    page,
    `# Tests: end to end

- Result: 21 passed, 0 failed, 0 skipped in 20 min
- Command: \`npm run test:kubeadm -- --record\`
- When: 2026-11-27 03:04 UTC
- Commit: 4d6ce69a01
- Machine: Debian GNU/Linux 12 (bookworm), x64, 2 cores
- On: etcd 3.5.16, Kubernetes 1.33.13

rows
`,
  )
})

test("a cell's bars and line ends do not break its table", () => {
  assert.equal(
    markdownTable(['a', 'b'], [['x|y', 'two\nlines']]),
    '| a | b |\n| --- | --- |\n| x\\|y | two lines |',
  )
})

test('every page that is kept has all of this', () => {
  for (const name of readdirSync(DIR).filter((file) => file.endsWith('.md'))) {
    const page = readFileSync(new URL(name, DIR), 'utf8')
    for (const fact of FACTS) assert.match(page, new RegExp(`^- ${fact}: \\S`, 'm'), `${name}, ${fact}`)
  }
})
