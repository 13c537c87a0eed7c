import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { atConsole } from '../../lab/hosts/console.ts'
import { readAll, seedKeyspace } from '../../lab/hosts/keyspace.ts'
import { labDown, labUp, type Lab } from '../../lab/lab.ts'
import { Operator } from '../../lab/operator.ts'
import { searchLab } from '../secrets/search.ts'
import { everyHost, type OwnLab } from './own-lab.ts'

export { editClusterFile, everyHost, type OwnLab } from './own-lab.ts'

/**
 * Brings a lab up before the tests of a file and down after them. With `keys`, a Kubernetes-shaped keyspace is
 * in it. A lab that does not come up fails the file: a test of the lab that did not run proves nothing. So does a secret
 * that is found at its end where it does not belong.
 */
export function useLab(
  options: {
    keys?: number
    cluster?: Record<string, unknown>
    diskBytes?: number
    joinOneByOne?: boolean
    workerEnv?: Record<string, string>
  } = {},
): () => OwnLab {
  let own: OwnLab | undefined
  let dir: string | undefined
  const said: string[] = []
  const name = `t${process.pid.toString(36)}`

  const down = async (): Promise<void> => {
    if (dir === undefined) return
    await labDown({ name, dir, say: () => undefined })
    await rm(dir, { recursive: true, force: true })
  }
  // A file that takes too long, or that somebody interrupts, is ended before its hooks could run.
  process.once('SIGTERM', () => void down().finally(() => process.exit(143)))

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'requorum-lab-'))
    const lab = await labUp({
      name,
      dir,
      say: (line) => said.push(line),
      joinOneByOne: options.joinOneByOne ?? false,
      ...(options.workerEnv === undefined ? {} : { workerEnv: options.workerEnv }),
      ...(options.cluster === undefined ? {} : { cluster: options.cluster }),
      ...(options.diskBytes === undefined ? {} : { diskBytes: options.diskBytes }),
    }).catch((error: unknown) => {
      throw new Error(`The lab did not come up. It said:\n${said.join('\n')}`, { cause: error })
    })
    own = { lab, operator: await Operator.of(lab) }
    if (options.keys !== undefined) await seedKeyspace(lab.hosts, { keys: options.keys, seed: 1 })
  })

  after(async () => {
    try {
      if (own !== undefined) assert.deepEqual((await searchLab(own)).found, [], 'no secret left its place')
    } finally {
      await own?.operator.close()
      await down()
    }
  })

  return () => {
    if (own === undefined) throw new Error('The lab is not up.')
    return own
  }
}

/**
 * Every file of the control plane on a host, with owner, mode, time and SHA-256, and every directory with owner
 * and mode: what has to be the same after a refusal or an undo. Requorum's own journal and the snapshots are not in it.
 */
export async function controlPlaneFiles(lab: Lab, host: string): Promise<string> {
  const { stdout } = await atConsole(
    lab.hosts,
    host,
    `cd / && find etc/kubernetes var/lib/etcd -type d -printf '%p %y %u:%g %m\\n' | sort
     find etc/kubernetes var/lib/etcd ! -type d -printf '%p %y %u:%g %m %T@ %s\\n' | sort
     find etc/kubernetes var/lib/etcd -type f -exec sha256sum {} + | sort -k 2`,
  )
  return stdout
}

/** Stops etcd and the kubelet on every host: quorum is lost, and every byte stands still. */
export function standStill(lab: Lab): Promise<unknown> {
  return everyHost(lab, (host) =>
    atConsole(lab.hosts, host, "systemctl stop kubelet; systemctl stop 'static-pod-etcd-*'"),
  )
}

/** The kubelet starts what its directory holds. Returns when etcd takes a linearizable read again. */
export async function wakeUp(lab: Lab, limitMs = 120_000): Promise<void> {
  await everyHost(lab, (host) => atConsole(lab.hosts, host, 'systemctl start kubelet'))
  const deadline = Date.now() + limitMs
  for (;;) {
    try {
      await readAll(lab.hosts)
      return
    } catch (error) {
      if (Date.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
  }
}
