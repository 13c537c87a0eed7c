import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { readTried, triedTable, withTable } from '../../scripts/test/tried.ts'

test("the README's table of what was tried is the one that the tests recorded", () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  assert.equal(readme, withTable(readme, readTried()))
})

test('a table has a line for each combination, the stand-in named as what it is', () => {
  const system = 'Debian GNU/Linux 12 (bookworm), x64, cgroup v1'
  const table = triedTable([
    { kubernetes: null, etcd: '3.5.16', system, tests: 90, on: '2026-11-22' },
    { kubernetes: '1.33.13', etcd: '3.5.16', system, tests: 12, on: '2026-11-23' },
  ])
  const lines = table.split('\n')
  assert.equal(lines.length, 4)
  assert.match(lines[2] ?? '', /stand-in for the kubelet .*\| 3\.5\.16 \|.*\| 90 +\| 2026-11-22 \|$/)
  assert.match(lines[3] ?? '', /^\| 1\.33\.13 /)
  assert.equal(new Set(lines.map((line) => line.length)).size, 1)
})

test('a README without the marks is not written over', () => {
  assert.throws(() => withTable('# Requorum\n', []), /no "<!-- tried/)
})
