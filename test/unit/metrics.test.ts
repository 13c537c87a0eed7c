/** What the worker exports: its page, its rules and what they are tried with belong together. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { z } from 'zod'
import { METRICS } from '../../domain/metrics.ts'
import { metricsFrom } from '../../workers/metrics-address.ts'

const root = join(import.meta.dirname, '../..')
const read = (...path: string[]): string => readFileSync(join(root, ...path), 'utf8')

const rulesFile = z.object({
  groups: z.array(
    z.object({
      rules: z.array(
        z.object({ alert: z.string().optional(), record: z.string().optional(), expr: z.string() }),
      ),
    }),
  ),
})
const testsFile = z.object({
  tests: z.array(
    z.object({
      alert_rule_test: z.array(z.object({ alertname: z.string(), exp_alerts: z.array(z.unknown()) })),
    }),
  ),
})

test('the page names every metric with its kind and labels, and no other', () => {
  const page = read('docs/metrics.md')
  const rows = Object.values(METRICS).map(
    ({ name, kind, labels, about }) =>
      `| \`${name}\` | ${kind} | ${labels.map((one) => `\`${one}\``).join(', ') || 'none'} | ${about.replaceAll('|', '\\|')} |`,
  )
  const listed = page
    .split('\n')
    .filter((line) => line.startsWith('| `requorum_'))
    .map((line) => line.replaceAll(/ +\|/g, ' |').replaceAll(/\| +/g, '| '))
  assert.deepEqual(listed, rows)
})

for (const name of ['requorum', 'etcd']) {
  const rules = rulesFile
    .parse(parse(read('infra/prometheus', `${name}.rules.yaml`)))
    .groups.flatMap((group) => group.rules)

  test(`${name}.rules.yaml goes by metrics that exist`, () => {
    const known = new Set(Object.values(METRICS).map((metric) => metric.name))
    for (const { expr } of rules)
      for (const [used] of expr.matchAll(/\brequorum_\w+/g)) assert.ok(known.has(used), used)
  })

  test(`every alert of ${name}.rules.yaml is seen firing by promtool's tests`, () => {
    const { tests } = testsFile.parse(parse(read('infra/prometheus', `${name}.test.yaml`)))
    const fired = tests
      .flatMap((one) => one.alert_rule_test)
      .filter(({ exp_alerts: expected }) => expected.length > 0)
      .map(({ alertname }) => alertname)
    const alerts = rules.flatMap(({ alert }) => (alert === undefined ? [] : [alert]))
    assert.deepEqual([...new Set(fired)].sort(), alerts.sort())
  })
}

test('an address is an IP of this machine and a port', () => {
  assert.equal(metricsFrom(undefined), null)
  assert.equal(metricsFrom(''), null)
  for (const address of ['127.0.0.1:9464', '0.0.0.0:1', '[::1]:9464'])
    assert.equal(metricsFrom(address)?.prometheus.bindAddress, address)
  for (const address of [
    '9464',
    ':9464',
    'localhost:9464',
    '127.0.0.1',
    '127.0.0.1:0',
    '127.0.0.1:65536',
    '::1:9464',
  ])
    assert.throws(() => metricsFrom(address), /no address to serve metrics at/, address)
})
