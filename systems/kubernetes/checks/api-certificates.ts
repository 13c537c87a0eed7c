import { apiCertificates as named, judgeCertificates } from '../../../domain/validation/certificates.ts'
import { apiServerAddress } from '../../../domain/validation/api-servers.ts'
import { certificatesOnNodes, readManifest } from '../../node/certificates.ts'
import type { HealthCheck } from '../../node/health-check.ts'

export const apiCertificates: HealthCheck = async ({ nodes, watching: { signal } }) => {
  const seen = await certificatesOnNodes(
    nodes,
    'API server',
    async (at) => {
      const manifest = await readManifest(at, 'kube-apiserver')
      // That a node has none is for `api-servers` to say.
      return manifest === null ? [] : named(manifest, apiServerAddress(manifest, at.node.address))
    },
    signal,
  )
  return judgeCertificates(seen, new Date())
}
