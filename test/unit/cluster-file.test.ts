import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseClusterFile, readClusterFile } from '../../domain/cluster-file.ts'
import { closestName } from '../../domain/closest-name.ts'
import { RequorumError } from '../../domain/failures.ts'

const GOOD = `cluster: prod
nodes:
  - name: cp-01
    address: 10.0.1.11
  - name: cp-02
    address: 10.0.1.12
    port: 2222
store:
  bucket: etcd-backups
  kmsKeyId: alias/etcd
backup:
  every: 6h
`

describe('a cluster file that is good', () => {
  test('needs nothing but nodes and a store', () => {
    const config = parseClusterFile(GOOD, 'clusters/prod.yaml')
    assert.equal(config.cluster, 'prod')
    assert.equal(config.nodes[1]?.port, 2222)
  })

  test('gets its defaults, with durations in milliseconds', () => {
    const config = parseClusterFile(GOOD, 'prod.yaml')
    assert.equal(config.backup.every, 6 * 3_600_000)
    assert.equal(config.backup.keepLocal, 8)
    assert.equal(config.etcd.dataDir, '/var/lib/etcd')
    assert.equal(config.nodes[0]?.peerUrl, 'https://10.0.1.11:2380')
    assert.equal(config.approval.destroy.people, 1)
    assert.deepEqual(config.validate, { skip: [], limits: {}, canary: {} })
    assert.equal(config.kubernetes.adminConf, '/etc/kubernetes/admin.conf')
  })

  test('says how much of the line a transfer may take, in bytes a second', () => {
    for (const [written, bytes] of [
      ['512KiB', 524_288],
      ['20MiB', 20_971_520],
      ['1GiB', 1_073_741_824],
    ] as const) {
      const { transfer } = parseClusterFile(`${GOOD}transfer: { bandwidth: ${written} }\n`, 'prod.yaml')
      assert.deepEqual(
        { way: transfer.way, bandwidth: transfer.bandwidth },
        { way: 'auto', bandwidth: bytes },
      )
    }
  })

  test('stores in parts what S3 takes in no single put, or less than that where the line is thin', () => {
    const { transfer } = parseClusterFile(GOOD, 'prod.yaml')
    assert.deepEqual([transfer.partsAbove, transfer.partSize], [5 * 1024 ** 3, 256 * 1024 ** 2])
    for (const wrong of ['partsAbove: 6GiB', 'partSize: 4MiB', 'partSize: 6GiB'])
      assert.throws(() => parseClusterFile(`${GOOD}transfer: { ${wrong} }\n`, 'prod.yaml'), /MiB|GiB/)
  })

  test('takes names on trust, or asks for signatures of those whom a file allows', () => {
    assert.equal(parseClusterFile(GOOD, 'prod.yaml').approval.proof, 'none')
    const text = `${GOOD}approval: { proof: ssh, allowedSigners: signers, destroy: { people: 2 } }\n`
    const { approval } = parseClusterFile(text, 'prod.yaml')
    assert.ok(approval.proof === 'ssh')
    assert.deepEqual(
      [approval.allowedSigners, approval.destroy.people, approval.accept.people],
      ['signers', 2, 1],
    )
  })

  test('may be JSON, have comments, anchors and Windows line ends', () => {
    assert.equal(parseClusterFile(GOOD.replaceAll('\n', '\r\n'), 'prod.yaml').cluster, 'prod')
    const aliased = GOOD.replace('every: 6h', 'every: &often 6h\n  catchup: *often # as long')
    assert.equal(parseClusterFile(aliased, 'prod.yaml').backup.catchup, 6 * 3_600_000)
    const json =
      '{"cluster":"p","nodes":[{"name":"a","address":"b"}],"store":{"bucket":"bkt","kmsKeyId":"k"}}'
    assert.equal(parseClusterFile(json, 'p.yaml').cluster, 'p')
  })
})

/** What is wrong, and the finding that has to come of it: `line:column field: words`. */
const BAD: readonly { title: string; text: string; finds: string }[] = [
  { title: 'an empty file', text: '', finds: '1:1 the file: has to be a section with fields, and is empty' },
  { title: 'a list', text: '- 1\n', finds: '1:1 the file: has to be a section with fields, and is a list' },
  {
    title: 'a mistyped field',
    text: swap('address: 10.0.1.11', 'adress: 10.0.1.11'),
    finds: '4:5 nodes[0].adress: is unknown; did you mean address?',
  },
  {
    title: 'a field in the wrong case',
    text: swap('kmsKeyId', 'kmskeyid'),
    finds: '10:3 store.kmskeyid: is unknown; did you mean kmsKeyId?',
  },
  {
    title: 'a field in the wrong section',
    text: `${GOOD}bucket: x\n`,
    finds: '13:1 bucket: is unknown here; it belongs to the section store',
  },
  {
    title: 'a field that nobody knows',
    text: `${GOOD}zebra: x\n`,
    finds: '13:1 zebra: is unknown; a cluster file has cluster, nodes',
  },
  {
    title: 'a missing field',
    text: swap('  bucket: etcd-backups\n', ''),
    finds: '8:1 store.bucket: is missing; it has to be text',
  },
  {
    title: 'a missing section',
    text: GOOD.slice(0, GOOD.indexOf('store:')),
    finds: '1:1 store: is missing; it has to be a section with fields',
  },
  {
    title: 'an empty section',
    text: `${GOOD}etcd:\n`,
    finds: '13:6 etcd: has to be a section with fields, and is empty',
  },
  {
    title: 'text for a number',
    text: swap('port: 2222', 'port: "2222"'),
    finds: '7:11 nodes[1].port: has to be a number, and is text',
  },
  {
    title: 'a number for text',
    text: swap('alias/etcd', '12'),
    finds: '10:13 store.kmsKeyId: has to be text, and is a number (put "12" in quotes)',
  },
  {
    title: 'a fraction',
    text: swap('port: 2222', 'port: 22.5'),
    finds: '7:11 nodes[1].port: has to be a whole number',
  },
  {
    title: 'a number out of range',
    text: swap('port: 2222', 'port: 70000'),
    finds: '7:11 nodes[1].port: has to be at most 65535, and is 70000',
  },
  {
    title: 'a duration in words',
    text: swap('every: 6h', 'every: 6 hours'),
    finds: '12:10 backup.every: "6 hours" has to be a duration like 90s, 10m, 6h or 2d',
  },
  {
    title: 'a size in words',
    text: `${GOOD}transfer: { bandwidth: 20 MB }\n`,
    finds: '13:24 transfer.bandwidth: "20 MB" has to be a size like 512KiB, 20MiB or 1GiB',
  },
  {
    title: 'a relative path',
    text: `${GOOD}etcd: { dataDir: var/lib/etcd }\n`,
    finds: '13:18 etcd.dataDir: "var/lib/etcd" has to be an absolute path of plain characters',
  },
  {
    title: 'a check to skip that there is none of',
    text: `${GOOD}validate: { skip: [nodes, canry] }\n`,
    finds: '13:27 validate.skip[1]: "canry" is no check; did you mean canary?',
  },
  {
    title: 'a limit of a check that there is none of',
    text: `${GOOD}validate: { limits: { cannary: 5m } }\n`,
    finds: '13:23 validate.limits.cannary: is unknown; did you mean canary?',
  },
  {
    title: 'a limit that no check can be made in',
    text: `${GOOD}validate: { limits: { canary: 0s } }\n`,
    finds: '13:31 validate.limits.canary: between 1s and 1h',
  },
  {
    title: 'an unknown choice',
    text: `${GOOD}approval: { proof: magic }\n`,
    finds: '13:20 approval.proof: "magic" has to be "none" or "ssh"',
  },
  {
    title: 'signatures of nobody',
    text: `${GOOD}approval: { proof: ssh }\n`,
    finds: '13:1 approval.allowedSigners: is missing; proof ssh needs the file of those who may decide',
  },
  {
    title: 'signers whose signatures nobody asks for',
    text: `${GOOD}approval: { allowedSigners: signers }\n`,
    finds: '13:29 approval.allowedSigners: is of no use without proof: ssh, and names are taken on trust',
  },
  {
    title: 'a mistyped field of the approval',
    text: `${GOOD}approval: { proof: ssh, allowedSinger: signers }\n`,
    finds: '13:25 approval.allowedSinger: is unknown; did you mean allowedSigners?',
  },
  {
    title: 'another scheme',
    text: swap('bucket: etcd-backups', 'bucket: etcd-backups\n  endpoint: ftp://x'),
    finds: '10:13 store.endpoint: "ftp://x" has to be a URL with http or https',
  },
  {
    title: 'two nodes with one name',
    text: swap('cp-02', 'cp-01'),
    finds: '2:1 nodes: node names have to differ',
  },
  {
    title: 'no nodes',
    text: swap(/nodes:[\s\S]*store:/, 'nodes: []\nstore:'),
    finds: '2:1 nodes: has to have at least 1, and has 0',
  },
  {
    title: "a name that isn't the file's",
    text: swap('cluster: prod', 'cluster: production'),
    finds:
      '1:10 cluster: "production" has to be the file\'s name without .yaml, and the file is called prod.yaml',
  },
  {
    title: 'the same field twice',
    text: `${GOOD}cluster: prod\n`,
    finds: '13:1 cluster: stands here a second time in the same place',
  },
  {
    title: 'tabs',
    text: 'cluster: prod\nnodes:\n\t- name: a\n',
    finds: '3:1 not YAML: Tabs are not allowed as indentation',
  },
  { title: 'an open bracket', text: 'cluster: prod\nnodes: [\n', finds: ' not YAML: ' },
  {
    title: 'a second document',
    text: `${GOOD}---\ncluster: b\n`,
    finds: '13:1 not YAML: a second document begins here; one file is one cluster',
  },
  {
    title: 'an alias of nothing',
    text: swap('every: 6h', 'every: *gone'),
    finds: '12:10 not YAML: *gone stands for nothing',
  },
  {
    title: 'a tag of another program',
    text: swap('every: 6h', 'every: !env EVERY'),
    finds: '12:10 not YAML: Unresolved tag: !env',
  },
]

describe('a cluster file with a mistake', () => {
  for (const { title, text, finds } of BAD) {
    test(`${title}: ${finds.trim()}`, () => {
      const { message } = failure(() => parseClusterFile(text, '/home/clusters/prod.yaml'))
      assert.ok(
        message.includes(finds.startsWith(' ') ? finds : `/home/clusters/prod.yaml:${finds}`),
        message,
      )
    })
  }

  test('names all mistakes at once, in the order of the file', () => {
    const text = swap('address: 10.0.1.11', 'adress: 1')
      .replace('every: 6h', 'every: soon')
      .replace('bucket', 'buckt')
    const { findings } = readClusterFile(text, 'prod.yaml')
    assert.deepEqual(
      findings.map(({ line, field }) => `${line} ${field}`),
      ['3 nodes[0].address', '4 nodes[0].adress', '8 store.bucket', '9 store.buckt', '12 backup.every'],
    )
  })

  test('is an error of the one who wrote it, with what to do', () => {
    const { code, text } = failure(() => parseClusterFile('x: 1', 'prod.yaml'))
    assert.equal(code, 'config-invalid')
    assert.match(text.todo, /requorum config check/)
  })

  test('can neither blow up nor hang the reader with aliases of aliases', () => {
    const layers = Array.from(
      { length: 12 },
      (_, at) =>
        `l${at}: &l${at} [${Array(9)
          .fill(at === 0 ? 'x' : `*l${at - 1}`)
          .join(', ')}]`,
    )
    assert.match(failure(() => parseClusterFile(layers.join('\n'), 'prod.yaml')).message, /alias/i)
  })

  test('is shown with its long values cut', () => {
    const { message } = failure(() => parseClusterFile(swap('6h', 'h'.repeat(100_000)), 'prod.yaml'))
    assert.ok(message.length < 1_000, `${message.length} characters`)
  })
})

describe('the name that was probably meant', () => {
  const clusters = ['prod', 'prod-eu', 'staging']
  for (const [typed, meant] of [
    ['prdo', 'prod'],
    ['PROD', 'prod'],
    ['prod_eu', 'prod-eu'],
    ['stagin', 'staging'],
    ['lab', null],
    ['', null],
  ] as const) {
    test(`${typed === '' ? 'nothing' : typed} → ${meant ?? 'none'}`, () =>
      assert.equal(closestName(typed, clusters), meant))
  }
})

function swap(from: string | RegExp, to: string): string {
  const changed = GOOD.replace(from, to)
  assert.notEqual(changed, GOOD)
  return changed
}

function failure(work: () => unknown): RequorumError {
  try {
    work()
  } catch (error) {
    if (error instanceof RequorumError) return error
    throw error
  }
  throw new assert.AssertionError({ message: 'nothing was thrown' })
}
