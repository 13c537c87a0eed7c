import { MANIFEST_NAMESPACE, manifestStatement, type ManifestTrust } from '../../domain/snapshot.ts'
import { sign } from './ssh-sign.ts'
import { verify } from './ssh.ts'

/** Absolute paths; null for what the cluster file does not ask for. */
export interface SigningFiles {
  readonly key: string | null
  readonly signers: string | null
}

/** Manifests signed and verified by this machine's own ssh-keygen, as consent is; for another purpose, by name. */
export function createManifestTrust({ key, signers }: SigningFiles): ManifestTrust {
  return {
    async seal(manifest) {
      if (key === null) return manifest
      const signature = await sign(MANIFEST_NAMESPACE, manifestStatement(manifest), key, {
        todo: 'signing.key of the cluster file has to be a private SSH key without a passphrase that the worker may read.',
      })
      return { ...manifest, signature }
    },

    async distrust(written) {
      if (signers === null) return null
      const signature = 'signature' in written ? written.signature : undefined
      if (typeof signature !== 'string') return 'its manifest is not signed, and signing.signers asks for it'
      const proven = await verify(MANIFEST_NAMESPACE, manifestStatement(written), signature, signers)
      return 'refused' in proven ? `the signature of its manifest does not hold: ${proven.refused}` : null
    },
  }
}
