import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { SignedRequest } from '../../domain/signed-request.ts'
import { SHA256 } from '../../systems/node/sha256.ts'
import { curlConfig } from '../../systems/transfer/transfer.ts'

const folder = new URL('../../systems/transfer/', import.meta.url)

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs one of the node's scripts for the store as its unit there does: real curl, the request on standard input. */
export function runScript(
  name: string,
  args: readonly string[],
  request: SignedRequest,
  bytesPerSecond?: number,
): Promise<Ended> {
  return sh(`${SHA256}${read('curl.sh')}${read(name)}`, args, curlConfig(request, bytesPerSecond))
}

/** Runs pack.sh as on a node that has zstd, or not. */
export function pack(path: string, by: 'zstd' | 'gzip'): Promise<Ended> {
  const hidden = by === 'zstd' ? '' : 'command() { [ "$2" != zstd ] || return 1; }\n'
  return sh(`${hidden}${SHA256}${read('pack.sh')}`, [path])
}

function read(name: string): string {
  return readFileSync(new URL(name, folder), 'utf8')
}

function sh(script: string, args: readonly string[], input = ''): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile('sh', ['-c', `set -eu\n${script}`, 'sh', ...args], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
    })
    child.stdin?.end(input)
  })
}
