import { readFile } from 'node:fs/promises'
import { hasCommand, run } from './commands.ts'
import { labRefusal } from '../refusal.ts'
import { labTag, type LabHost, type LabHosts } from './lab-hosts.ts'

type LabNetwork = Pick<LabHosts, 'name' | 'dir' | 'subnet' | 'bridge' | 'machineAddress'>

/**
 * The metric of the route that swallows the lab's packets while its bridge is away. It is the
 * worst but one, so any real route wins, and it doubles as the lab's claim on its subnet: adding
 * the same route twice fails, whoever tries.
 */
const CLAIM_METRIC = '4294967294'

/** The bridge that all hosts of a lab are plugged into. */
export function bridgeName(lab: Pick<LabHosts, 'name'>): string {
  return `rq${labTag(lab)}`
}

/** The network namespace of a host, as `ip netns` lists it. */
export function namespaceName(lab: Pick<LabHosts, 'name'>, host: Pick<LabHost, 'name'>): string {
  return `rq${labTag(lab)}-${host.name}`
}

/** The machine's end of the cable to a host. */
export function cableName(lab: Pick<LabHosts, 'name'>, host: Pick<LabHost, 'name'>): string {
  return `rq${labTag(lab)}-${host.name}`.slice(0, 15)
}

/**
 * Claims a /24 that neither this machine nor another lab uses and returns its first three octets,
 * such as `10.71.3`. It comes from 10.64.0.0–10.95.255.255, which keeps clear of the ranges that
 * Kubernetes clusters use by habit (10.96/12 for services, 10.244/16 for pods).
 * @throws Error when no /24 there is free.
 */
export async function claimSubnet(lab: Pick<LabHosts, 'name'>): Promise<string> {
  const taken = await usedNetworks()
  const start = Number.parseInt(labTag(lab), 16)
  for (let attempt = 0; attempt < 200; attempt++) {
    const pick = (start + attempt * 37) % (32 * 256)
    const prefix = `10.${64 + (pick >> 8)}.${pick & 255}`
    if (taken.some((network) => overlaps(network, `${prefix}.0/24`))) continue
    const claim = await run('ip', ['route', 'add', 'unreachable', `${prefix}.0/24`, 'metric', CLAIM_METRIC], {
      accept: [0, 2],
    })
    if (claim.exitCode === 0) return prefix
  }
  throw labRefusal(
    'No free /24 was found in 10.64.0.0–10.95.255.255 for the lab.',
    'Look at `ip route show` for a VPN or other labs that cover it, and take one of them down.',
  )
}

/** Gives a claim back; a claim that is gone already is fine. */
export async function releaseSubnet(subnet: string): Promise<void> {
  await run('ip', ['route', 'del', 'unreachable', subnet, 'metric', CLAIM_METRIC], { accept: [0, 2] })
}

/** Lays the lab's bridge; one that is there already is kept. */
export async function layBridge(lab: LabNetwork): Promise<void> {
  if (!(await linkExists(lab.bridge))) {
    await run('ip', ['link', 'add', lab.bridge, 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0'])
  }
  await run('ip', [
    'link',
    'set',
    lab.bridge,
    'alias',
    `requorum lab ${lab.name} in ${lab.dir}`.slice(0, 250),
  ])
  await run('ip', ['address', 'replace', `${lab.machineAddress}/24`, 'dev', lab.bridge])
  await run('ip', ['link', 'set', lab.bridge, 'up'])
  // The claim again: it may be gone after the machine restarted.
  await run('ip', ['route', 'replace', 'unreachable', lab.subnet, 'metric', CLAIM_METRIC])
  if (await bridgedPacketsAreFiltered()) {
    await run('iptables', ['-w', '-I', 'FORWARD', ...forwardRule(lab.bridge)])
  }
}

/** Takes the bridge away, with the rule and the route that belong to it. */
export async function removeBridge(lab: LabNetwork): Promise<void> {
  await run('ip', ['link', 'del', lab.bridge], { accept: [0, 1] })
  if (await bridgedPacketsAreFiltered()) {
    await run('iptables', ['-w', '-D', 'FORWARD', ...forwardRule(lab.bridge)], { accept: [0, 1] })
  }
  await releaseSubnet(lab.subnet)
}

/**
 * Gives a host a fresh network namespace with one cable to the lab's bridge. The default route
 * leads to an address that nobody has: Kubernetes wants such a route, and no packet gets out of it.
 */
export async function plugIn(lab: LabNetwork, host: LabHost): Promise<void> {
  const namespace = namespaceName(lab, host)
  const cable = cableName(lab, host)
  await unplug(lab, host)
  await run('ip', ['netns', 'add', namespace])
  await run('ip', ['-batch', '-'], {
    input: [
      `link add ${cable} type veth peer name eth0 netns ${namespace}`,
      `link set ${cable} master ${lab.bridge} up`,
      '',
    ].join('\n'),
  })
  const nowhere = lab.machineAddress.replace(/\d+$/, '254')
  await run('ip', ['-netns', namespace, '-batch', '-'], {
    input: [
      'link set lo up',
      `address add ${host.address}/24 dev eth0`,
      'link set eth0 up',
      `route add default via ${nowhere} dev eth0`,
      '',
    ].join('\n'),
  })
}

/** Takes a host's cable and namespace away. */
export async function unplug(lab: Pick<LabHosts, 'name'>, host: LabHost): Promise<void> {
  await run('ip', ['link', 'del', cableName(lab, host)], { accept: [0, 1] })
  await run('ip', ['netns', 'del', namespaceName(lab, host)], { accept: [0, 1] })
}

/** Pulls the cable: packets to and from the host are lost and nobody is told. */
export async function cutCable(lab: Pick<LabHosts, 'name'>, host: LabHost): Promise<void> {
  await run('ip', ['link', 'set', cableName(lab, host), 'down'], { accept: [0, 1] })
}

/** Plugs the cable in again. */
export async function healCable(lab: Pick<LabHosts, 'name'>, host: LabHost): Promise<void> {
  await run('ip', ['link', 'set', cableName(lab, host), 'up'])
}

async function usedNetworks(): Promise<readonly string[]> {
  const routes = await run('ip', ['-4', 'route', 'show', 'table', 'all'])
  const addresses = await run('ip', ['-4', '-oneline', 'address', 'show'])
  return [
    ...`${routes.stdout}\n${addresses.stdout}`.matchAll(/(?<![\d.])(\d+\.\d+\.\d+\.\d+(?:\/\d+)?)/g),
  ].map((match) => match[1] ?? '')
}

function overlaps(one: string, other: string): boolean {
  const [first, second] = [parseNetwork(one), parseNetwork(other)]
  const bits = Math.min(first.bits, second.bits)
  if (bits === 0) return false
  return first.address >>> (32 - bits) === second.address >>> (32 - bits)
}

function parseNetwork(text: string): { readonly address: number; readonly bits: number } {
  const [address = '', bits = '32'] = text.split('/')
  const value = address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0)
  return { address: value >>> 0, bits: Number(bits) }
}

async function linkExists(name: string): Promise<boolean> {
  return (await run('ip', ['link', 'show', name], { accept: [0, 1] })).exitCode === 0
}

/**
 * With br_netfilter, frames between the hosts pass the machine's FORWARD chain, which Docker for
 * one sets to drop: then the lab needs a rule of its own there.
 */
async function bridgedPacketsAreFiltered(): Promise<boolean> {
  const sysctl = await readFile('/proc/sys/net/bridge/bridge-nf-call-iptables', 'utf8').catch(() => '0')
  return sysctl.trim() === '1' && (await hasCommand('iptables'))
}

function forwardRule(bridge: string): readonly string[] {
  return ['-i', bridge, '-o', bridge, '-j', 'ACCEPT']
}
