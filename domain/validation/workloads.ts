import { counted, fail, few, judged, type Finding } from './finding.ts'

/**
 * Nodes and pods as `kubectl -o jsonpath` prints them, one line each with its fields between tabs: small on
 * clusters of thousands, and nothing in it that nobody asked for.
 */
export const NODE_FIELDS =
  '{range .items[*]}{.metadata.name}{"\\t"}{.status.conditions[?(@.type=="Ready")].status}{"\\t"}' +
  '{.status.conditions[?(@.type=="Ready")].reason}{"\\t"}{.spec.unschedulable}{"\\n"}{end}'

export const POD_FIELDS =
  '{range .items[*]}{.metadata.name}{"\\t"}{.status.phase}{"\\t"}{.metadata.deletionTimestamp}{"\\t"}' +
  '{.status.conditions[?(@.type=="Ready")].status}{"\\t"}{.status.reason}{"\\t"}' +
  '{.status.initContainerStatuses[*].state.waiting.reason} {.status.containerStatuses[*].state.waiting.reason}' +
  '{"\\t"}{.spec.nodeName}{"\\n"}{end}'

function rows(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => line.split('\t').map((field) => field.trim()))
}

/**
 * All Nodes Ready, those of the cluster file among them; one that takes no new pods is worth a look.
 *
 * @param without - nodes that a restore went on without, whatever they are
 */
export function judgeNodes(
  text: string,
  controlPlane: readonly string[],
  without: readonly string[] = [],
): Finding {
  const nodes = rows(text).map(([name = '', ready = '', reason = '', unschedulable = '']) => ({
    name,
    ready: ready === 'True',
    reason,
    cordoned: unschedulable === 'true',
  }))
  if (nodes.length === 0) return fail('the API knows no node')
  const missing = controlPlane.filter((name) => !nodes.some((node) => node.name === name))
  const notReady = nodes
    .filter((node) => !node.ready && !without.includes(node.name))
    .map(({ name, reason }) => `${name} (${reason || 'unknown'})`)
  const counting = nodes.filter(({ name }) => !without.includes(name))
  return judged(`${counted(counting.length, 'node')} Ready`, {
    wrong: [
      ...(notReady.length > 0 ? [`not Ready: ${few(notReady)} of ${counted(nodes.length, 'node')}`] : []),
      ...missing.map((name) => `the API knows no node ${name}`),
    ],
    doubtful: [
      ...without.map((name) => `${name} is left out: the restore went on without it`),
      ...nodes.filter((node) => node.cordoned).map(({ name }) => `${name} takes no new pods (cordoned)`),
    ],
  })
}

/**
 * All pods of kube-system ready, or through with their work. One that is being deleted, or on a node that is left out,
 * counts for nothing.
 */
export function judgePods(text: string, without: readonly string[] = []): Finding {
  const pods = rows(text).map(
    ([name = '', phase = '', deleted = '', ready = '', reason = '', waiting = '', node = '']) => ({
      name,
      node,
      phase,
      good: phase === 'Succeeded' || (phase === 'Running' && ready === 'True'),
      leaving: deleted !== '',
      why: [...new Set([...waiting.split(' '), reason])].filter(Boolean).join(', ') || phase || 'unknown',
    }),
  )
  const staying = pods.filter((pod) => !pod.leaving && !without.includes(pod.node))
  if (staying.length === 0) return fail('kube-system has no pods')
  const unwell = staying.filter((pod) => !pod.good).map(({ name, why }) => `${name} (${why})`)
  const done = staying.filter(({ phase }) => phase === 'Succeeded').length
  return judged(
    `${counted(staying.length - done, 'pod')} ready${done > 0 ? `, ${done} completed` : ''}`,
    unwell.length === 0
      ? {}
      : { wrong: [`not ready: ${few(unwell)} of ${counted(staying.length, 'pod')} in kube-system`] },
  )
}
