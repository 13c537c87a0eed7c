import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { randomInt } from 'node:crypto'

/** One listening TCP socket of a process. */
export interface Listener {
  readonly address: string
  readonly port: number
}

/**
 * Ports are taken from below the range the kernel gives to outgoing connections (32768 and up by
 * default), so that none of those can slip in between the choice and the service's own bind.
 */
const LOWEST_PORT = 20_000
const HIGHEST_PORT = 32_000

/**
 * Chooses `count` TCP ports that are free on all of `addresses`. Those of `preferred` come first, in their order,
 * as far as they are free: a restarted service keeps its address. The choice is a guess that the
 * caller has to confirm with `ownsPorts`, since anybody may bind in between.
 */
export async function choosePorts(
  count: number,
  preferred: readonly number[] = [],
  addresses: readonly string[] = ['127.0.0.1'],
): Promise<number[]> {
  if (preferred.length === count && (await allFree(preferred, addresses))) return [...preferred]
  const chosen = new Set<number>()
  for (let tries = 0; chosen.size < count; tries++) {
    if (tries > 500) {
      throw new Error(
        `No ${count} free TCP ports on ${addresses.join(' and ')} between ${LOWEST_PORT} and ${HIGHEST_PORT}. ` +
          `See who holds them with: ss -lntp`,
      )
    }
    const port = randomInt(LOWEST_PORT, HIGHEST_PORT)
    if (!chosen.has(port) && (await allFree([port], addresses))) chosen.add(port)
  }
  return [...chosen]
}

/** Whether this very process listens on all of the ports. An open port alone proves nothing. */
export function ownsPorts(pid: number, ports: readonly number[]): boolean {
  const listening = new Set(listenersOf(pid).map((listener) => listener.port))
  return ports.every((port) => listening.has(port))
}

/**
 * All TCP sockets on which a process listens: its socket inodes from /proc/PID/fd, looked up in
 * the tables of the process's own network namespace, /proc/PID/net/tcp and tcp6 (proc(5)).
 */
export function listenersOf(pid: number): Listener[] {
  const inodes = socketInodes(pid)
  const found: Listener[] = []
  for (const table of ['tcp', 'tcp6']) {
    for (const line of readTable(`/proc/${pid}/net/${table}`)) {
      const fields = line.trim().split(/\s+/)
      const [local, state, inode] = [fields[1], fields[3], fields[9]]
      if (state !== '0A' || local === undefined || inode === undefined || !inodes.has(inode)) continue
      const [hexAddress = '', hexPort = ''] = local.split(':')
      found.push({ address: readableAddress(hexAddress), port: Number.parseInt(hexPort, 16) })
    }
  }
  return found
}

/** The listeners that something outside this machine could reach. */
export function exposedListeners(pid: number, allowed: readonly string[] = []): Listener[] {
  return listenersOf(pid).filter(
    ({ address }) => !address.startsWith('127.') && address !== '::1' && !allowed.includes(address),
  )
}

async function allFree(ports: readonly number[], addresses: readonly string[]): Promise<boolean> {
  for (const port of ports) {
    for (const address of addresses) if (!(await isFree(port, address))) return false
  }
  return true
}

function isFree(port: number, address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ port, host: address, exclusive: true }, () => probe.close(() => resolve(true)))
  })
}

function socketInodes(pid: number): Set<string> {
  const inodes = new Set<string>()
  let names: string[] = []
  try {
    names = readdirSync(`/proc/${pid}/fd`)
  } catch {
    return inodes
  }
  for (const name of names) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${name}`))?.[1]
      if (inode !== undefined) inodes.add(inode)
    } catch {
      // Closed since the directory was read.
    }
  }
  return inodes
}

function readTable(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(1)
  } catch {
    return []
  }
}

/** The kernel prints addresses as 32-bit words in the machine's byte order (little endian here). */
function readableAddress(hex: string): string {
  const words = hex.match(/.{8}/g) ?? []
  const bytes = words.flatMap((word) =>
    (word.match(/../g) ?? []).reverse().map((byte) => Number.parseInt(byte, 16)),
  )
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.slice(0, 15).every((byte) => byte === 0)) return bytes[15] === 1 ? '::1' : '::'
  if (bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255) {
    return bytes.slice(12).join('.')
  }
  return bytes
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join('')
    .replace(/(.{4})(?=.)/g, '$1:')
}
