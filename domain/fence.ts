import { z } from 'zod'
import { nodeNames, nodeOf, type ClusterConfig, type NodeConfig } from './cluster-config.ts'
import { RequorumError } from './failures.ts'
import { reachedNodes, unreachedNodes, type NodeSurvey, type ReachedNode } from './survey.ts'

/** A node that a restore goes on without: nobody reaches it, and somebody states that it is off. */
export interface FencedNode {
  readonly node: string
  readonly address: string
  readonly peerUrl: string
}

/** Where a node that is off must not answer. */
export interface Knock {
  readonly node: string
  /** What listens there, as people call it. */
  readonly what: string
  readonly host: string
  readonly port: number
}

/** A knock that was answered, and the node from which it was made. */
export interface Answered extends Knock {
  readonly from: string
}

/** What a restore is told of nodes that are off, beside the cluster. */
export const restoreWishes = z.object({
  off: z
    .array(z.string().min(1))
    .default([])
    .transform((names) => [...new Set(names)].sort()),
})

/** The nodes that were stated to be off, in the cluster file's order. */
export function fencedNodes(config: ClusterConfig, off: readonly string[]): FencedNode[] {
  return config.nodes
    .filter(({ name }) => off.includes(name))
    .map(({ name, address, peerUrl }) => ({ node: name, address, peerUrl }))
}

/** The cluster file with the nodes that a restore is done on, and no others. */
export function withoutNodes(config: ClusterConfig, off: readonly string[]): ClusterConfig {
  return { ...config, nodes: config.nodes.filter(({ name }) => !off.includes(name)) }
}

/** Its old member was kept from starting after an earlier restore, and does not run: it can form nothing. */
export function isFenced({ etcdManifest, etcdPids, fenced }: ReachedNode): boolean {
  return etcdManifest === null && etcdPids.length === 0 && fenced?.pods.includes('etcd') === true
}

/**
 * Every node is either reached or stated to be off, and nothing that was seen contradicts the statement.
 *
 * @throws RequorumError `input-invalid`, `nodes-missing`, `not-fenced`; nothing was touched
 */
export function refuseUnfenced(
  config: ClusterConfig,
  survey: readonly NodeSurvey[],
  off: readonly string[],
): void {
  const { cluster } = config
  refuseUnknownOff(config, off)
  const standing = reachedNodes(survey).filter((found) => off.includes(found.node) && !isFenced(found))
  if (standing.length > 0) {
    const names = listed(standing)
    throw new RequorumError('not-fenced', {
      what: `${names} of ${cluster} was stated to be off, and SSH reaches it. Nothing was touched.`,
      why: 'a statement that reality contradicts is not believed',
      todo: `Start again without --off ${names}, and it is restored like the others; or switch it off or cut it off first.`,
    })
  }
  const missing = unreachedNodes(survey).filter(({ node }) => !off.includes(node))
  if (missing.length > 0) {
    const names = listed(missing)
    throw new RequorumError('nodes-missing', {
      what: `${names} of ${cluster} can't be reached. Nothing was touched.`,
      why: `${missing.map(({ node, reason }) => `${node}: ${reason.split('\n').join(' ').replace(/\.$/, '')}`).join('; ')}. What nobody reaches may run: with others like it, it could form the old quorum beside the restored cluster, and clients would write to both`,
      todo: `Bring it back to where SSH answers, then start the restore again. Or switch it off or cut it off, be sure of that, and state it: ${offCommand(cluster, [...off, ...missing.map(({ node }) => node)])}`,
    })
  }
  const aside = reachedNodes(survey).filter((found) => isFenced(found) && !off.includes(found.node))
  if (aside.length > 0) {
    throw new RequorumError('nodes-missing', {
      what: `An earlier restore of ${cluster} went on without ${listed(aside)}, whose old member is kept from starting. Nothing was touched.`,
      why: 'it is no part of the cluster that was lost, and its data is older',
      todo: `Restore without it, too: ${offCommand(cluster, [...off, ...aside.map(({ node }) => node)])}`,
    })
  }
  if (off.length >= config.nodes.length) {
    throw new RequorumError('nodes-missing', {
      what: `All nodes of ${cluster} are stated to be off, so there is none to restore onto. Nothing was touched.`,
      todo: 'Bring at least one of them to where SSH answers.',
    })
  }
}

/** @throws RequorumError `input-invalid` when a node is stated to be off that the cluster file does not have */
export function refuseUnknownOff(config: ClusterConfig, off: readonly string[]): void {
  const strange = off.filter((name) => nodeOf(config, name) === undefined)
  if (strange.length === 0) return
  throw new RequorumError('input-invalid', {
    what: `${config.cluster} has no node ${strange.join(', ')}, so it can't be stated to be off. Nothing was touched.`,
    todo: `Its nodes are ${nodeNames(config).join(', ')}.`,
  })
}

/** Where nodes that are off must not answer. */
export function knocks(config: ClusterConfig, nodes: readonly string[]): Knock[] {
  return config.nodes.filter(({ name }) => nodes.includes(name)).flatMap((node) => knocksAt(config, node))
}

function knocksAt(config: ClusterConfig, { name, address, port, peerUrl }: NodeConfig): Knock[] {
  const peers = new URL(peerUrl)
  return [
    { node: name, what: 'SSH', host: address, port },
    { node: name, what: 'etcd for its peers', host: plain(peers.hostname), port: portOf(peers) },
    // The client URL of the cluster file is the node's own loopback; others reach the same port at its address.
    {
      node: name,
      what: 'etcd for its clients',
      host: address,
      port: portOf(new URL(config.etcd.clientUrl)),
    },
  ]
}

/** @throws RequorumError `not-fenced` when a node that was stated to be off answers; nothing was touched */
export function refuseAnswering(cluster: string, answered: readonly Answered[]): void {
  if (answered.length === 0) return
  const names = [...new Set(answered.map(({ node }) => node))].join(', ')
  throw new RequorumError('not-fenced', {
    what: `${names} of ${cluster} was stated to be off, and it answers. Nothing was touched.`,
    why: answered
      .map(({ node, what, host, port, from }) => `${from} reaches ${what} of ${node} at ${host}:${port}`)
      .join('; '),
    todo: `Switch ${names} off, or cut it off from the other nodes too, then start the restore again.`,
  })
}

export function offCommand(cluster: string, off: readonly string[]): string {
  return `requorum restore ${cluster}${off.map((name) => ` --off ${name}`).join('')}`
}

function listed(nodes: readonly { readonly node: string }[]): string {
  return nodes.map(({ node }) => node).join(', ')
}

/** An IPv6 address stands in brackets in a URL, and nowhere else. */
function plain(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1')
}

function portOf({ port, protocol }: URL): number {
  return port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port)
}
