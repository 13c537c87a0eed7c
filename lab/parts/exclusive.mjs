/**
 * "Only one at a time" for whole programs. Plain JavaScript because the set-up needs it too.
 * Types: exclusive.d.mts.
 */
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'

export async function exclusively(directory, work, onWait = () => undefined) {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  let lock = await take(directory, ['--nonblock'])
  if (lock === undefined) {
    onWait()
    lock = await take(directory, [])
  }
  if (lock === undefined) throw new Error(`${directory} can't be locked: flock ended without a word.`)
  try {
    return await work()
  } finally {
    await lock.release()
  }
}

// The lock is flock(2) on the directory itself, held by a flock(1) that ends with our end of its
// standard input: so it is free again however we end, and no lock file can go stale. Node has no
// flock of its own. A session of its own keeps it out of the reach of Ctrl-C.
function take(directory, options) {
  return new Promise((resolve, reject) => {
    const holder = spawn('flock', [...options, directory, 'sh', '-c', 'echo held; exec cat'], {
      stdio: ['pipe', 'pipe', 'ignore'],
      detached: true,
    })
    const ended = new Promise((done) => {
      holder.once('close', done)
    })
    const release = () => {
      holder.stdin.end()
      return ended
    }
    holder.once('error', (error) => {
      reject(new Error(`flock(1) does not run (${error.message}). Install Debian's util-linux.`))
    })
    holder.once('close', () => resolve(undefined))
    holder.stdout.once('data', () => resolve({ release }))
  })
}
