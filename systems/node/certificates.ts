import { readFileSync } from 'node:fs'
import type { CertificateOnNode, CertificateSeen } from '../../domain/validation/certificates.ts'
import { lastLine, type ControlPlaneNode } from './control-plane-node.ts'
import { inOneLine } from './health-check.ts'

const SCRIPT = readFileSync(new URL('./certificates.sh', import.meta.url), 'utf8')
/** Each server that doesn't answer is given ten seconds. */
const TIMEOUT_MS = 45_000

/**
 * What openssl on each node says of its certificates: end, authority, and what the server shows. A node that
 * can't tell gives one entry that says why, under `what`.
 */
export async function certificatesOnNodes(
  nodes: readonly ControlPlaneNode[],
  what: string,
  named: (at: ControlPlaneNode) => Promise<readonly CertificateOnNode[]>,
  signal: AbortSignal,
): Promise<CertificateSeen[]> {
  const seen = nodes.map(async (at): Promise<CertificateSeen[]> => {
    try {
      return await lookAtCertificates(at, await named(at), signal)
    } catch (error) {
      const unseen = { endsAt: null, chain: 'unknown', served: null }
      return [{ node: at.node.name, name: what, problem: inOneLine(error), ...unseen }]
    }
  })
  return (await Promise.all(seen)).flat()
}

async function lookAtCertificates(
  at: ControlPlaneNode,
  certificates: readonly CertificateOnNode[],
  signal: AbortSignal,
): Promise<CertificateSeen[]> {
  const args = certificates.flatMap(({ name, file, authority, servedAt }) => [
    name,
    file,
    authority,
    servedAt ?? '-',
  ])
  const result = await at.shell.script(at.node, SCRIPT, args, { timeoutMs: TIMEOUT_MS, signal })
  const blocks = result.stdout.split(/^certificate=/m).slice(1)
  return certificates.map((certificate, index) =>
    readCertificate(at.node.name, certificate, blocks[index] ?? '', lastLine(result.stderr)),
  )
}

function readCertificate(
  node: string,
  { name, servedAt }: CertificateOnNode,
  block: string,
  trouble: string,
): CertificateSeen {
  const value = (key: string): string | null => new RegExp(`^${key}=(.*)$`, 'm').exec(block)?.[1] ?? null
  const endsAt = value('ends')
  const served = value('served')
  return {
    node,
    name,
    problem: value('problem') ?? (endsAt === null ? trouble || 'openssl said nothing of it' : null),
    endsAt,
    chain: value('chain') ?? 'unknown',
    served: servedAt === null ? null : served === 'same' || served === 'other' ? served : 'nothing',
  }
}

/** A static pod's manifest as it stands on the node; null when the directory has none of that name. */
export async function readManifest(at: ControlPlaneNode, pod: string): Promise<string | null> {
  const path = `${at.config.etcd.manifests}/${pod}.yaml`
  const result = await at.shell.run(at.node, ['cat', '--', path], { timeoutMs: 15_000 })
  return result.code === 0 ? result.stdout : null
}
