import { access } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { findSigner } from '../../systems/identity/ssh.ts'
import { signConsent } from '../../systems/identity/ssh-sign.ts'
import { missing } from './command.ts'

/** As ssh itself tries them. */
const KEYS = ['id_ed25519', 'id_ed25519_sk', 'id_ecdsa', 'id_ecdsa_sk', 'id_rsa']

/**
 * A person's signature, and whom this machine's allowed signers name for its key. That name is a convenience:
 * the worker looks into its own file. Null when there is no file here or it doesn't know the key.
 */
export async function sign(
  statement: string,
  key: string,
  allowedSigners: string | null,
): Promise<{ proof: string; signer: string | null }> {
  const proof = await signConsent(statement, key, (words) => process.stderr.write(words))
  if (allowedSigners === null) return { proof, signer: null }
  const found = await findSigner(allowedSigners, proof).catch(() => null)
  return { proof, signer: found !== null && 'who' in found ? found.who : null }
}

/** The first key that stands in ~/.ssh, or its public half when the agent has the private one. */
export async function defaultKey(): Promise<string> {
  for (const name of KEYS.flatMap((key) => [key, `${key}.pub`])) {
    const path = join(homedir(), '.ssh', name)
    const there = await access(path).then(
      () => true,
      () => false,
    )
    if (there) return path
  }
  throw missing('--key: ~/.ssh has no key of a usual name, so --key')
}
