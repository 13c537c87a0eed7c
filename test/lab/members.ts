import { setTimeout as sleep } from 'node:timers/promises'
import { atConsole } from '../../lab/hosts/console.ts'
import { ETCDCTL } from '../../lab/hosts/etcdctl.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import type { Lab } from '../../lab/lab.ts'

export const ALL_VOTE = ['cp-01 voter', 'cp-02 voter', 'cp-03 voter']

/** `etcdctl WORDS` as it is typed on a host, about the host's own member. */
export async function typedEtcdctl(lab: Lab, host: string, words: string): Promise<string> {
  return (await atConsole(lab.hosts, host, `${ETCDCTL} ${words}`)).stdout
}

/** The member list as the first host of these that answers tells it, a line of words for each member. */
export async function memberList(lab: Lab, hosts?: readonly string[]): Promise<string[][]> {
  for (const name of hosts ?? lab.hosts.hosts.map((host) => host.name)) {
    const list = await typedEtcdctl(lab, name, '--command-timeout=3s member list').catch(() => null)
    if (list === null) continue
    return list
      .trim()
      .split('\n')
      .map((line) => line.split(', '))
  }
  throw new Error('no member tells its list')
}

/** `NAME voter` or `NAME learner`, sorted. */
export async function members(lab: Lab, hosts?: readonly string[]): Promise<string[]> {
  return (await memberList(lab, hosts))
    .map((words) => `${words[2] ?? ''} ${words[5] === 'true' ? 'learner' : 'voter'}`)
    .sort()
}

/** Cluster IDs of all members that answer. */
export async function clusterIds(lab: Lab): Promise<Set<string>> {
  const ids = await Promise.all(
    lab.hosts.hosts.map(async ({ name }) => {
      const status = await typedEtcdctl(
        lab,
        name,
        '--command-timeout=3s endpoint status --write-out=fields',
      ).catch(() => '')
      return /"ClusterID" : (\d+)/.exec(status)?.[1] ?? []
    }),
  )
  return new Set(ids.flat())
}

/** The host whose member leads. */
export async function leaderOf(lab: Lab): Promise<string> {
  for (const { name } of lab.hosts.hosts) {
    const status = await typedEtcdctl(lab, name, 'endpoint status --write-out=fields').catch(() => '')
    const id = (field: string): string | undefined => new RegExp(`"${field}" : (\\d+)`).exec(status)?.[1]
    if (id('Leader') !== undefined && id('Leader') === id('MemberID')) return name
  }
  throw new Error('No member of the lab says that it leads.')
}

/** Hands the lead to the member of a host, as etcd does it when it is asked. */
export async function moveLeader(lab: Lab, host: string): Promise<void> {
  const status = await typedEtcdctl(lab, host, 'endpoint status --write-out=fields')
  const id = /"MemberID" : (\d+)/.exec(status)?.[1] ?? ''
  await typedEtcdctl(lab, await leaderOf(lab), `move-leader ${BigInt(id).toString(16)}`)
}

export async function inject(lab: Lab, fault: string, host: string): Promise<void> {
  await findFault(fault).inject(lab.hosts, host)
}

export async function mend(lab: Lab, fault: string, host: string): Promise<void> {
  await findFault(fault).mend?.(lab.hosts, host)
}

/**
 * Holds every `etcdctl` on these hosts whose words contain these, until it is let go: what a runbook asks of etcd then
 * waits before it is asked.
 */
export async function holdEtcdctl(
  lab: Lab,
  hosts: readonly string[],
  words: string,
): Promise<() => Promise<void>> {
  const real = '/usr/local/bin/etcdctl.real'
  const wrapper = `#!/bin/sh
case " $* " in *' ${words} '*) while [ -e /run/lab-held ]; do sleep 0.2; done ;; esac
exec ${real} "$@"
`
  const script = `[ -e ${real} ] || cp -p /usr/local/bin/etcdctl ${real}
    : >/run/lab-held
    cat >/usr/local/bin/etcdctl.new
    chmod 755 /usr/local/bin/etcdctl.new
    mv -T /usr/local/bin/etcdctl.new /usr/local/bin/etcdctl`
  await Promise.all(hosts.map((host) => atConsole(lab.hosts, host, script, [], { input: wrapper })))
  return async () => {
    await Promise.all(
      hosts.map((host) =>
        atConsole(
          lab.hosts,
          host,
          `rm -f /run/lab-held; [ ! -e ${real} ] || mv -T ${real} /usr/local/bin/etcdctl`,
        ),
      ),
    )
  }
}

/** Asks until it is so; what throws meanwhile is not so yet. */
export async function until(what: string, ask: () => Promise<boolean>, limitMs = 120_000): Promise<void> {
  const deadline = Date.now() + limitMs
  for (;;) {
    if (await ask().catch(() => false)) return
    if (Date.now() > deadline) throw new Error(`${what} did not come about within ${limitMs / 1_000} s.`)
    await sleep(500)
  }
}
