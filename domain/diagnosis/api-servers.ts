import { names, type NodePicture, type Picture } from './picture.ts'
import { lookAgain, type Evidence, type NextStep, type Trouble } from './trouble.ts'

/** Answers that a login would be needed for: such an API server runs, and what it thinks of itself isn't told. */
const UNTOLD = [401, 403]

/** etcd is well and an API server is not: then it is the API server's own trouble. */
export function illApiServers(picture: Picture): Trouble | null {
  // While etcd is not well an API server can't be: that is told by the rules above.
  if (picture.nodes.some(({ condition }) => condition !== 'well')) return null
  const having = picture.nodes.filter((node) => node.seen?.symptoms?.apiServer)
  const ill = having.flatMap((node) => {
    const why = whyIll(node)
    return why === null ? [] : [{ node, why }]
  })
  if (ill.length === 0) return null
  const nodes = ill.map(({ node }) => node)
  const all = nodes.length === having.length && nodes.length > 1
  return {
    kind: 'hands-off',
    nodes: nodes.map(({ name }) => name),
    summary: `etcd is healthy. ${all ? 'Every API server' : `The API server on ${names(nodes)}${nodes.length === 1 ? ' alone' : ''}`} is ill: leave etcd alone and look there.`,
    evidence: [
      ...ill.map(({ node, why }): Evidence => ({ node: node.name, fact: why })),
      ...picture.nodes.map(({ name, fact }): Evidence => ({ node: name, fact: `etcd ${fact}` })),
    ],
    next: [
      ...nodes.map(({ name }): NextStep => ({
        on: name,
        say: 'Read what it says of itself, and why it ended last.',
        commands: [
          "curl -sk 'https://127.0.0.1:6443/readyz?verbose'",
          'tail -n 50 $(ls -t /var/log/pods/kube-system_kube-apiserver-*/kube-apiserver/*.log | head -n 1)',
        ],
      })),
      lookAgain(picture.config.cluster, 'Then look again.'),
    ],
  }
}

function whyIll({ seen }: NodePicture): string | null {
  const api = seen?.symptoms?.apiServer
  if (!api) return null
  if (api.pids.length === 0) return 'its API server does not run, although its manifest is there'
  const { status, why } = api.readyz
  if (status === null || status === 200 || UNTOLD.includes(status)) return null
  const alive = api.livez.status === 200 ? 'it is alive and not ready' : 'it is not alive'
  return status === 0
    ? `its API server runs and does not answer: ${why}`
    : `its API server says ${status} to /readyz (${alive}): ${why}`
}
