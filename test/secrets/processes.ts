import { readdir, readFile } from 'node:fs/promises'
import { hostInit } from '../../lab/hosts/power.ts'
import type { Lab } from '../../lab/lab.ts'
import { findWorker } from '../../lab/services/worker.ts'
import { findIn, type Needle } from './search.ts'

export interface Watch {
  stop(): Promise<{ found: string[]; looks: number; processes: number; sawEtcdctl: boolean }>
}

/** Looks at arguments and environment of every process of the lab again and again, on the machine and in its hosts. */
export function watchProcesses(lab: Lab, needles: readonly Needle[]): Watch {
  const found = new Set<string>()
  const processes = new Set<string>()
  let looks = 0
  let sawEtcdctl = false
  let running = true
  const look = async (): Promise<void> => {
    const mine = await processesOf(lab)
    for (const pid of mine) {
      const [argumentsText, environment] = await Promise.all(
        ['cmdline', 'environ'].map((name) => readFile(`/proc/${pid}/${name}`, 'latin1').catch(() => '')),
      )
      if (argumentsText === undefined || environment === undefined) continue
      processes.add(`${pid} ${argumentsText}`)
      if (/^\S*etcdctl\0/.test(argumentsText)) sawEtcdctl = true
      const name = argumentsText.split('\0', 1)[0] ?? ''
      for (const hit of findIn(needles, `arguments of ${name}`, argumentsText)) found.add(hit)
      for (const hit of findIn(needles, `environment of ${name}`, environment)) found.add(hit)
    }
    looks += 1
  }
  const loop = (async () => {
    while (running) {
      await look()
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  })()
  return {
    async stop() {
      running = false
      await loop
      return { found: [...found], looks, processes: processes.size, sawEtcdctl }
    },
  }
}

/** Everything below the worker, the services and the hosts' own inits. */
async function processesOf(lab: Lab): Promise<number[]> {
  const inits = await Promise.all(lab.hosts.hosts.map((host) => hostInit(lab.hosts, host)))
  const roots = [
    await findWorker(lab.dir),
    lab.engine.pid,
    lab.store.pids.kms,
    lab.store.pids.objects,
    ...inits,
  ]
  const parents = new Map<number, number>()
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) continue
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
    parents.set(pid, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]))
  }
  const belongs = (pid: number | undefined): boolean =>
    pid !== undefined && pid > 1 && (roots.includes(pid) || belongs(parents.get(pid)))
  return [...parents.keys()].filter(belongs)
}
