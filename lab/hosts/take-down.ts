import { rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { discardDisks, mountPoints, unmountDisks } from './disks.ts'
import { restoreInotifyLimit } from './kubeadm/inotify.ts'
import { stopLoadBalancer } from './kubeadm/load-balancer.ts'
import { forgetLab, hostPaths, labPaths, type LabHosts } from './lab-hosts.ts'
import { removeBridge } from './network.ts'
import { answers, hostInit, killHost } from './power.ts'

export interface TakeDownOptions {
  /** Keeps disks and keys, so that bringUpHosts goes on where the hosts stopped; false by default. */
  readonly keepDisks?: boolean
  readonly say: (line: string) => void
}

/**
 * Takes a lab's hosts down and leaves nothing behind: no process, namespace, link, route, mount or
 * cgroup, and no file unless the disks are kept. Whatever is gone already is fine.
 */
export async function takeDownHosts(lab: LabHosts, options: TakeDownOptions): Promise<void> {
  await Promise.all(
    lab.hosts.map(async (host) => {
      await killHost(lab, host.name)
      await unmountDisks(lab, host.name)
      if (options.keepDisks !== true) await discardDisks(lab, host.name)
    }),
  )
  if (lab.profile === 'kubeadm') {
    await stopLoadBalancer(lab)
    await restoreInotifyLimit(lab)
  }
  await removeBridge(lab)
  if (options.keepDisks !== true) {
    const { pki, sshDir, knownHosts } = labPaths(lab)
    const others = [join(lab.dir, 'load-balancer'), join(lab.dir, 'kubeconfig')]
    for (const path of [pki, sshDir, knownHosts, ...others]) await rm(path, { recursive: true, force: true })
    await forgetLab(lab)
    // Others keep things of the same lab here; the last one out removes it.
    await rmdir(lab.dir).catch(() => undefined)
  }
  options.say(`Hosts of lab "${lab.name}" are down`)
}

/** What can be said about a host without logging in. */
export interface HostStatus {
  readonly name: string
  readonly address: string
  readonly power: 'on' | 'off'
  readonly ssh: 'answers' | 'silent'
  /** etcd's client port; whether it is healthy is for others to say. */
  readonly etcd: 'answers' | 'silent'
  readonly disk: 'mounted' | 'not mounted'
}

/** Looks at every host of a lab. */
export async function hostStatus(lab: LabHosts): Promise<readonly HostStatus[]> {
  const mounted = await mountPoints()
  return Promise.all(
    lab.hosts.map(async (host) => {
      const [init, ssh, etcd] = await Promise.all([
        hostInit(lab, host),
        answers(host.address, host.sshPort),
        answers(host.address, 2379),
      ])
      return {
        name: host.name,
        address: host.address,
        power: init === undefined ? 'off' : 'on',
        ssh: ssh ? 'answers' : 'silent',
        etcd: etcd ? 'answers' : 'silent',
        disk: mounted.has(hostPaths(lab, host.name).varLib) ? 'mounted' : 'not mounted',
      }
    }),
  )
}
