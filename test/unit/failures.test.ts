import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { FAILURES, failureMessage, isFailureCode, reasonOf, RequorumError } from '../../domain/failures.ts'

const root = join(import.meta.dirname, '../..')
const ROOMS = ['domain', 'workflows', 'activities', 'systems', 'workers', 'scripts', 'lab']
const sources = ROOMS.flatMap((room) =>
  readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(ts|mjs)$/.test(file))
    .map((file) => ({ file: join(room, file), text: readFileSync(join(root, room, file), 'utf8') })),
)

describe('the codes of failures', () => {
  test('are each used by something that can fail', () => {
    const elsewhere = sources.filter(({ file }) => !file.endsWith('domain/failures.ts'))
    const unused = Object.keys(FAILURES).filter(
      (code) => !elsewhere.some(({ text }) => text.includes(`'${code}'`)),
    )
    assert.deepEqual(unused, [])
  })

  test('exist wherever an error is made', () => {
    for (const { file, text } of sources) {
      for (const [, code = ''] of text.matchAll(/new RequorumError\(\s*'([^']*)'/g)) {
        assert.ok(isFailureCode(code), `${file}: ${code}`)
      }
    }
  })

  test('are stable words: lower case with hyphens', () => {
    for (const code of Object.keys(FAILURES)) assert.match(code, /^[a-z]+(-[a-z]+)*$/)
  })

  test('that a person has to mend are not tried again by themselves, but for an engine that may come back', () => {
    const retried = Object.entries(FAILURES).filter(([, { fault, retry }]) => fault === 'yours' && retry)
    assert.deepEqual(
      retried.map(([code]) => code),
      ['engine-unreachable'],
    )
  })

  test('are known by name only, and by nothing inherited', () => {
    assert.equal(isFailureCode('quorum-holds'), true)
    for (const wrong of ['toString', '__proto__', 'constructor', '', undefined, null, 7])
      assert.equal(isFailureCode(wrong), false)
  })
})

describe('an error for a person', () => {
  const cause = new Error('exit 255')
  const error = new RequorumError(
    'node-unreachable',
    { what: 'cp-02 can’t be reached.', why: 'connect ETIMEDOUT', todo: 'Look at its network.' },
    { cause },
  )

  test('says what happened, why, and what to do, in this order', () => {
    assert.equal(error.message, 'cp-02 can’t be reached.\nWhy: connect ETIMEDOUT\nDo:  Look at its network.')
    assert.equal(failureMessage({ what: 'x', todo: 'y' }), 'x\nDo:  y')
  })

  test('keeps its code and cause, and knows whether trying again helps', () => {
    assert.equal(error.code, 'node-unreachable')
    assert.equal(error.cause, cause)
    assert.equal(error.retryable, true)
    assert.equal(new RequorumError('lock-held', { what: 'x', todo: 'y' }).retryable, false)
  })

  test('always says what to do', () => {
    const silent = sources.filter(({ text }) => /todo:\s*(''|""|``)/.test(text)).map(({ file }) => file)
    assert.deepEqual(silent, [])
  })
})

test('the reason of anything thrown is its words', () => {
  assert.equal(reasonOf(new Error('no route')), 'no route')
  assert.equal(reasonOf('plain'), 'plain')
  assert.equal(reasonOf(undefined), 'undefined')
})
