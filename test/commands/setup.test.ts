/** What the set-up says on a machine where it can't go on: within seconds, and nothing is changed. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'

const ROOT = join(import.meta.dirname, '../..')
/** Long enough for a machine that is busy; the promise is ten seconds. */
const LIMIT_MS = 60_000

/** As after `git clone`: nothing is installed. */
const clone = mkdtempSync(join(tmpdir(), 'requorum-clone-'))
for (const part of ['scripts', 'lab', 'package.json', 'package-lock.json'])
  cpSync(join(ROOT, part), join(clone, part), { recursive: true })
// Whoever is not root has to be able to read it.
spawnSync('chmod', ['-R', 'a+rX', clone])
after(() => rmSync(clone, { recursive: true, force: true }))

function setUp(...before: readonly string[]) {
  const [command = '', ...args] = [
    ...before,
    process.execPath,
    join(clone, 'scripts/setup.mjs'),
    ...['--for', 'test'],
  ]
  const run = spawnSync(command, args, {
    cwd: clone,
    encoding: 'utf8',
    timeout: LIMIT_MS,
    env: { ...process.env, REQUORUM_CACHE: join(clone, 'cache'), npm_config_cache: join(clone, 'npm') },
  })
  assert.equal(run.error, undefined, 'it ended by itself')
  assert.equal(run.status, 1, run.stdout + run.stderr)
  assert.equal(existsSync(join(clone, 'node_modules')), false)
  return run.stderr
}

test('who is not root is told to be, and how', () => {
  const said = setUp('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups')
  assert.match(said, /This is not the root user\.\n {2}Why: .*namespaces.*\n {2}What to do: .*sudo/)
})

test('a distribution that is not made of Debian packages is named', () => {
  const release = join(clone, 'os-release')
  writeFileSync(release, 'ID=alpine\nPRETTY_NAME="Alpine Linux v3.22"\n')
  const there = 'mount --bind "$1" /etc/os-release; shift; exec "$@"'
  const said = setUp('unshare', '--mount', 'sh', '-ec', there, 'sh', release)
  assert.match(said, /This machine runs Alpine Linux v3\.22\.\n {2}Why: .*Debian packages[\s\S]*What to do: /)
})

test('without a network it says what it could not reach', () => {
  assert.match(
    setUp('unshare', '--net'),
    /npm's registry can't be reached\.[\s\S]*What to do: {2}Check the network/,
  )
})
