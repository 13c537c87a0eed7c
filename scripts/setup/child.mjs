import { spawn } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'

// Debian keeps ip, mkfs and the like there, and root's PATH over su or sudo may lack it.
const SYSTEM_DIRS = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/bin', '/usr/bin', '/bin']

/** The file that would run for this command; undefined when there is none. */
export function findCommand(name) {
  const dirs = [...(process.env.PATH ?? '').split(delimiter), ...SYSTEM_DIRS]
  return dirs
    .filter(Boolean)
    .map((dir) => join(dir, name))
    .find(isExecutable)
}

/**
 * Runs a command to its end with no standard input.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, onLine?: (line: string) => void }} [options]
 * @returns {Promise<{ code: number, output: string }>} both streams mixed, their last 64 KiB;
 *   code 127 when the command is not there
 */
export function runChild(command, args, { cwd, env = process.env, onLine } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    let rest = ''
    const take = (chunk) => {
      output = (output + chunk).slice(-65_536)
      if (onLine === undefined) return
      const lines = (rest + chunk).split(/[\r\n]+/)
      rest = lines.pop() ?? ''
      for (const line of lines) if (line.trim() !== '') onLine(line)
    }
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', take)
    child.once('error', (error) => resolve({ code: 127, output: error.message }))
    child.once('close', (code) => resolve({ code: code ?? 1, output }))
  })
}

/** The last lines that say something, for an error message. */
export function tail(output, count = 6) {
  return output
    .trimEnd()
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(-count)
    .join('\n')
}

/** Whether a tool failed because it reached nobody, told by the words npm, pip and apt use for it. */
export function looksOffline(output) {
  return /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|Failed to establish a new connection|Name or service not known|Temporary failure (in name resolution|resolving)|Could not resolve|Connection refused|Network is unreachable|[Rr]ead timed out|connection timed out|Unable to connect|Cannot connect to proxy/.test(
    output,
  )
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
