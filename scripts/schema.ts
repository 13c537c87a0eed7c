/** Writes the published JSON schema of manifests anew: `npm run schema`. A test keeps it and the code the same. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { manifestJsonSchema } from '../domain/snapshot.ts'

const directory = join(import.meta.dirname, '..', 'docs', 'schemas')
mkdirSync(directory, { recursive: true })
writeFileSync(
  join(directory, 'snapshot-manifest.v1.json'),
  `${JSON.stringify(manifestJsonSchema(), null, 2)}\n`,
)
