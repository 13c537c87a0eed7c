import { X509Certificate } from 'node:crypto'
import type { NeededFile } from '../../domain/joining-certificates.ts'
import type { ControlPlaneNode } from './control-plane-node.ts'

/** A certificate of another node starts etcd well, and every peer refuses it: so whom it is good for is looked at too. */
export async function fileFaults(at: ControlPlaneNode, files: readonly NeededFile[]): Promise<string[]> {
  const faults: string[] = []
  for (const { path, host } of files) {
    if (host === null) {
      const { code } = await at.shell.run(at.node, ['test', '-s', path])
      if (code !== 0) faults.push(`${path} is not there`)
      continue
    }
    const { code, stdout } = await at.shell.run(at.node, ['sed', '-n', '/-BEGIN CERT/,/-END CERT/p', path])
    const fault = code === 0 ? certificateFault(stdout, host) : 'is not there'
    if (fault !== null) faults.push(`${path} ${fault}`)
  }
  return faults
}

function certificateFault(pem: string, host: string): string | null {
  try {
    const certificate = new X509Certificate(pem)
    if (Date.parse(certificate.validTo) < Date.now()) return `was good until ${certificate.validTo}`
    const good = /^[\d.]+$|:/.test(host) ? certificate.checkIP(host) : certificate.checkHost(host)
    return good === undefined ? `is not good for ${host}` : null
  } catch {
    return 'holds no certificate'
  }
}
