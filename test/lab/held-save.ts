import { setTimeout as sleep } from 'node:timers/promises'
import { atConsole } from '../../lab/hosts/console.ts'
import type { Lab } from '../../lab/lab.ts'
import { editClusterFile, everyHost } from './use-lab.ts'

const WRAPPER = '/usr/local/bin/held-etcdctl'
const SAVES = '/var/lib/lab-saves'
const HOLD = '/var/lib/lab-hold'
const HELD = '/run/lab-held'

/**
 * etcdctl itself, except that `snapshot save` is written down, and stands still in its middle (SIGSTOP, with a
 * part of the file written) for as long as the host is told to hold it.
 */
const SCRIPT = `#!/bin/sh
case " $* " in *" snapshot save "*) ;; *) exec /usr/local/bin/etcdctl "$@" ;; esac
echo save >>${SAVES}
for path; do :; done
/usr/local/bin/etcdctl "$@" &
child=$!
if [ -e ${HOLD} ]; then
  until [ -s "$path.part" ]; do
    kill -0 "$child" 2>/dev/null || break
    sleep 0.01
  done
  kill -STOP "$child"
  touch ${HELD}
  while [ -e ${HOLD} ]; do sleep 0.05; done
  rm -f ${HELD}
  kill -CONT "$child"
fi
wait "$child"
`

/** Saves that can be held in their middle, on every host of a lab, from `useHeldSaves` on. */
export class HeldSaves {
  readonly #lab: Lab
  readonly #putBack: () => Promise<void>

  private constructor(lab: Lab, putBack: () => Promise<void>) {
    this.#lab = lab
    this.#putBack = putBack
  }

  /** Gives the hosts the etcdctl that can be held, and the cluster file its path. */
  static async prepare(lab: Lab): Promise<HeldSaves> {
    await everyHost(lab, (host) =>
      atConsole(
        lab.hosts,
        host,
        `cat >${WRAPPER}; chmod 755 ${WRAPPER}; rm -f ${SAVES} ${HOLD} ${HELD}`,
        [],
        {
          input: SCRIPT,
        },
      ),
    )
    const putBack = await editClusterFile(lab, (file) => {
      file['etcd'] = { etcdctl: WRAPPER, etcdutl: '/usr/local/bin/etcdutl' }
    })
    return new HeldSaves(lab, putBack)
  }

  async hold(): Promise<void> {
    await everyHost(this.#lab, (host) => atConsole(this.#lab.hosts, host, `touch ${HOLD}`))
  }

  async release(): Promise<void> {
    await everyHost(this.#lab, (host) => atConsole(this.#lab.hosts, host, `rm -f ${HOLD}`))
  }

  /** Elsewhere nothing is held any more; on this host the save goes on, if there still is one. */
  async releaseWhere(source: string): Promise<void> {
    await everyHost(this.#lab, (host) =>
      atConsole(this.#lab.hosts, host, `rm -f ${HOLD}`).catch((error: unknown) => {
        if (host !== source) throw error
      }),
    )
  }

  /** The host on which a save stands still. */
  async untilHeld(limitMs = 180_000): Promise<string> {
    const deadline = Date.now() + limitMs
    for (;;) {
      const held = await everyHost(this.#lab, async (host) => {
        const { stdout } = await atConsole(this.#lab.hosts, host, `[ ! -e ${HELD} ] || echo held`)
        return stdout.trim() === 'held' ? host : undefined
      })
      const found = held.find((host) => host !== undefined)
      if (found !== undefined) return found
      if (Date.now() > deadline) throw new Error(`No save was under way within ${limitMs / 1_000} s.`)
      await sleep(100)
    }
  }

  /** How often `etcdctl snapshot save` was called on a host. */
  async count(host: string): Promise<number> {
    const { stdout } = await atConsole(this.#lab.hosts, host, `cat ${SAVES} 2>/dev/null | wc -l`)
    return Number(stdout)
  }

  async end(): Promise<void> {
    await this.release()
    await this.#putBack()
  }
}
