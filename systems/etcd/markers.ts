import { z } from 'zod'
import type { Marker } from '../../domain/drill-measure.ts'
import { RequorumError } from '../../domain/failures.ts'
import { standsAlone } from '../../domain/survey.ts'
import type { ControlPlaneNode, Watching } from '../node/control-plane-node.ts'
import { mustEtcdctl, runEtcdctl } from './etcdctl.ts'
import { parseEtcdJson, revisionField } from './etcd-json.ts'
import { readMember } from './member.ts'

const PUT_SECONDS = 2
const POLL_MS = 1_000

const putShape = z.looseObject({ header: z.looseObject({ revision: revisionField }) })
const rangeShape = z.looseObject({ kvs: z.array(z.looseObject({ key: z.string() })).default([]) })

/** Outside of `/registry`: no object of the cluster's. */
function prefixOf(drill: string): string {
  return `requorum/drill-${drill}/`
}

/**
 * Writes markers one after the other and returns those that etcd acknowledged, which is all of them.
 *
 * @throws RequorumError `etcd-unavailable`
 */
export async function writeMarkers(
  at: ControlPlaneNode,
  drill: string,
  names: readonly string[],
  everyMs: number,
  now: () => Date,
): Promise<Marker[]> {
  const written: Marker[] = []
  for (const [index, name] of names.entries()) {
    if (index > 0) await pause(everyMs)
    const key = prefixOf(drill) + name
    const text = await mustEtcdctl(at, ['put', key, now().toISOString(), '--write-out=json'])
    const { header } = parseEtcdJson(putShape, text, 'etcdctl put')
    written.push({ key, at: now().toISOString(), revision: header.revision })
  }
  return written
}

/** The keys of a drill's markers that are there, by a linearizable read through the first member that answers one. */
export async function findMarkers(nodes: readonly ControlPlaneNode[], drill: string): Promise<string[]> {
  let failure: unknown
  for (const at of nodes) {
    try {
      const text = await mustEtcdctl(at, ['get', '--prefix', prefixOf(drill), '--keys-only', '-w', 'json'])
      return parseEtcdJson(rangeShape, text, 'etcdctl get').kvs.map(({ key }) =>
        Buffer.from(key, 'base64').toString('utf8'),
      )
    } catch (error) {
      failure = error
    }
  }
  throw failure
}

export async function removeMarkers(nodes: readonly ControlPlaneNode[], drill: string): Promise<void> {
  let failure: unknown = new RequorumError('etcd-unavailable', {
    what: 'No member was asked to remove the markers of the drill.',
    todo: `Remove them by hand: etcdctl del --prefix ${prefixOf(drill)}`,
  })
  for (const at of nodes) {
    try {
      await mustEtcdctl(at, ['del', '--prefix', prefixOf(drill)])
      return
    } catch (error) {
      failure = error
    }
  }
  throw failure
}

/**
 * Writes a key through every member, again and again, until one of them acknowledges it.
 *
 * @param forMs - how long at most
 * @returns when the first acknowledgement came; null when none did in that time
 */
export async function awaitFirstWrite(
  nodes: readonly ControlPlaneNode[],
  drill: string,
  forMs: number,
  now: () => Date,
  watching: Watching,
): Promise<{ readonly at: string; readonly node: string } | null> {
  const deadline = Date.now() + forMs
  for (;;) {
    watching.signal.throwIfAborted()
    const tried = await Promise.all(
      nodes.map((at) => tryWrite(at, drill, nodes.length, now, watching.signal)),
    )
    const [first] = tried.flatMap((one) => one ?? []).sort((a, b) => (a.at < b.at ? -1 : 1))
    if (first !== undefined) return first
    if (Date.now() > deadline) return null
    await pause(POLL_MS)
  }
}

async function tryWrite(
  at: ControlPlaneNode,
  drill: string,
  configured: number,
  now: () => Date,
  signal: AbortSignal,
): Promise<{ at: string; node: string } | null> {
  try {
    const words = ['put', `${prefixOf(drill)}first-write`, at.node.name]
    const { code } = await runEtcdctl(at, words, { timeoutSeconds: PUT_SECONDS, signal })
    const acknowledged = now().toISOString()
    if (code !== 0) return null
    // A member that runs as a cluster of its own takes writes too, and they are nobody's.
    const member = await readMember(at)
    const counts =
      member.answers && member.healthy && !standsAlone({ member, etcdManifest: null }, configured)
    return counts ? { at: acknowledged, node: at.node.name } : null
  } catch {
    // A node that can't be reached acknowledges nothing.
    signal.throwIfAborted()
    return null
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
