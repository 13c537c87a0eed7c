#!/usr/bin/env node
import { enableCompileCache } from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'

// Halves the time to an answer. In the person's own cache: Node's default lies in /tmp, where others can write.
enableCompileCache(join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'requorum', 'compiled'))

const { runCommandLine } = await import('./commands/program.ts')
await runCommandLine(process.argv.slice(2))
