import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { SignedRequest } from '../../domain/signed-request.ts'
import { curlConfig } from '../../systems/transfer/transfer.ts'

const folder = new URL('../../systems/transfer/', import.meta.url)

/** Runs one of the node's scripts for the store as its unit there does: real curl, the request on standard input. */
export function runScript(
  name: string,
  args: readonly string[],
  request: SignedRequest,
  bytesPerSecond?: number,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const [shared, own] = ['curl.sh', name].map((file) => readFileSync(new URL(file, folder), 'utf8'))
  return new Promise((resolve) => {
    const child = execFile(
      'sh',
      ['-c', `set -eu\n${shared}${own}`, 'sh', ...args],
      (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
      },
    )
    child.stdin?.end(curlConfig(request, bytesPerSecond))
  })
}
