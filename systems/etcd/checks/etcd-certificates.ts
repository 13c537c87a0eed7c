import { etcdCertificates as named, judgeCertificates } from '../../../domain/validation/certificates.ts'
import { certificatesOnNodes, readManifest } from '../../node/certificates.ts'
import type { HealthCheck } from '../../node/health-check.ts'

export const etcdCertificates: HealthCheck = async ({ nodes, watching: { signal } }) => {
  const seen = await certificatesOnNodes(
    nodes,
    'etcd',
    async (at) => {
      const manifest = await readManifest(at, 'etcd')
      if (manifest === null) throw new Error(`${at.config.etcd.manifests} has no etcd manifest`)
      return named(manifest, at.config)
    },
    signal,
  )
  return judgeCertificates(seen, new Date())
}
