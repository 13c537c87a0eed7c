import { readFile, readdir, readlink } from 'node:fs/promises'

/** What some processes used while something went on. */
export interface Usage {
  readonly seconds: number
  /** Of CPUs, by all of them together, those that ended meanwhile included. */
  readonly cpuSeconds: number
  /** The most that was resident in all of them at one time, looked at every tenth of a second. */
  readonly peakBytes: number
}

interface Seen {
  readonly name: string
  readonly residentBytes: number
  /** Its own and that of the children it has waited for. */
  readonly cpuSeconds: number
}

const EVERY_MS = 100
/** The kernel's unit in /proc/PID/stat on every Linux that Node runs on (proc(5), sysconf(_SC_CLK_TCK)). */
const TICKS_A_SECOND = 100
const PAGE_BYTES = 4_096

/**
 * Watches processes while `work` goes on.
 *
 * @param pids - which they are, asked anew at each look
 * @param besides - one that is not among them and ends with the work, as a command that this process started
 */
export async function usageDuring<Result>(
  pids: () => Promise<readonly number[]>,
  work: (besides: (pid: number) => void) => Promise<Result>,
): Promise<{ readonly result: Result; readonly usage: Usage }> {
  let peakBytes = 0
  let guest: { readonly pid: number; cpuSeconds: number } | undefined
  const look = async (): Promise<number> => {
    const seen = await Promise.all((await pids()).map(lookAt))
    let bytes = 0
    let cpu = 0
    for (const one of seen) {
      if (one === undefined) continue
      bytes += one.residentBytes
      cpu += one.cpuSeconds
    }
    if (guest !== undefined) {
      const one = await lookAt(guest.pid)
      bytes += one?.residentBytes ?? 0
      guest.cpuSeconds = one?.cpuSeconds ?? guest.cpuSeconds
    }
    peakBytes = Math.max(peakBytes, bytes)
    return cpu
  }
  const before = await look()
  const began = performance.now()
  let pending = Promise.resolve<unknown>(undefined)
  const timer = setInterval(() => {
    pending = pending.then(look)
  }, EVERY_MS)
  try {
    const result = await work((pid) => {
      guest = { pid, cpuSeconds: 0 }
    })
    const seconds = (performance.now() - began) / 1_000
    clearInterval(timer)
    await pending
    const cpuSeconds = (await look()) - before + (guest?.cpuSeconds ?? 0)
    return { result, usage: { seconds, cpuSeconds, peakBytes } }
  } finally {
    clearInterval(timer)
  }
}

/** The processes of a lab host, told by its init, without those of that name. */
export async function processesOf(init: number, without: string): Promise<number[]> {
  const namespace = await readlink(`/proc/${init}/ns/pid`)
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const inside = await Promise.all(
    pids.map(async (pid) => {
      const its = await readlink(`/proc/${pid}/ns/pid`).catch(() => '')
      return its === namespace && (await lookAt(pid))?.name !== without
    }),
  )
  return pids.filter((_, index) => inside[index])
}

/** @returns undefined when it has ended */
async function lookAt(pid: number): Promise<Seen | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  const [, name = '', rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(stat) ?? []
  if (rest === '') return undefined
  // proc(5) counts fields from 1, the first of the rest is the third: utime 14, stime 15, cutime 16, cstime 17, rss 24.
  const fields = rest.split(' ').map(Number)
  const field = (number: number): number => fields[number - 3] ?? 0
  const ticks = field(14) + field(15) + field(16) + field(17)
  return { name, residentBytes: field(24) * PAGE_BYTES, cpuSeconds: ticks / TICKS_A_SECOND }
}
