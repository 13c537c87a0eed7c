/** The scripts that list, remove and bring back what was set aside, by the real shell on real files. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import type { NodeAction } from '../../domain/node-actions.ts'
import { ACTION_SCRIPTS } from '../../systems/node/action-scripts.ts'

const TIME = '20261122T021400Z'
const ASIDE_FACTS = readFileSync(join(import.meta.dirname, '../../systems/node/aside-facts.sh'), 'utf8')

let root: string
const at = (path: string): string => join(root, path)
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'requorum-aside-'))
  for (const dir of ['lib/etcd/member', 'backups', 'recoveries/own', 'manifests'])
    mkdirSync(at(dir), { recursive: true })
  writeFileSync(at('lib/etcd/member/db'), 'live')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function sh(script: string, args: readonly string[]): { code: number | null; said: string; out: string } {
  const { status, stdout, stderr } = spawnSync('dash', ['-c', script, 'dash', ...args], { encoding: 'utf8' })
  return { code: status, said: `${stdout}${stderr}`.trim(), out: stdout }
}
const perform = (action: NodeAction['kind'], ...args: string[]) =>
  sh(ACTION_SCRIPTS[action], [at('recoveries/own'), ...args])
const remove = (...items: string[]) =>
  perform('remove-aside', at('lib/etcd'), at('backups'), at('recoveries'), ...items)
const aside = (kind = 'corrupt'): string => {
  const path = at(`lib/etcd.${kind}.${TIME}`)
  mkdirSync(`${path}/member`, { recursive: true })
  writeFileSync(`${path}/member/db`, 'old')
  return path
}
const seen = (path: string): string => `${statSync(path).ino}:${Math.floor(statSync(path).mtimeMs / 1_000)}`
const inode = (path: string): string => String(statSync(path).ino)

describe('a removal', () => {
  test('takes what was listed and nothing else, any number of times', () => {
    const [old, undone] = [aside(), aside('undone')]
    const copy = at('backups/before-compaction-20261122T021400Z-3fa9c1d2.db')
    const record = at('recoveries/20261122T021400Z-3fa9c1d2')
    writeFileSync(copy, 'copy')
    mkdirSync(record)
    const items = [old, copy, record].flatMap((path) => [path, seen(path)])
    assert.deepEqual(remove(...items).code, 0)
    assert.deepEqual(readdirSync(at('lib')).sort(), ['etcd', `etcd.undone.${TIME}`])
    assert.ok(existsSync(undone) && !existsSync(copy) && !existsSync(record))
    assert.equal(readFileSync(at('lib/etcd/member/db'), 'utf8'), 'live')
    const again = remove(...items)
    assert.equal(again.code, 0)
    assert.match(again.said, /gone already/)
  })

  test('that was killed in the middle goes on, and half of it has no name of the whole', () => {
    const old = aside()
    const was = seen(old)
    renameSync(old, `${old}.removing`)
    rmSync(`${old}.removing/member/db`)
    assert.equal(remove(old, was).code, 0)
    assert.deepEqual(readdirSync(at('lib')), ['etcd'])
    // Left by a run that never came back, it is listed under the name that it has now.
    mkdirSync(`${old}.removing`)
    assert.equal(remove(`${old}.removing`, seen(`${old}.removing`)).code, 0)
    assert.deepEqual(readdirSync(at('lib')), ['etcd'])
  })

  for (const name of [
    'lib/etcd',
    'lib/etcd.old',
    'lib/etcd.corrupt.yesterday',
    `lib/etcd.corrupt.${TIME}/member`,
    'backups/snapshot-20261122T020000Z.db',
    'recoveries/own',
    'recoveries/../lib/etcd',
    'manifests',
  ]) {
    test(`of ${name} is refused`, () => {
      aside()
      if (name.includes('.') && !existsSync(at(name))) mkdirSync(at(name))
      const before = readdirSync(root, { recursive: true }).length
      const { code, said } = remove(at(name), seen(at(name)))
      assert.equal(code, 65, said)
      assert.equal(
        readdirSync(root, { recursive: true }).filter((one) => !String(one).endsWith('done.log')).length,
        before,
      )
    })
  }

  test('of which one thing is refused takes nothing, also what is listed before it', () => {
    const old = aside()
    const { code, said } = remove(old, seen(old), at('lib/etcd'), seen(at('lib/etcd')))
    assert.equal(code, 65, said)
    assert.ok(existsSync(`${old}/member/db`))
  })

  test('of a link is refused, and of what is not what was seen', () => {
    const link = at(`lib/etcd.undone.${TIME}`)
    symlinkSync(at('lib/etcd'), link)
    assert.match(remove(link, seen(link)).said, /symbolic link/)
    const old = aside()
    const was = seen(old)
    rmSync(old, { recursive: true })
    writeFileSync(at('lib/keeps-the-inode'), '')
    mkdirSync(old)
    assert.match(remove(old, was.replace(/:.*/, ':1')).said, /isn't what was seen/)
    assert.ok(existsSync(old) && existsSync(at('lib/etcd/member/db')))
  })
})

test('the list has each thing with inode, size and what is odd about it, and the marks of each recovery', () => {
  const old = aside()
  symlinkSync(at('lib/etcd'), at(`lib/etcd.undone.${TIME}`))
  const record = at('recoveries/20261122T021400Z-3fa9c1d2')
  mkdirSync(record)
  writeFileSync(join(record, 'ended'), '2026-11-22T02:25:00Z opened\n')
  const { code, out } = sh(ASIDE_FACTS, [at('lib/etcd'), at('backups'), at('recoveries')])
  assert.equal(code, 0)
  const lines = out.split('\n').map((line) => line.split('\t'))
  const of = (path: string) => lines.find(([what, name]) => what === 'aside' && name === path)
  assert.equal(of(old)?.[2], seen(old))
  assert.ok(Number(of(old)?.[3]) > 0)
  assert.equal(of(old)?.[4], '')
  assert.equal(of(at(`lib/etcd.undone.${TIME}`))?.[4], 'it is a symbolic link')
  assert.deepEqual(
    lines.find(([what, name]) => what === 'recovery' && name === '20261122T021400Z-3fa9c1d2'),
    ['recovery', '20261122T021400Z-3fa9c1d2', '', '', '2026-11-22T02:25:00Z opened'],
  )
})

describe('old data', () => {
  test('is taken back as it lay, any number of times', () => {
    const old = aside()
    const was = inode(old)
    assert.equal(perform('take-back', old, at('lib/etcd'), was).code, 65, 'the live data is in the way')
    renameSync(at('lib/etcd'), at(`lib/etcd.rolledback.${TIME}`))
    assert.equal(perform('take-back', old, at('lib/etcd'), was).code, 0)
    assert.equal(readFileSync(at('lib/etcd/member/db'), 'utf8'), 'old')
    assert.match(perform('take-back', old, at('lib/etcd'), was).said, /taken back before/)
  })

  test('is not taken back when another lies there, or when the way back has begun', () => {
    const old = aside()
    rmSync(at('lib/etcd'), { recursive: true })
    assert.equal(perform('take-back', old, at('lib/etcd'), '1').code, 65)
    writeFileSync(at('recoveries/own/undoing'), '')
    assert.equal(perform('take-back', old, at('lib/etcd'), inode(old)).code, 65)
    assert.ok(existsSync(old))
  })

  test('that there was none of leaves none', () => {
    rmSync(at('lib/etcd'), { recursive: true })
    assert.equal(perform('take-back', at('lib/x'), at('lib/etcd'), '').code, 0)
    assert.ok(!existsSync(at('lib/etcd')))
  })
})

describe('old manifests', () => {
  const sha = (text: string): string => createHash('sha256').update(text).digest('hex')
  const give = (...pods: string[]) =>
    perform('return-pods', at('recoveries/old'), at('manifests'), at('recoveries/own/etcd-started'), ...pods)
  beforeEach(() => {
    mkdirSync(at('recoveries/old'))
    writeFileSync(at('recoveries/old/etcd.yaml'), 'old etcd')
    chmodSync(at('recoveries/old/etcd.yaml'), 0o640)
  })

  test('come back byte for byte with their mode, and the mark says which etcd runs', () => {
    for (let times = 0; times < 2; times += 1) assert.equal(give('etcd', sha('old etcd')).code, 0)
    assert.equal(readFileSync(at('manifests/etcd.yaml'), 'utf8'), 'old etcd')
    assert.equal(statSync(at('manifests/etcd.yaml')).mode & 0o777, 0o640)
    assert.ok(existsSync(at('recoveries/own/etcd-started')))
  })

  test('do not come back when they are not what was kept, or another is in their place', () => {
    assert.equal(give('etcd', sha('another')).code, 65)
    assert.ok(!existsSync(at('recoveries/own/etcd-started')))
    writeFileSync(at('manifests/etcd.yaml'), 'the restored one')
    assert.equal(give('etcd', sha('old etcd')).code, 65)
    assert.equal(readFileSync(at('manifests/etcd.yaml'), 'utf8'), 'the restored one')
  })
})
