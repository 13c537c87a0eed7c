/**
 * "Only one at a time" for whole programs. Plain JavaScript because the set-up needs it too.
 * Types: exclusive.d.mts.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, statSync } from 'node:fs'

export async function exclusively(directory, work, onWait = () => undefined) {
  const lock = await takeWhatIsThere(directory, onWait)
  try {
    return await work()
  } finally {
    await lock.release()
  }
}

// Who was here before may have deleted the directory with what it was for: a lock on what is gone keeps nobody out.
async function takeWhatIsThere(directory, onWait) {
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const lock = await take(directory, tries === 0 ? ['--nonblock'] : [])
    if (lock !== undefined && lock.inode === inodeOf(directory)) return lock
    await lock?.release()
    if (tries === 0) onWait()
  }
  throw new Error(`${directory} can't be locked: it is gone each time that it was made.`)
}

function inodeOf(directory) {
  const found = statSync(directory, { throwIfNoEntry: false })
  return found === undefined ? undefined : `${found.dev}:${found.ino}`
}

const MOST_TRIES = 1_000
const NO_SUCH_COMMAND = 127
const HOLD = 'exec 9<"$1"; shift; flock "$@" 9 && stat -Lc %d:%i /proc/self/fd/9 && exec cat'

// The lock is flock(2) on the directory itself, held by a shell that ends with our end of its
// standard input: so it is free again however we end, and no lock file can go stale. Node has no
// flock of its own. A session of its own keeps it out of the reach of Ctrl-C.
function take(directory, options) {
  return new Promise((resolve, reject) => {
    const holder = spawn('sh', ['-c', HOLD, 'sh', directory, ...options], {
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
      reject(new Error(`sh does not run (${error.message}).`))
    })
    holder.once('close', (code) => {
      if (code === NO_SUCH_COMMAND) reject(new Error("flock(1) does not run. Install Debian's util-linux."))
      else resolve(undefined)
    })
    holder.stdout.once('data', (said) => resolve({ inode: String(said).trim(), release }))
  })
}
