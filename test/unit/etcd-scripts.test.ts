import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { INVENTORY } from '../../systems/etcd/inventory.ts'
import { CHECK } from '../../systems/etcd/snapshot-file.ts'
import { ETCDUTL, NO_ETCD, ThrowawayEtcd } from './throwaway-etcd.ts'

const scripts = join(import.meta.dirname, '../../systems/etcd')
const script = (name: string) => readFileSync(join(scripts, name), 'utf8')

let etcd: ThrowawayEtcd
/** The revision at which the keyspace below stands. */
let at = ''
const KEYS = [
  ...Array.from({ length: 5 }, (_, index) => `/registry/pods/default/web-${index}`),
  '/registry/pods/kube-system/coredns',
  '/registry/services/endpoints/default/web',
  '/registry/services/specs/default/web',
  '/registry/services/specs/default/api',
  '/registry/argoproj.io/applications/argocd/shop',
  '/registry/ranges/serviceips',
  'compact_rev_key',
  'a key with "quotes", {braces},{ and a\nline in it',
]
const LEASED = ['/registry/masterleases/10.0.1.11', '/registry/leases/kube-node-lease/cp-01']

function sh(text: string, args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync('dash', ['-c', text, 'sh', ...args], { encoding: 'utf8' })
  return { code: status, stdout, stderr }
}

function inventory(revision: string, page: number) {
  return sh(INVENTORY, [revision, String(page), ...etcd.etcdctl()])
}

function value(stdout: string, key: string): string {
  return new RegExp(`^${key}=(.*)$`, 'm').exec(stdout)?.[1] ?? ''
}

describe('scripts that read a real etcd', { skip: NO_ETCD }, () => {
  before(async () => {
    etcd = await ThrowawayEtcd.start()
    for (const key of KEYS) await etcd.put(key, `value of ${key},"},{"key":"`)
    const lease = await etcd.grantLease()
    for (const key of LEASED) await etcd.put(key, 'leased', lease)
    at = await etcd.put('/registry/pods/default/web-0', 'written again')
  })
  after(() => etcd.stop())

  describe('the inventory', () => {
    test('counts keys, leases and kinds', () => {
      const { code, stdout, stderr } = inventory(at, 1_000)
      assert.equal(code, 0, stderr)
      assert.equal(value(stdout, 'keys'), String(KEYS.length + LEASED.length))
      assert.equal(value(stdout, 'leased'), '2')
      assert.match(value(stdout, 'metadata'), /^[0-9a-f]{64}$/)
      assert.match(value(stdout, 'sample'), /^[0-9a-f]{64}$/)
      assert.deepEqual([...stdout.matchAll(/^kind=(.*)$/gm)].map((match) => match[1]).sort(), [
        '1 argoproj.io/applications',
        '1 leases',
        '1 services/endpoints',
        '2 services/specs',
        '6 pods',
      ])
    })

    test('is the same whatever the pages are, also when the last one is full', () => {
      const whole = inventory(at, 1_000).stdout
      const count = KEYS.length + LEASED.length
      for (const page of [2, 3, 5, count - 1, count, count + 1]) {
        const { code, stdout, stderr } = inventory(at, page)
        assert.equal(code, 0, `${page}: ${stderr}`)
        assert.equal(stdout, whole, `pages of ${page}`)
      }
    })

    test('is that of its revision, however busy the cluster is', async () => {
      const then = inventory(at, 1_000).stdout
      const later = await etcd.put('/registry/pods/default/web-0', 'and again')
      assert.equal(inventory(at, 3).stdout, then)
      const now = inventory(later, 3).stdout
      assert.equal(value(now, 'keys'), value(then, 'keys'))
      assert.notEqual(value(now, 'metadata'), value(then, 'metadata'))
      assert.notEqual(value(now, 'sample'), value(then, 'sample'))
    })

    test('tells a key that was deleted and written again with the same value', async () => {
      const first = await etcd.put('again', 'same')
      const second = await etcd.put('again', 'same')
      assert.notEqual(
        value(inventory(first, 1_000).stdout, 'metadata'),
        value(inventory(second, 1_000).stdout, 'metadata'),
      )
    })

    test('leaves nothing behind', () => {
      const before = readdirSync('/run').filter((name) => name.startsWith('requorum-inventory.'))
      inventory(at, 2)
      inventory('999999', 2)
      assert.deepEqual(
        readdirSync('/run').filter((name) => name.startsWith('requorum-inventory.')),
        before,
      )
    })

    test('leaves nothing behind when nobody hears it any more: its worker was killed', () => {
      const before = readdirSync('/run').filter((name) => name.startsWith('requorum-inventory.'))
      // The connection's end is that of a pipe that nobody reads.
      spawnSync('dash', [
        '-c',
        '{ sleep 0.2; dash -c "$@"; } | true',
        'sh',
        INVENTORY,
        'sh',
        at,
        '100',
        ...etcd.etcdctl(),
      ])
      assert.deepEqual(
        readdirSync('/run').filter((name) => name.startsWith('requorum-inventory.')),
        before,
      )
    })

    test('ends with an error at a revision that is not there yet', () => {
      const { code, stdout, stderr } = inventory('999999', 1_000)
      assert.notEqual(code, 0)
      assert.match(stderr, /future revision/)
      assert.equal(stdout, '')
    })
  })

  describe('a snapshot', () => {
    let file = ''
    let size = 0
    const check = (path: string) => sh(`${CHECK}set -eu\ncheck_snapshot "$1" "$2"\n`, [path, ETCDUTL])
    const damaged = (change: (path: string) => void) => {
      const copy = join(etcd.directory, 'damaged.db')
      copyFileSync(file, copy)
      change(copy)
      return check(copy)
    }
    const save = (path: string, ctl = etcd.etcdctl()) =>
      sh(CHECK + script('save-snapshot.sh'), [path, ETCDUTL, ...ctl])

    before(() => {
      file = join(etcd.directory, 'backups/snapshot.db')
      const saved = save(file)
      assert.equal(saved.code, 0, saved.stderr)
      size = statSync(file).size
    })

    test('is saved whole, for root alone, and nothing partial is left', () => {
      assert.equal(statSync(file).mode & 0o777, 0o600)
      assert.equal(statSync(join(file, '..')).mode & 0o777, 0o700)
      assert.deepEqual(readdirSync(join(file, '..')), ['snapshot.db'])
    })

    test('says its size, checksum, revision and keys', () => {
      const { code, stdout } = check(file)
      assert.equal(code, 0)
      assert.equal(value(stdout, 'size'), String(size))
      assert.equal(value(stdout, 'sha256'), createHash('sha256').update(readFileSync(file)).digest('hex'))
      assert.match(value(stdout, 'status'), /"revision":\d+,"totalKey":\d+/)
    })

    test('saved again by a retry is the same file', () => {
      const once = statSync(file, { bigint: true })
      const { code, stdout } = save(file)
      assert.equal(code, 0)
      assert.equal(value(stdout, 'size'), String(size))
      assert.equal(statSync(file, { bigint: true }).mtimeNs, once.mtimeNs)
    })

    test('is saved over what a killed attempt left', () => {
      const other = join(etcd.directory, 'backups/other.db')
      for (const left of ['.other.db.partial', '.other.db.partial.part']) {
        writeFileSync(join(etcd.directory, 'backups', left), 'half')
      }
      assert.equal(save(other).code, 0)
      assert.deepEqual(readdirSync(join(other, '..')).sort(), ['other.db', 'snapshot.db'])
    })

    test('that can’t be taken now ends 75 and leaves nothing', () => {
      const path = join(etcd.directory, 'nowhere/snapshot.db')
      const dead = etcd
        .etcdctl()
        .map((word) =>
          word
            .replace(/^--endpoints=.*/, '--endpoints=http://127.0.0.1:1')
            .replace(/^--command-timeout=.*/, '--command-timeout=2s'),
        )
      const { code } = save(path, dead)
      assert.equal(code, 75)
      assert.deepEqual(readdirSync(join(path, '..')), [])
    })

    test('with one byte flipped anywhere is refused, where etcdutl sees nothing', () => {
      for (const offset of [
        0,
        100,
        4_096,
        Math.floor(size / 2),
        Math.floor(size / 3),
        size - 33,
        size - 32,
        size - 1,
      ]) {
        const { code, stderr } = damaged((copy) => {
          const bytes = readFileSync(copy)
          bytes[offset] = bytes[offset]! ^ 1
          writeFileSync(copy, bytes)
        })
        assert.equal(code, 65, `offset ${offset}`)
        assert.match(stderr, /trailer .* isn't that of its content/)
      }
    })

    test('without its trailer, or cut anywhere, is refused', () => {
      for (const length of [size - 32, size - 1, Math.floor(size / 2), 4_096, 33]) {
        const { code, stderr } = damaged((copy) => truncateSync(copy, length))
        assert.equal(code, 65, `cut to ${length}`)
        assert.match(stderr, /trailer/)
      }
    })

    test('with something added is refused', () => {
      assert.equal(damaged((copy) => writeFileSync(copy, 'x', { flag: 'a' })).code, 65)
    })

    test('that is empty, tiny or missing is refused with that reason', () => {
      const empty = damaged((copy) => truncateSync(copy, 0))
      assert.deepEqual([empty.code, /is empty or not there/.test(empty.stderr)], [65, true])
      const tiny = damaged((copy) => truncateSync(copy, 32))
      assert.deepEqual([tiny.code, /has only 32 bytes/.test(tiny.stderr)], [65, true])
      const missing = check(join(etcd.directory, 'no such file.db'))
      assert.deepEqual([missing.code, /is empty or not there/.test(missing.stderr)], [65, true])
    })

    test('that is no database is refused even with a right trailer', () => {
      const text = Buffer.alloc(8_192, 'no database\n')
      const { code } = damaged((copy) => {
        writeFileSync(copy, Buffer.concat([text, createHash('sha256').update(text).digest()]))
      })
      assert.equal(code, 65)
    })

    test('prints nothing that could be taken for facts when it is refused', () => {
      assert.equal(damaged((copy) => truncateSync(copy, size - 32)).stdout, '')
    })
  })
})

describe('an inventory that can’t be read whole', { skip: NO_ETCD }, () => {
  let own: ThrowawayEtcd
  const read = (revision: string, page: number) => sh(INVENTORY, [revision, String(page), ...own.etcdctl()])
  before(async () => {
    own = await ThrowawayEtcd.start()
    await own.put('/a', '1')
  })
  after(() => own.stop())

  test('ends 64 with a reason where a page would have to begin with a key that no argument can hold', async () => {
    for (const [key, next] of [
      ['/b\n', '/b~'],
      ['/c\0', '/c~'],
      ['/d\0\0x', '/d~'],
    ] as const) {
      await own.put(key, 'odd')
      const revision = await own.put(next, 'next')
      const found = Number(value(read(revision, 1_000).stdout, 'keys'))
      assert.ok(found >= 3, String(found))
      // The odd key is the last but one: a page of one less than all ends with it.
      const { code, stderr, stdout } = read(revision, found - 1)
      assert.equal(code, 64, JSON.stringify(key))
      assert.match(stderr, /a key has bytes that an argument can't carry/)
      assert.equal(stdout, '')
      // Out of the way, so that the next one is the last but one of a keyspace that can be read.
      spawnSync(own.etcdctl()[0]!, [...own.etcdctl().slice(1), 'del', '--prefix', key.slice(0, 2)])
    }
  })

  test('is read all the same where such a key stands within a page', async () => {
    const revision = await own.put('/b\n', 'odd')
    const { code, stdout } = read(revision, 1_000)
    assert.equal(code, 0)
    assert.equal(value(stdout, 'keys'), '2')
  })

  test('ends with an error when its revision has been compacted away', async () => {
    const old = await own.put('/a', '2')
    const now = await own.put('/a', '3')
    await own.compact(now)
    const { code, stderr, stdout } = read(old, 1_000)
    assert.notEqual(code, 0)
    assert.match(stderr, /required revision has been compacted/)
    assert.equal(stdout, '')
    assert.equal(existsSync('/run/requorum-inventory'), false)
  })

  test('of an empty keyspace is zero and not an error', async () => {
    spawnSync(own.etcdctl()[0]!, [...own.etcdctl().slice(1), 'del', '--prefix', ''])
    const revision = String(Number(await own.put('x', '')) + 1)
    spawnSync(own.etcdctl()[0]!, [...own.etcdctl().slice(1), 'del', 'x'])
    const { code, stdout, stderr } = read(revision, 1_000)
    assert.equal(code, 0, stderr)
    assert.equal(value(stdout, 'keys'), '0')
    const ofNothing = createHash('sha256').update('').digest('hex')
    assert.deepEqual([value(stdout, 'metadata'), value(stdout, 'sample')], [ofNothing, ofNothing])
  })
})

describe('the sample of values in an inventory', { skip: NO_ETCD }, () => {
  const KEYS_HERE = 400
  const odd = new Map<number, string>()
  const digests = async (): Promise<{ metadata: string; sample: string }> => {
    const own = await ThrowawayEtcd.start()
    try {
      let revision = ''
      for (let index = 0; index < KEYS_HERE; index += 1)
        revision = await own.put(`/key/${String(index).padStart(4, '0')}`, odd.get(index) ?? 'value')
      const [one, other] = [150, 1_000].map((most) =>
        sh(INVENTORY, [revision, String(most), ...own.etcdctl()]),
      )
      assert.equal(one?.code, 0, one?.stderr)
      assert.equal(one.stdout, other?.stdout)
      return { metadata: value(one.stdout, 'metadata'), sample: value(one.stdout, 'sample') }
    } finally {
      await own.stop()
    }
  }

  test('tells a value that differs where it looks, from the first key to the last stretch, and never whose keys', async () => {
    const usual = await digests()
    assert.deepEqual(await digests(), usual, 'another member and cluster have the same')
    for (const index of [0, 381]) {
      odd.clear()
      odd.set(index, 'other')
      const { metadata, sample } = await digests()
      assert.equal(metadata, usual.metadata)
      assert.notEqual(sample, usual.sample, `key ${index}`)
    }
    // Between two stretches of 32, which begin at every 50th key.
    odd.clear()
    odd.set(40, 'other')
    assert.equal((await digests()).sample, usual.sample)
  })
})
