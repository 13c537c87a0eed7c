import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { partTarget } from '../../lab/parts/parts.mjs'
import { projectNode } from './node-modules.mjs'

/**
 * What people type, beside the other programs of the project: with node_modules/.bin in the PATH there are `requorum`,
 * which runs on the project's own Node, and `temporal`. Scripts, since crontabs and sudo know no alias.
 */
export function writeLaunchers(root) {
  const launchers = {
    requorum: [projectNode(root), join(root, 'scripts/requorum.ts')],
    temporal: [partTarget('temporal')],
  }
  for (const [name, words] of Object.entries(launchers)) {
    const file = join(root, 'node_modules/.bin', name)
    const text = `#!/bin/sh\nexec ${words.map(quote).join(' ')} "$@"\n`
    if (existsSync(file) && readFileSync(file, 'utf8') === text) continue
    writeFileSync(file, text, { mode: 0o755 })
  }
}

function quote(word) {
  return `'${word.replaceAll("'", "'\\''")}'`
}
