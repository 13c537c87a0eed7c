import { readFileSync } from 'node:fs'

/** The function `sha256` for scripts on nodes: they stand behind it. */
export const SHA256 = readFileSync(new URL('./sha256.sh', import.meta.url), 'utf8')
