import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Lab } from '../../lab/lab.ts'

const COMMAND = fileURLToPath(new URL('../../scripts/requorum.ts', import.meta.url))

export interface Called {
  readonly code: number | null
  readonly out: string
  readonly error: string
  readonly seconds: number
}

/** Runs the real command for the lab's clusters; nothing else of the caller's environment reaches it. */
export function requorum(lab: Lab, ...args: readonly string[]): Promise<Called> {
  const began = performance.now()
  const child = spawn(process.execPath, [COMMAND, ...args], {
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: lab.dir,
      REQUORUM_HOME: lab.dir,
      AWS_EC2_METADATA_DISABLED: 'true',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let error = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (error += text))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, out, error, seconds: (performance.now() - began) / 1_000 }))
  })
}
