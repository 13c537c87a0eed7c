import { CONSENT_NAMESPACE } from '../../domain/consent.ts'
import { RequorumError } from '../../domain/failures.ts'
import { sshKeygen } from './ssh-keygen.ts'

/** Time to type a passphrase or to touch a key. */
const LIMIT_MS = 120_000

/**
 * Signs a statement as `ssh-keygen -Y sign` does; the key itself stays with it and the agent.
 *
 * @param key - a private key, or a public one whose private half the agent has.
 * @param tell - gets what ssh-keygen says to the person who signs. A passphrase it asks for on the terminal itself.
 * @throws RequorumError `signing-failed`, `tools-missing`
 */
export async function signConsent(
  statement: string,
  key: string,
  tell: (words: string) => void = () => undefined,
): Promise<string> {
  return sign(CONSENT_NAMESPACE, statement, key, {
    tell,
    todo: 'Name your key with --key: a private key file, or the .pub of a key that your agent has (`ssh-add -l`).',
  })
}

/** The same for another purpose, which the namespace names: a signature for one is none for the other. */
export async function sign(
  namespace: string,
  statement: string,
  key: string,
  { todo, tell = () => undefined }: { readonly todo: string; readonly tell?: (words: string) => void },
): Promise<string> {
  const args = ['-q', '-Y', 'sign', '-n', namespace, '-f', key]
  const signed = await sshKeygen(args, statement, { limitMs: LIMIT_MS, tell })
  if (signed.ok) return signed.out
  throw new RequorumError('signing-failed', {
    what: `Nothing was signed with ${key}.`,
    why: signed.words,
    todo,
  })
}
