import { readFile, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/** Resident memory of a process now, in bytes (proc(5), VmRSS). */
export async function residentBytes(pid: number): Promise<number> {
  return field(pid, 'VmRSS')
}

/** Resident memory when nothing is to be done: the smallest of some seconds. */
export async function idleBytes(pid: number, seconds = 5): Promise<number> {
  let least = Infinity
  for (let second = 0; second < seconds; second++) {
    least = Math.min(least, await residentBytes(pid))
    await sleep(1_000)
  }
  return least
}

/** The most that the process has resident at any moment while `work` goes on; the kernel counts it, nothing is missed. */
export async function peakBytesDuring<Result>(
  pid: number,
  work: () => Promise<Result>,
): Promise<{ readonly result: Result; readonly peakBytes: number; readonly seconds: number }> {
  // 5 sets the high-water mark back to what is resident now (proc(5), /proc/PID/clear_refs).
  await writeFile(`/proc/${pid}/clear_refs`, '5')
  const began = performance.now()
  const result = await work()
  const seconds = (performance.now() - began) / 1_000
  return { result, peakBytes: await field(pid, 'VmHWM'), seconds }
}

async function field(pid: number, name: string): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const kilobytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]
  if (kilobytes === undefined)
    throw new Error(`Process ${pid} has no ${name}: it is not there, or a kernel thread.`)
  return Number(kilobytes) * 1_024
}
