import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { readAllowedSigners } from '../../systems/identity/allowed-signers.ts'

const ANA = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBZY1CUtPoQy7p2VAZzMxOriany4twczB/G+3oTnVn/k'
const BEN = 'sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIKFJ'

describe('people of an allowed-signers file', () => {
  test('are those that a key stands for, each once, whatever is beside it', () => {
    const { people, faults } = readAllowedSigners(
      [
        '# who may decide',
        '',
        `ana@example.com ${ANA} ana's laptop`,
        `ana@example.com valid-before="20270101" ${BEN}`,
        `"ben" namespaces="git,requorum-consent",valid-after="20260101Z"\tssh-rsa AAAAB3NzaC1yc2E=`,
        `cid@example.com\tecdsa-sha2-nistp256   AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY=\r`,
      ].join('\n'),
    )
    assert.deepEqual(faults, [])
    assert.deepEqual(people, ['ana@example.com', 'ben', 'cid@example.com'])
  })

  test('may stand in the file twice with the same key', () => {
    assert.deepEqual(readAllowedSigners(`ana ${ANA}\nana ${ANA}\n`), { people: ['ana'], faults: [] })
  })

  test('are nobody in an empty file', () => {
    assert.deepEqual(readAllowedSigners(''), { people: [], faults: [] })
  })
})

describe('a line counts for nobody and is named', () => {
  for (const [what, line, words] of [
    ['that has no key', 'ana', /no name and key/],
    ['that has only a key, as authorized_keys does', ANA, /no name and key/],
    ['whose key is cut', 'ana ssh-ed25519', /no name and key/],
    ['for several people', `ana,ben ${ANA}`, /one person.*ana,ben/],
    ['for anybody', `* ${ANA}`, /one person/],
    ['for a whole domain', `*@example.com ${ANA}`, /one person/],
    ['for all but one', `!ana ${ANA}`, /one person/],
    ['for one letter or another', `an? ${ANA}`, /one person/],
    ['with a list in quotes', `"ana,ben" ${ANA}`, /one person/],
    ['of an authority', `ana cert-authority ${ANA}`, /certificate authority/],
    ['of an authority among other options', `ana namespaces="a,b",CERT-AUTHORITY ${ANA}`, /authority/],
    ['with a name that can not be claimed', `${'a'.repeat(121)} ${ANA}`, /one person/],
  ] as const) {
    test(what, () => {
      const { people, faults } = readAllowedSigners(`ben ${BEN}\n${line}\n`)
      assert.deepEqual(people, ['ben'])
      assert.equal(faults.length, 1)
      assert.equal(faults[0]!.line, 2)
      assert.match(faults[0]!.what, words)
    })
  }

  test('that gives the key of one to another: two people would be one', () => {
    const { faults } = readAllowedSigners(`ana ${ANA}\nben namespaces="requorum-consent" ${ANA} x\n`)
    assert.deepEqual(faults, [{ line: 2, what: 'has the key of ana (line 1) for ben' }])
  })
})

test('any text at all is read', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
      const { people, faults } = readAllowedSigners(text)
      assert.ok(people.length + faults.length <= text.split('\n').length)
    }),
  )
})
