import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'

/**
 * A process that can't be mistaken for another one. The kernel uses a pid again after its process
 * ended; together with the start time (proc(5), field 22 of /proc/PID/stat, in clock ticks since
 * boot) and the boot it is unique.
 */
export interface ProcessIdentity {
  readonly pid: number
  readonly startTicks: number
  readonly bootId: string
}

/** The same as it is read back from a file. */
export const processIdentity = z.object({ pid: z.number(), startTicks: z.number(), bootId: z.string() })

export interface LaunchRequest {
  readonly command: string
  readonly args: readonly string[]
  /** Appended to, mode 0600; both output streams go there. */
  readonly logFile: string
  readonly cwd: string
  /** Added to a minimal environment. Never a secret: /proc/PID/environ shows it. */
  readonly env?: Readonly<Record<string, string>>
}

/** How long a service may take to end after SIGTERM before it gets SIGKILL, in milliseconds. */
const END_GRACE_MS = 5_000

/**
 * Starts a service in a session of its own, so that it outlives the command that started it and
 * no Ctrl-C of that command reaches it. Of the environment it inherits nothing but PATH: a
 * person's AWS_* or VAULT_* variables must not change how a lab service behaves.
 */
export async function launch(request: LaunchRequest): Promise<ProcessIdentity> {
  mkdirSync(dirname(request.logFile), { recursive: true, mode: 0o700 })
  const logStart = sizeOfLog(request.logFile)
  const log = openSync(request.logFile, 'a', 0o600)
  try {
    const child = spawn(request.command, request.args, {
      cwd: request.cwd,
      detached: true,
      stdio: ['ignore', log, log],
      env: {
        PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
        HOME: request.cwd,
        LANG: 'C.UTF-8',
        ...request.env,
      },
    })
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    // A later error (a failed kill, say) has no listener of its own and would end this process.
    child.on('error', () => undefined)
    child.unref()
    const identity = child.pid === undefined ? undefined : identify(child.pid)
    if (identity === undefined) {
      throw new Error(`${request.command} ended at once.${lastLines(request.logFile, logStart)}`)
    }
    return identity
  } finally {
    closeSync(log)
  }
}

/** Who has this pid now; undefined when nobody has, or only a zombie that waits to be reaped. */
export function identify(pid: number): ProcessIdentity | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // The command name stands in parentheses and may hold spaces and parentheses itself.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const startTicks = Number(fields[19])
  if (fields[0] === 'Z' || !Number.isSafeInteger(startTicks)) return undefined
  return { pid, startTicks, bootId: bootId() }
}

/** Whether exactly this process still runs: same pid, same start time, same boot. */
export function isRunning(process: ProcessIdentity): boolean {
  const now = identify(process.pid)
  return now?.startTicks === process.startTicks && now.bootId === process.bootId
}

/**
 * Ends this process and no other, and returns when it is gone: SIGTERM, then SIGKILL after
 * `graceMs`. A process that is gone already is fine.
 */
export async function endProcess(
  target: ProcessIdentity,
  graceMs: number = END_GRACE_MS,
): Promise<'was gone' | 'ended' | 'killed'> {
  if (!signal(target, 'SIGTERM')) return 'was gone'
  if (await gone(target, graceMs)) return 'ended'
  signal(target, 'SIGKILL')
  if (await gone(target, 5_000)) return 'killed'
  throw new Error(
    `Process ${target.pid} is still there 5 s after SIGKILL, so it hangs in the kernel. ` +
      `Look at /proc/${target.pid}/stack and the disk below it.`,
  )
}

/**
 * Ends at once whatever `launch` started below a directory, and what that started: for a lab that is thrown away, and
 * when nobody can be asked who it was, since the directory may be gone and its records with it. A launched process
 * has its own directory as HOME; no person has.
 */
export async function endAllBelow(directory: string): Promise<void> {
  for (;;) {
    const found = readdirSync('/proc').flatMap((entry) => {
      const home = /^\d+$/.test(entry)
        ? /\0HOME=([^\0]*)/.exec(`\0${readEnvironment(entry)}`)?.[1]
        : undefined
      const below = home === directory || home?.startsWith(`${directory}/`) === true
      return (below ? identify(Number(entry)) : undefined) ?? []
    })
    // Once more after the last one: a process may have been born while others were listed.
    if (found.length === 0) return
    await Promise.all(found.map((each) => endProcess(each, 0)))
  }
}

function readEnvironment(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8')
  } catch {
    return ''
  }
}

/**
 * The end of a service's log as text to put behind an error message; empty when there is none.
 * @param since - bytes at the log's start that belong to earlier runs
 */
export function lastLines(logFile: string, since = 0, count = 15): string {
  let text: string
  try {
    text = readFileSync(logFile).subarray(since).toString('utf8')
  } catch {
    return ''
  }
  if (text.trim() === '') return `\nIts log (${logFile}) says nothing.`
  const lines = text.trimEnd().split('\n').slice(-count)
  return `\nThe end of its log (${logFile}):\n${lines.map((line) => `  ${line}`).join('\n')}`
}

/** Bytes in a log; 0 when there is none yet. */
export function sizeOfLog(logFile: string): number {
  return statSync(logFile, { throwIfNoEntry: false })?.size ?? 0
}

/**
 * Keeps a log from growing over many starts: when it is larger than `limitBytes` it is cut to
 * nothing before the service starts again.
 */
export async function trimLog(logFile: string, limitBytes = 32 * 1024 * 1024): Promise<void> {
  let log
  try {
    log = await open(logFile, 'r+')
  } catch {
    return
  }
  try {
    if ((await log.stat()).size > limitBytes) await log.truncate(0)
  } finally {
    await log.close()
  }
}

function signal(target: ProcessIdentity, name: 'SIGTERM' | 'SIGKILL'): boolean {
  if (!isRunning(target)) return false
  try {
    process.kill(target.pid, name)
    return true
  } catch (error) {
    if (isRunning(target)) throw error
    return false
  }
}

async function gone(target: ProcessIdentity, limitMs: number): Promise<boolean> {
  const deadline = Date.now() + limitMs
  while (isRunning(target)) {
    if (Date.now() >= deadline) return false
    await sleep(20)
  }
  return true
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}
