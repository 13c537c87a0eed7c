import { setTimeout as sleep } from 'node:timers/promises'
import { lastWords } from '../../../domain/validation/api-servers.ts'
import { CANARY_LABEL, CANARY_UNTIL, canaryNamespace, leftOvers } from '../../../domain/validation/canary.ts'
import { fail, pass, type Finding } from '../../../domain/validation/finding.ts'
import type { ControlPlaneNode } from '../../node/control-plane-node.ts'
import { mustKubectl, runKubectl } from '../kubectl.ts'

const POLL_MS = 1_000

/**
 * Removes the canary of a run, whatever is left of it, and waits until the API knows it no more. Harmless where
 * there is none.
 */
export async function removeCanary(
  at: ControlPlaneNode,
  run: string,
  limitMs: number,
  signal: AbortSignal,
): Promise<Finding> {
  const namespace = canaryNamespace(run)
  const began = performance.now()
  await deleteNamespace(at, namespace, signal)
  const stuck = await untilGone(at, namespace, limitMs, signal)
  if (stuck === null) return pass(`removed after ${((performance.now() - began) / 1_000).toFixed(1)} s`)
  return fail(
    `not removed within ${limitMs / 1_000} s, ${stuck}; by hand: kubectl delete namespace ${namespace}`,
  )
}

/** Canaries of runs that were killed and whose time is over. Those of runs that go on elsewhere are left alone. */
export async function removeLeftOvers(
  at: ControlPlaneNode,
  run: string,
  signal: AbortSignal,
): Promise<string[]> {
  const escaped = CANARY_UNTIL.replaceAll('.', '\\.')
  const fields = `{range .items[*]}{.metadata.name} {.metadata.annotations.${escaped}}{"\\n"}{end}`
  const listed = await mustKubectl(
    at,
    ['get', 'namespaces', `--selector=${CANARY_LABEL}`, `--output=jsonpath=${fields}`],
    { signal },
  )
  const left = leftOvers(listed, canaryNamespace(run), new Date())
  for (const namespace of left) await deleteNamespace(at, namespace, signal)
  return left
}

function deleteNamespace(at: ControlPlaneNode, namespace: string, signal: AbortSignal): Promise<string> {
  return mustKubectl(at, ['delete', 'namespace', namespace, '--ignore-not-found', '--wait=false'], { signal })
}

/** @returns null when it is gone, else what stands in its way. */
async function untilGone(
  at: ControlPlaneNode,
  namespace: string,
  limitMs: number,
  signal: AbortSignal,
): Promise<string | null> {
  const conditions = '{range .status.conditions[?(@.status=="True")]}{.message}{"; "}{end}'
  const deadline = Date.now() + limitMs
  for (;;) {
    const { code, stdout, stderr } = await runKubectl(
      at,
      [
        'get',
        'namespace',
        namespace,
        '--ignore-not-found',
        `--output=jsonpath={.metadata.name}{"\\n"}${conditions}`,
      ],
      { signal },
    )
    if (code === 0 && stdout.trim() === '') return null
    if (Date.now() > deadline) {
      const [, why = ''] = stdout.split('\n')
      return code === 0 ? why || 'it is still there' : lastWords(stderr)
    }
    await sleep(POLL_MS, undefined, { signal })
  }
}
