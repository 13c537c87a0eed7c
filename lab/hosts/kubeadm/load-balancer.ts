import { join } from 'node:path'
import { writeFile } from 'node:fs/promises'
import { findService, startService, stopService, type Say, type ServiceSpec } from '../../services/service.ts'
import type { LabHosts } from '../lab-hosts.ts'
import { answers } from '../power.ts'

type Balanced = Pick<LabHosts, 'dir' | 'baseRoot' | 'machineAddress' | 'hosts'>

/**
 * The one address of the API servers: a real haproxy outside of the hosts, as a site's load balancer is, which
 * asks each API server's /readyz every second and survives the loss of any of them.
 *
 * @returns `host:port` on the lab's bridge
 */
export async function startLoadBalancer(lab: Balanced, say: Say): Promise<string> {
  const { ports } = await startService(specOf(lab), say)
  return endpointOf(lab, ports)
}

/** Its address when it runs. */
export async function findLoadBalancer(lab: Balanced): Promise<string | undefined> {
  const service = await findService(specOf(lab))
  return service === undefined ? undefined : endpointOf(lab, service.ports)
}

export async function stopLoadBalancer(lab: Balanced): Promise<void> {
  await stopService(specOf(lab))
}

function endpointOf(lab: Balanced, ports: readonly number[]): string {
  return `${lab.machineAddress}:${String(ports[0])}`
}

function specOf(lab: Balanced): ServiceSpec {
  const dir = join(lab.dir, 'load-balancer')
  return {
    name: 'haproxy',
    dir,
    portCount: 1,
    listenOn: lab.machineAddress,
    readyWithinMs: 10_000,
    prepare: async ([port]) => {
      await writeFile(join(dir, 'haproxy.cfg'), configuration(lab, port ?? 0), { mode: 0o644 })
    },
    // The program is the base root's, whose directories nobody may write to: the configuration is mounted there
    // for this process alone. Each step replaces the one before, so that the process stays the same.
    command: () => ({
      command: 'unshare',
      args: [
        ...[
          '--mount',
          'sh',
          '-euc',
          'mount --bind "$2" "$1/mnt"; exec chroot "$1" haproxy -db -f /mnt/haproxy.cfg',
        ],
        ...['sh', lab.baseRoot, dir],
      ],
    }),
    ready: ([port]) => answers(lab.machineAddress, port ?? 0),
  }
}

function configuration(lab: Balanced, port: number): string {
  return `global
  maxconn 2000
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  option redispatch
frontend api
  bind ${lab.machineAddress}:${port}
  default_backend api-servers
backend api-servers
  balance roundrobin
  option httpchk GET /readyz
  default-server check check-ssl verify none inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
${lab.hosts.map((host) => `  server ${host.name} ${host.address}:6443`).join('\n')}
`
}
