import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { after, describe, test } from 'node:test'
import { z } from 'zod'
import { exitCodesDocument } from '../../scripts/commands/exit-codes.ts'
import { clusterYaml, TestHome, type Ended } from './command-line.ts'

const home = new TestHome({ prod: clusterYaml('prod'), broken: 'cluster: broken\nnodes: []\nstroe: {}\n' })
after(() => home.remove())

const VERBS = [
  ['status'],
  ['diagnose'],
  ['restore'],
  ['relieve'],
  ['plan', 'restore'],
  ['approve'],
  ['refuse'],
  ['snapshots'],
  ['snapshots', 'check'],
  ['snapshots', 'rules'],
  ['retire'],
  ['rehearse'],
  ['validate'],
  ['drill'],
  ['backup', 'now'],
  ['schedule', 'apply'],
  ['schedule', 'show'],
  ['config', 'check'],
  ['up'],
  ['down'],
  ['lab', 'up'],
  ['lab', 'down'],
  ['lab', 'status'],
  ['lab', 'shell'],
  ['lab', 'break'],
]

describe('help', () => {
  test('of requorum names every verb and what the exit codes mean', async () => {
    const { code, out } = await home.run(['--help'])
    assert.equal(code, 0)
    for (const [verb = ''] of VERBS) assert.match(out, new RegExp(`^  ${verb}\\b`, 'm'))
    assert.match(out, /4 waiting/)
  })

  test('of each verb gives an example of its own and names --json', async () => {
    const helps = await Promise.all(VERBS.map((verb) => home.run([...verb, '--help'])))
    for (const [at, { code, out }] of helps.entries()) {
      const verb = VERBS[at]!.join(' ')
      assert.equal(code, 0, verb)
      assert.match(
        out,
        new RegExp(`Examples?:\\n(?: {2}\\$ .*\\n?)*  \\$ (?:sudo |TEMPORAL\\S+ )?requorum ${verb}`),
        verb,
      )
      assert.match(out, /--json/, verb)
    }
  })
})

test('the help of drill lists every fault with its runbook, and says what allows one', async () => {
  const { out } = await home.run(['drill', '--help'])
  for (const fault of ['lose-quorum', 'lose-all']) assert.match(out, new RegExp(`${fault} +restoreQuorum: `))
  for (const fault of ['lose-member', 'lose-leader'])
    assert.match(out, new RegExp(`${fault} +replaceMember: `))
  assert.match(out, /Refused unless the cluster file says/)
})

describe('wrong use ends with 2 and says what would be right', { concurrency: 4 }, () => {
  for (const { args, says } of [
    { args: ['staus'], says: /Unknown command 'staus'[\s\S]*Did you mean status\?/ },
    { args: ['schedule', 'aply', 'prod'], says: /Did you mean apply\?[\s\S]*requorum schedule --help/ },
    { args: ['status', '--wach'], says: /Unknown option '--wach'[\s\S]*--watch/ },
    { args: ['restore'], says: /missing required argument 'cluster'[\s\S]*requorum restore --help/i },
    { args: ['restore', 'prod', 'now'], says: /Too many arguments/ },
    { args: ['approve', 'prod'], says: /'--plan <digest>' not specified/ },
    { args: ['approve', 'prod', '--plan', '123'], says: /at least 8 hex digits/ },
    { args: ['backup'], says: /Usage: requorum backup/ },
    { args: [], says: /When the API server is down/ },
    {
      args: ['status', 'prdo'],
      says: /\[cluster-unknown\][\s\S]*broken\.yaml, prod\.yaml[\s\S]*Did you mean prod\?/,
    },
    { args: ['restore', '../../etc/passwd'], says: /\[cluster-unknown\]/ },
    { args: ['restore', 'prod', '--off', 'cp-99'], says: /prod has no node cp-99[\s\S]*Its nodes are cp-01/ },
    { args: ['replace', 'prod', 'cp-99'], says: /has no node cp-99[\s\S]*Its nodes are cp-01/ },
    { args: ['cleanup', 'prod', '--older-than', 'xx'], says: /a duration like 90s, 10m, 6h or 2d/ },
    { args: ['validate', 'prod', '--skip', 'canary,nods'], says: /"nods" is no check; did you mean nodes\?/ },
    {
      args: ['drill', 'prod', '--fault', 'lose-everything'],
      says: /Allowed choices are lose-quorum, lose-all, lose-member, lose-leader/,
    },
    { args: ['lab', 'break', 'wipe-date'], says: /Did you mean wipe-data\?/ },
  ]) {
    test(args.join(' ') || '(nothing)', async () => {
      const { code, out, error } = await home.run(args)
      assert.equal(code, 2)
      assert.equal(out, '')
      assert.match(error, says)
      assert.doesNotMatch(error, /^\s+at /m, 'a stack trace')
    })
  }
})

test('a cluster file that another home hides is named', async () => {
  const lab = new TestHome({ lab: clusterYaml('lab') })
  try {
    mkdirSync(`${home.dir}/.requorum/clusters`, { recursive: true })
    writeFileSync(`${home.dir}/.requorum/clusters/elsewhere.yaml`, clusterYaml('elsewhere'))
    const { error } = await home.run(['status', 'elsewhere'], { REQUORUM_HOME: lab.dir })
    assert.match(error, /elsewhere\.yaml is not looked at: set REQUORUM_HOME=\S+\.requorum/)
  } finally {
    lab.remove()
  }
})

describe('a cluster file with mistakes', { concurrency: 4 }, () => {
  test('stops a command with file, line and column of each', async () => {
    const { code, error } = await home.run(['restore', 'broken'])
    assert.equal(code, 2)
    assert.match(error, /\[config-invalid\]/)
    assert.match(error, /broken\.yaml:2:1 nodes: has to have at least 1/)
    assert.match(error, /broken\.yaml:3:1 stroe: is unknown; did you mean store\?/)
  })

  test('is found by config check, which says what is good too', async () => {
    const { code, out } = await home.run(['config', 'check'])
    assert.equal(code, 2)
    assert.match(out, /prod\.yaml: good/)
    assert.match(out, /broken\.yaml:3:1 stroe/)
  })

  test('is data for programs', async () => {
    const { out } = await home.run(['config', 'check', 'broken', '--json'])
    const read = z
      .object({
        clusters: z.array(
          z.object({
            good: z.boolean(),
            findings: z.array(z.object({ line: z.number(), field: z.string() })),
          }),
        ),
      })
      .parse(JSON.parse(out))
    assert.equal(read.clusters[0]?.good, false)
    assert.deepEqual(
      read.clusters[0].findings.map(({ line, field }) => `${line} ${field}`),
      ['1 store', '2 nodes', '3 stroe'],
    )
  })

  test('is noticed when it names a file that is not there', async () => {
    home.write('lost', `${clusterYaml('lost')}ssh:\n  identityFile: keys/gone\n`)
    const { code, out } = await home.run(['config', 'check', 'lost'])
    assert.equal(code, 2)
    assert.match(out, /lost\.yaml:11:17 ssh\.identityFile: .*keys\/gone doesn't exist/)
  })

  test('is noticed when nobody could consent: no file, too few people, one key of two, no ssh-keygen', async () => {
    const approval = (people: number): string =>
      `approval:\n  proof: ssh\n  allowedSigners: allowed_signers\n  destroy: { people: ${people} }\n`
    const check = async (people: number, path = process.env['PATH'] ?? ''): Promise<Ended> => {
      home.write('signed', clusterYaml('signed', approval(people)))
      return home.run(['config', 'check', 'signed'], { PATH: path })
    }
    const at = /signed\.yaml:12:19 approval\.allowedSigners: /.source
    const finds = async (people: number, words: string): Promise<void> => {
      const { code, out } = await check(people)
      assert.equal(code, 2, out)
      assert.match(out, new RegExp(`${at}.*clusters/allowed_signers${words}`))
    }
    await finds(1, '.*no such file')
    home.allow({ ana: ['ana', 'ana-phone'] })
    assert.equal((await check(1)).code, 0)
    await finds(2, ' names only ana, and 2 different people have to decide')
    home.allow({ ana: ['ana'], ben: ['ana'] })
    await finds(1, ':2 has the key of ana \\(line 1\\) for ben')
    home.allow({ ana: ['ana'], ben: ['ben'] })
    assert.equal((await check(2)).code, 0)
    const without = await check(2, '/nonexistent')
    assert.equal(without.code, 2)
    assert.match(without.out, /signed\.yaml:11:10 approval\.proof: ssh-keygen can not be run on this machine/)
  })
})

describe('without an engine', { concurrency: 4 }, () => {
  for (const args of [
    ['restore', 'prod'],
    ['approve', 'prod', '--plan', '3fa9c1d2'],
    ['backup', 'now', 'prod'],
    ['schedule', 'apply', 'prod'],
    ['plan', 'restore', 'prod'],
    ['validate', 'prod'],
    ['diagnose', 'prod'],
  ]) {
    test(`${args.join(' ')} ends with 5 and says how to start one`, async () => {
      const { code, error } = await home.run(args)
      assert.equal(code, 5)
      assert.match(error, /\[engine-unreachable\][\s\S]*requorum up/)
    })
  }

  test('an address where nobody listens is named within seconds', async () => {
    const startedAt = Date.now()
    const { code, error } = await home.run(['restore', 'prod'], { TEMPORAL_ADDRESS: '127.0.0.1:9' })
    assert.equal(code, 5)
    assert.match(error, /127\.0\.0\.1:9/)
    assert.ok(Date.now() - startedAt < 30_000, `${Date.now() - startedAt} ms`)
  })

  test('a record of an engine that is gone is not believed', async () => {
    const gone = new TestHome({ prod: clusterYaml('prod') })
    mkdirSync(`${gone.dir}/engine`)
    const record = { process: { pid: process.pid, startTicks: 1, bootId: 'x' }, ports: [1, 2] }
    writeFileSync(`${gone.dir}/engine/engine.json`, JSON.stringify(record))
    const { code, error } = await gone.run(['restore', 'prod'])
    gone.remove()
    assert.equal(code, 5)
    assert.match(error, /No engine runs here/)
  })

  test('status tells what can be known, and ends with 5', async () => {
    const { code, out } = await home.run(['status'])
    assert.equal(code, 5)
    assert.match(out, /^engine {2}No engine runs here/)
    assert.match(out, /^prod {2}\(1 node: cp-01\)/m)
    assert.match(out, /snapshot {2}unknown: /)
    assert.match(out, /broken\.yaml:3:1 stroe/)
  })

  test('up beside an engine that the environment names is refused', async () => {
    const { code, error } = await home.run(['up'], { TEMPORAL_ADDRESS: 'temporal.invalid:7233' })
    assert.equal(code, 2)
    assert.match(error, /temporal\.invalid:7233[\s\S]*--worker-only/)
  })

  test('down has nothing to do', async () => {
    const { code, out } = await home.run(['down'])
    assert.equal(code, 0)
    assert.match(out, /Nothing is up/)
  })
})

describe('--json prints one document and nothing else', { concurrency: 4 }, () => {
  for (const { args, code, error } of [
    { args: ['status', 'prdo'], code: 2, error: 'cluster-unknown' },
    { args: ['restore', 'broken'], code: 2, error: 'config-invalid' },
    { args: ['frobnicate'], code: 2, error: 'input-invalid' },
    { args: ['backup'], code: 2, error: 'input-invalid' },
    { args: ['approve', 'prod', '--plan', 'x'], code: 2, error: 'input-invalid' },
    { args: ['restore', 'prod'], code: 5, error: 'engine-unreachable' },
    { args: ['diagnose', 'prod'], code: 5, error: 'engine-unreachable' },
    { args: ['diagnose', 'prdo'], code: 2, error: 'cluster-unknown' },
    { args: ['snapshots', 'prod'], code: 5, error: 'store-unreachable' },
    { args: ['snapshots', 'check', 'prod'], code: 5, error: 'store-unreachable' },
  ]) {
    test(`${args.join(' ')}: ${error}`, async () => {
      const ended = await home.run([...args, '--json'], {
        AWS_ACCESS_KEY_ID: 'x',
        AWS_SECRET_ACCESS_KEY: 'y',
      })
      assert.equal(ended.error, '')
      const document: unknown = JSON.parse(ended.out)
      assert.ok(typeof document === 'object' && document !== null && 'error' in document)
      assert.deepEqual(Object.keys(document.error ?? {}), ['code', 'what', 'why', 'todo'])
      assert.match(ended.out, new RegExp(`"code": "${error}"`))
      assert.equal(ended.code, code)
    })
  }
})

test('docs/exit-codes.md says what the commands do', () => {
  assert.equal(
    readFileSync(new URL('../../docs/exit-codes.md', import.meta.url), 'utf8'),
    exitCodesDocument(),
  )
})
