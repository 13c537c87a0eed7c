import fs from 'node:fs'
import { dirname } from 'node:path'
import { SetupFailure } from './failure.mjs'
import { megabytes } from './progress.mjs'

/** What the set-up itself needs; the program then runs with the Node that npm brings in. */
const OLDEST_NODE = 18

/** Refuses, with one clear error, a machine on which the lab can't work. Changes nothing. */
export function checkMachine() {
  const major = Number(process.versions.node.split('.')[0])
  if (major < OLDEST_NODE) {
    throw new SetupFailure({
      what: `This is Node ${process.versions.node}.`,
      why: `The set-up needs Node ${OLDEST_NODE} or newer to start; it then brings in its own newer one.`,
      todo: `Install a newer Node (node --version has to say v${OLDEST_NODE} or more) and try again.`,
    })
  }
  if (process.platform !== 'linux') {
    throw new SetupFailure({
      what: `This machine runs ${process.platform}.`,
      why: 'The lab is three Linux hosts made of namespaces, systemd and overlay filesystems.',
      todo: 'Run it on Debian or Ubuntu, in a virtual machine for example.',
    })
  }
  if (process.arch !== 'x64' && process.arch !== 'arm64') {
    throw new SetupFailure({
      what: `This machine's architecture is ${process.arch}.`,
      why: "The lab's programs are pinned for x86_64 (x64) and aarch64 (arm64) only.",
      todo: 'Run it on one of these two.',
    })
  }
  checkDistribution()
  if (process.getuid?.() !== 0) {
    throw new SetupFailure({
      what: 'This is not the root user.',
      why: 'The lab makes network namespaces, mounts and hosts with an init of their own.',
      todo: 'Run the same command as root, for example with: sudo -E env "PATH=$PATH" npm run drill',
    })
  }
}

/**
 * Refuses when the disk would get full.
 * @param {string} path a directory, or one that is yet to be made
 * @param {number} bytes what will be written there
 * @param {string} purpose
 */
export function checkRoom(path, bytes, purpose) {
  // statfs came with Node 18.15; before that the disk has to speak for itself.
  if (typeof fs.statfsSync !== 'function') return
  let existing = path
  while (!fs.existsSync(existing)) existing = dirname(existing)
  const { bavail, bsize } = fs.statfsSync(existing)
  const free = bavail * bsize
  if (free >= bytes) return
  throw new SetupFailure({
    what: `Not enough room on the disk that holds ${existing}.`,
    why: `${purpose} takes about ${megabytes(bytes)}; ${megabytes(free)} are free.`,
    todo: 'Free some space there, or set REQUORUM_CACHE to a directory on a larger disk.',
  })
}

function checkDistribution() {
  const release = readRelease()
  const names = [release.ID, ...(release.ID_LIKE ?? '').split(' ')]
  if (names.includes('debian') || names.includes('ubuntu')) return
  throw new SetupFailure({
    what: `This machine runs ${release.PRETTY_NAME ?? 'a distribution that /etc/os-release does not name'}.`,
    why: "The lab's hosts and etcd are made of Debian packages, with apt and mmdebstrap.",
    todo: 'Run it on Debian or Ubuntu, in a virtual machine or a privileged container for example.',
  })
}

function readRelease() {
  let text = ''
  try {
    text = fs.readFileSync('/etc/os-release', 'utf8')
  } catch {
    // No such file: not Debian, and the caller says so.
  }
  return Object.fromEntries(
    text
      .split('\n')
      .map((line) => /^([A-Z_]+)="?(.*?)"?$/.exec(line))
      .filter(Boolean)
      .map((match) => [match[1], match[2]]),
  )
}
