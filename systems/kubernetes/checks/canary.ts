import { setTimeout as sleep } from 'node:timers/promises'
import {
  CANARY_NAME,
  CANARY_PORT,
  canaryNamespace,
  canaryObjects,
  canaryText,
  type CanaryStep,
} from '../../../domain/validation/canary.ts'
import { fail, pass, skipped, type Finding } from '../../../domain/validation/finding.ts'
import type { ControlPlaneNode } from '../../node/control-plane-node.ts'
import { inOneLine, type HealthCheck } from '../../node/health-check.ts'
import { nodeWithApi } from '../api-servers.ts'
import { answersHttp, resolves, type Answered } from '../canary/exchange.ts'
import { removeCanary, removeLeftOvers } from '../canary/namespace.ts'
import { readSurroundings } from '../canary/surroundings.ts'
import { mustKubectl } from '../kubectl.ts'

const POLL_MS = 500
/** Where the first attempt of this run was killed, its canary has to go first. */
const REMOVAL_MS = 60_000
/** After its limit and its removal no attempt of this run is at work any more. */
const SURELY_OVER_MS = 600_000
/** Its own removal is another step, so nothing of the limit is kept for it; this much for saying why it failed. */
const LAST_WORDS_MS = 10_000

/**
 * Sends the canary out. It is left where it is: the run removes it in a step of its own, which is taken whatever
 * becomes of this one.
 */
export const canary: HealthCheck = async ({ config, nodes, run, limitMs, watching }) => {
  const { signal, onBeat } = watching
  const deadline = Date.now() + limitMs - LAST_WORDS_MS
  const at = await nodeWithApi(nodes, signal)
  const found = await readSurroundings(at, signal)
  const image = config.validate.canary.image ?? found.image
  if (image === null) {
    return skipped(
      'kube-system has no Deployment coredns to take an image from; name one: validate.canary.image',
    )
  }
  if (found.dnsServer === null) return skipped('kube-system has no Service kube-dns to resolve with')

  const leftOver = await removeLeftOvers(at, run, signal)
  const cleared = await removeCanary(at, run, REMOVAL_MS, signal)
  if (cleared.verdict !== 'pass') return fail(`what an earlier attempt left behind is ${cleared.evidence}`)

  const began = Date.now()
  const steps: CanaryStep[] = []
  const did = (what: string): void => {
    steps.push({ did: what, afterSeconds: (Date.now() - began) / 1_000 })
    onBeat(canaryText(steps))
  }
  const failing = (why: string): Finding => fail([canaryText(steps), why].filter(Boolean).join(', then '))
  try {
    const until = Math.ceil((began + limitMs + SURELY_OVER_MS) / 1_000)
    await mustKubectl(at, ['create', '--filename=-'], {
      signal,
      stdin: JSON.stringify(canaryObjects(run, image, until)),
    })
    const notReady = await untilReady(at, canaryNamespace(run), deadline, signal)
    if (notReady !== null) return failing(`the Deployment isn't ready: ${notReady}`)
    did('Deployment ready')

    const address = await clusterAddress(at, canaryNamespace(run), signal)
    const name = `${CANARY_NAME}.${canaryNamespace(run)}.svc.${found.domain}`
    const server = found.dnsServer
    const unresolved = await insist(deadline, signal, () =>
      resolves(at, { name, server, expected: address }, signal),
    )
    if (unresolved !== null) return failing(`its Service doesn't resolve: ${unresolved}`)
    did(`${name} resolved by ${server} to ${address}`)

    const page = { address, port: CANARY_PORT, path: '/health' }
    const silent = await insist(deadline, signal, () => answersHttp(at, page, signal))
    if (silent !== null) return failing(`its endpoint doesn't answer: ${silent}`)
    did('endpoint answered')
  } catch (error) {
    signal.throwIfAborted()
    return failing(inOneLine(error))
  }
  const before = leftOver.length > 0 ? `removed ${leftOver.join(', ')} of runs that were killed; ` : ''
  return pass(`${before}${canaryText(steps)}, asked from ${at.node.name}`)
}

/** The way home: whatever is left of this run's canary goes, and it is waited for. */
export const canaryGone: HealthCheck = async ({ nodes, run, limitMs, watching: { signal } }) =>
  removeCanary(await nodeWithApi(nodes, signal), run, limitMs - LAST_WORDS_MS, signal)

/** @returns null when it is ready, else what its pods wait for. */
async function untilReady(
  at: ControlPlaneNode,
  namespace: string,
  deadline: number,
  signal: AbortSignal,
): Promise<string | null> {
  const own = [`--namespace=${namespace}`]
  for (;;) {
    const ready = await mustKubectl(
      at,
      ['get', 'deployment', CANARY_NAME, ...own, '--output=jsonpath={.status.readyReplicas}'],
      { signal },
    )
    if (ready.trim() === '1') return null
    if (Date.now() > deadline) return whyNotReady(at, own, signal)
    await sleep(POLL_MS, undefined, { signal })
  }
}

/** Where its pod stands, and what was last said about any part of it. */
async function whyNotReady(
  at: ControlPlaneNode,
  own: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  const pods = await mustKubectl(
    at,
    [
      ...['get', 'pods', ...own],
      '--output=jsonpath={range .items[*]}{.status.phase} on {.spec.nodeName} {.status.containerStatuses[*].state.waiting.reason}{end}',
    ],
    { signal },
  )
  const said = await mustKubectl(
    at,
    [
      'get',
      'events',
      ...own,
      '--sort-by=.metadata.creationTimestamp',
      '--output=jsonpath={.items[-1:].message}',
    ],
    { signal },
  )
  const [state, last] = [pods, said].map((text) => text.replaceAll(/\s+/g, ' ').trim().slice(0, 300))
  return [state || 'it has no pod', last].filter(Boolean).join(': ')
}

async function clusterAddress(at: ControlPlaneNode, namespace: string, signal: AbortSignal): Promise<string> {
  const args = [
    'get',
    'service',
    CANARY_NAME,
    `--namespace=${namespace}`,
    '--output=jsonpath={.spec.clusterIP}',
  ]
  return (await mustKubectl(at, args, { signal })).trim()
}

/** Asks again until there is nothing wrong or the time is over. @returns null, or what was wrong the last time. */
async function insist(
  deadline: number,
  signal: AbortSignal,
  ask: () => Promise<Answered>,
): Promise<string | null> {
  for (;;) {
    const { wrong } = await ask()
    if (wrong === null) return null
    if (Date.now() > deadline) return wrong
    await sleep(POLL_MS, undefined, { signal })
  }
}
