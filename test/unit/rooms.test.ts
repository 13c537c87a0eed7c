import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { z } from 'zod'

const repository = join(import.meta.dirname, '../..')
const rulesFile = join(repository, '.dependency-cruiser.cjs')

/** A file that breaks the rules named, all of them and no other. */
interface Offence {
  readonly file: string
  readonly imports: string
  readonly breaks: readonly string[]
}

function offence(file: string, imports: string, ...breaks: string[]): Offence {
  return { file, imports, breaks }
}

const offences: readonly Offence[] = [
  offence('domain/knows-a-system.ts', `import '../systems/etcd/member.ts'`, 'domain-is-pure'),
  offence(
    'domain/knows-a-type.ts',
    `import type { Member } from '../systems/etcd/member.ts'\nexport type M = Member`,
    'domain-is-pure',
  ),
  offence('domain/reads-a-disk.ts', `import 'node:fs'`, 'domain-is-pure'),
  offence('domain/knows-a-client.ts', `import 'left-over'`, 'domain-is-pure', 'no-undeclared-packages'),

  offence('workflows/reads-a-clock.ts', `import 'node:timers/promises'`, 'workflows-read-like-the-runbook'),
  offence(
    'workflows/knows-a-system.ts',
    `import type { Member } from '../systems/etcd/member.ts'\nexport type M = Member`,
    'workflows-read-like-the-runbook',
  ),
  offence('workflows/parses-yaml.ts', `import 'yaml'`, 'workflows-read-like-the-runbook'),
  offence(
    'workflows/calls-directly.ts',
    `import type { Activities } from '../activities/index.ts'\nimport { createActivities } from '../activities/index.ts'\nexport const a: Activities = createActivities`,
    'workflows-know-types-of-activities',
  ),
  offence(
    'workflows/calls-late.ts',
    `export const a = import('../activities/index.ts')`,
    'workflows-know-types-of-activities',
  ),

  offence('activities/knows-a-workflow.ts', `import '../workflows/backup.ts'`, 'activities-are-thin'),
  offence('activities/knows-the-lab.ts', `import '../lab/lab.ts'`, 'activities-are-thin'),
  offence('activities/parses.ts', `import 'lossless-json'`, 'activities-are-thin'),
  offence(
    'activities/talks-raw.ts',
    `import { NodeSSH } from 'node-ssh'\nexport const s = NodeSSH`,
    'activities-are-thin',
    'ssh-client-in-one-folder',
  ),

  offence('systems/tickets/knows-etcd.ts', `import '../etcd/member.ts'`, 'systems-stay-apart'),
  offence('systems/tickets/knows-hands.ts', `import '../../activities/index.ts'`, 'systems-stay-apart'),
  offence('systems/tickets/knows-the-lab.ts', `import '../../lab/lab.ts'`, 'systems-stay-apart'),
  offence('systems/ssh/knows-steps.ts', `import '../remote-steps/steps.ts'`, 'ssh-carries'),
  offence('systems/remote-steps/knows-a-node.ts', `import '../node/node.ts'`, 'remote-steps-knows-only-ssh'),
  offence('systems/object-store/reaches-out.ts', `import '../ssh/shell.ts'`, 'stores-are-not-on-nodes'),

  offence('scripts/goes-to-a-node.ts', `import '../systems/ssh/shell.ts'`, 'scripts-never-reach-a-node'),
  offence(
    'scripts/restores-itself.ts',
    `import '../workflows/backup.ts'`,
    'scripts-start-nothing-themselves',
  ),
  offence('scripts/acts-itself.ts', `import '../activities/index.ts'`, 'scripts-start-nothing-themselves'),
  offence('workers/knows-a-script.ts', `import '../scripts/command.ts'`, 'scripts-are-the-top'),
  offence('lab/knows-a-script.ts', `import '../scripts/command.ts'`, 'scripts-are-the-top'),
  offence('lab/knows-a-runbook.ts', `import '../workflows/backup.ts'`, 'lab-is-outside'),
  offence('lab/knows-the-hands.ts', `import '../activities/index.ts'`, 'lab-is-outside'),
  offence(
    'lab/starts-a-worker.ts',
    `import '../workers/worker.ts'`,
    'lab-is-outside',
    'workers-are-the-only-wiring',
  ),
  offence('lab/knows-a-test.ts', `import '../test/cluster.ts'`, 'tests-are-for-tests'),

  offence('workers/talks-raw.ts', `import 'ssh2'`, 'ssh-client-in-one-folder'),
  offence(
    'workers/knows-raw-types.ts',
    `import type { Client } from 'ssh2'\nexport type C = Client`,
    'ssh-client-in-one-folder',
  ),
  offence('test/stores.ts', `import '@aws-sdk/client-s3'`, 's3-client-in-one-folder'),
  offence('lab/starts-runs.ts', `import '@temporalio/client'`, 'temporal-client-in-its-place'),
  offence('scripts/makes-a-worker.ts', `import '@temporalio/worker'`, 'temporal-worker-in-its-place'),
  offence('workers/waits.ts', `import '@temporalio/workflow'`, 'temporal-workflow-in-its-place'),
  offence('systems/etcd/heartbeats.ts', `import '@temporalio/activity'`, 'temporal-activity-in-its-place'),
  offence('workers/has-options.ts', `import 'commander'`, 'command-line-in-its-place'),

  offence('workers/guesses.ts', `import 'fast-check'`, 'no-development-packages'),
  offence('workers/borrows.ts', `import 'left-over'`, 'no-undeclared-packages'),
  offence('workers/hopes.ts', `import './nowhere.ts'`, 'no-missing-modules'),
  offence('domain/egg.ts', `import './hen.ts'`, 'no-cycles'),
  offence('domain/forgotten.ts', '', 'no-orphans'),
]

/** What the rooms allow, and what the offences above import. */
const lawful: Readonly<Record<string, string>> = {
  'domain/values.ts': `import 'zod'\nimport 'yaml'\nimport '@noble/hashes/sha2.js'\nimport 'lossless-json'`,
  'domain/hen.ts': `import './egg.ts'`, // a cycle is told once, at egg.ts
  'workflows/backup.ts': [
    `import '@temporalio/workflow'`,
    `import '@temporalio/common'`,
    `import '../domain/values.ts'`,
    `import type { Activities } from '../activities/index.ts'`,
    `export type A = Activities | import('../activities/index.ts').Activities`,
  ].join('\n'),
  'activities/index.ts': [
    `import 'node:stream/promises'`,
    `import '@temporalio/activity'`,
    `import '@temporalio/common'`,
    `import '../domain/values.ts'`,
    `import '../systems/etcd/member.ts'`,
    `export const createActivities = 1`,
    `export type Activities = typeof createActivities`,
  ].join('\n'),
  'systems/ssh/shell.ts': [
    `import 'node:fs'`,
    `import { NodeSSH } from 'node-ssh'`,
    `import type { Client } from 'ssh2'`,
    `export const c: Client = NodeSSH`,
  ].join('\n'),
  'systems/remote-steps/steps.ts': `import '../ssh/shell.ts'`,
  'systems/node/node.ts': `import '../ssh/shell.ts'\nimport '../remote-steps/steps.ts'`,
  'systems/etcd/member.ts': [
    `import '../node/node.ts'`,
    `import '../../domain/values.ts'`,
    `export type Member = string`,
  ].join('\n'),
  'systems/object-store/store.ts': `import '@aws-sdk/client-s3'`,
  'systems/schedules/schedule.ts': `import '@temporalio/client'`,
  'workers/worker.ts': [
    `import '@temporalio/worker'`,
    `import '../activities/index.ts'`,
    `import '../systems/ssh/shell.ts'`,
    `import '../systems/object-store/store.ts'`,
    `import '../systems/schedules/schedule.ts'`,
  ].join('\n'),
  'lab/lab.ts': `import '../domain/values.ts'`,
  'lab/operator.ts': `import '@temporalio/client'\nimport './lab.ts'`,
  'scripts/command.ts': [
    `import 'commander'`,
    `import '@temporalio/client'`,
    `import '../lab/lab.ts'`,
    `import '../workers/worker.ts'`,
    `import type { A } from '../workflows/backup.ts'`,
    `export type B = A`,
  ].join('\n'),
  'test/cluster.ts': [
    `import 'fast-check'`,
    `import '@temporalio/workflow'`,
    `import '../scripts/command.ts'`,
    `import '../workflows/backup.ts'`,
    `import '../systems/ssh/shell.ts'`,
  ].join('\n'),
}

const dependencies = [
  '@aws-sdk/client-s3',
  '@noble/hashes',
  '@temporalio/activity',
  '@temporalio/client',
  '@temporalio/common',
  '@temporalio/worker',
  '@temporalio/workflow',
  'commander',
  'lossless-json',
  'node-ssh',
  'ssh2',
  'yaml',
  'zod',
]

const report = z.object({
  summary: z.object({
    violations: z.array(
      z.object({
        from: z.string(),
        to: z.string(),
        rule: z.object({ name: z.string() }),
      }),
    ),
  }),
})

describe('the rooms', () => {
  let tree = ''
  /** Rules broken, by the file that breaks them. */
  let broken = new Map<string, Set<string>>()

  before(() => {
    tree = mkdtempSync(join(tmpdir(), 'requorum-rooms-'))
    layOut(tree)
    broken = judge(tree)
  })
  after(() => {
    rmSync(tree, { recursive: true, force: true })
  })

  for (const { file, breaks } of offences) {
    it(`are broken by ${file}: ${breaks.join(', ')}`, () => {
      assert.deepEqual([...(broken.get(file) ?? [])].sort(), [...breaks].sort())
    })
  }

  for (const file of Object.keys(lawful)) {
    it(`allow what ${file} imports`, () => {
      assert.deepEqual([...(broken.get(file) ?? [])], [])
    })
  }

  it('have no rule that is not tested here', () => {
    const config: unknown = createRequire(import.meta.url)(rulesFile)
    const { forbidden } = z.object({ forbidden: z.array(z.object({ name: z.string() })) }).parse(config)
    const tested = new Set(offences.flatMap(({ breaks }) => breaks))
    assert.deepEqual(
      forbidden.map(({ name }) => name).filter((name) => !tested.has(name)),
      [],
    )
  })
})

function layOut(tree: string): void {
  const write = (file: string, text: string) => {
    mkdirSync(dirname(join(tree, file)), { recursive: true })
    writeFileSync(join(tree, file), `${text}\n`)
  }
  const pinned = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, '1.0.0']))
  write(
    'package.json',
    JSON.stringify({
      type: 'module',
      dependencies: pinned(dependencies),
      devDependencies: pinned(['fast-check']),
    }),
  )
  for (const name of [...dependencies, 'fast-check', 'left-over']) {
    const entry = { '.': './index.js', './*.js': './index.js' }
    write(`node_modules/${name}/package.json`, JSON.stringify({ name, version: '1.0.0', exports: entry }))
    write(`node_modules/${name}/index.js`, '')
  }
  for (const [file, text] of Object.entries(lawful)) write(file, text)
  for (const { file, imports } of offences) write(file, imports)
}

function judge(tree: string): Map<string, Set<string>> {
  const program = join(repository, 'node_modules/dependency-cruiser/bin/dependency-cruiser.mjs')
  const roomsThere = ['workflows', 'activities', 'workers', 'domain', 'systems', 'scripts', 'lab', 'test']
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [program, '--config', relative(tree, rulesFile), '--output-type', 'json', ...roomsThere],
    { cwd: tree, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 },
  )
  assert.notEqual(stdout, '', stderr)
  const byFile = new Map<string, Set<string>>()
  for (const { from, rule } of report.parse(JSON.parse(stdout)).summary.violations) {
    byFile.set(from, (byFile.get(from) ?? new Set()).add(rule.name))
  }
  return byFile
}
