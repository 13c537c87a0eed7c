import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const COMMAND = fileURLToPath(new URL('../requorum.ts', import.meta.url))

/**
 * Runs the real command as a person would, and shows which. `quiet` keeps its output back unless it fails.
 * @throws Error with its output when it ends with anything but 0 (done) or 4 (waits for a person).
 */
export async function requorum(args: readonly string[], output: 'shown' | 'quiet' = 'shown'): Promise<void> {
  console.log(`  $ requorum ${args.join(' ')}`)
  const child = spawn(process.execPath, [COMMAND, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  const keep = (chunk: Buffer): void => {
    text += chunk.toString()
    if (output === 'shown') process.stdout.write(chunk.toString().replaceAll(/^(?=.)/gm, '    '))
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code !== 0 && code !== 4)
    throw new Error(`requorum ${args.join(' ')} ended with code ${code}:\n${text}`)
}
