import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { requorumHome, fromHome } from '../../workers/home.ts'

const scratch = mkdtempSync(join(tmpdir(), 'requorum-pointer-'))
after(() => rmSync(scratch, { recursive: true }))
const pointer = join(scratch, 'home')

describe("Requorum's home", () => {
  test('is what REQUORUM_HOME says, before all else', () => {
    writeFileSync(pointer, `${scratch}\n`)
    assert.equal(requorumHome({ REQUORUM_HOME: '/srv/requorum/' }, pointer), '/srv/requorum')
  })

  test('has to be an absolute path', () => {
    assert.throws(() => requorumHome({ REQUORUM_HOME: 'here' }, pointer), { code: 'input-invalid' })
  })

  test('is the home of the lab that is up', () => {
    writeFileSync(pointer, `${scratch}\n`)
    assert.equal(requorumHome({}, pointer), scratch)
  })

  test('is ~/.requorum without a lab, and when the lab is gone', () => {
    const own = join(homedir(), '.requorum')
    assert.equal(requorumHome({}, join(scratch, 'no-pointer')), own)
    writeFileSync(pointer, join(scratch, 'gone'))
    assert.equal(requorumHome({}, pointer), own)
  })

  test('is where relative paths of a cluster file begin', () => {
    assert.equal(fromHome('/srv/requorum', 'known_hosts'), '/srv/requorum/known_hosts')
    assert.equal(fromHome('/srv/requorum', '/etc/ssh/known_hosts'), '/etc/ssh/known_hosts')
  })
})
