import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { manifestJsonSchema } from '../../domain/snapshot.ts'

test('the published schema of manifests is the one that they are read by', () => {
  const url = new URL('../../docs/schemas/snapshot-manifest.v1.json', import.meta.url)
  const published = readFileSync(url, 'utf8')
  assert.equal(
    published.replaceAll(/\s/g, ''),
    JSON.stringify(manifestJsonSchema()).replaceAll(/\s/g, ''),
    'npm run schema writes it anew',
  )
})
