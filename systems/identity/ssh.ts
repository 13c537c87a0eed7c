import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CONSENT_NAMESPACE } from '../../domain/consent.ts'
import { reasonOf, RequorumError } from '../../domain/failures.ts'
import { readAllowedSigners } from './allowed-signers.ts'
import type { Identity, IdentityFault, Proven } from './identity.ts'
import { sshKeygen, sshKeygenFault } from './ssh-keygen.ts'

const MAX_FILE_BYTES = 1_048_576
const LIMIT_MS = 20_000

/**
 * Consent signed with an SSH key (`ssh-keygen -Y sign`, namespace `requorum-consent`), verified by this
 * machine's own ssh-keygen against an allowed-signers file: it works with every network service down.
 *
 * Who it was is the name that the file gives to the key. The file is read anew for each proof, and one that lets
 * a key stand for several names proves nothing.
 *
 * @param allowedSigners - absolute path of the file.
 */
export function createSshIdentity(allowedSigners: string): Identity {
  return {
    async prove({ statement, by, proof }) {
      if (proof === null) return { refused: 'it has none, and this cluster asks for an SSH signature' }
      const text = await readSigners(allowedSigners)
      const [fault] = readAllowedSigners(text).faults
      if (fault !== undefined) throw unusable(allowedSigners, `line ${fault.line} ${fault.what}`)
      const proven = await provenBy(CONSENT_NAMESPACE, statement, proof, text)
      if ('refused' in proven) return { refused: verifyRefusal(proven.refused) }
      // Last, so that nothing is said of a signer whose signature isn't one.
      return proven.who === by ? proven : { refused: `${proven.who} signed it, and it says it is by ${by}` }
    },

    async faults(people) {
      const found: IdentityFault[] = []
      const tool = await sshKeygenFault()
      if (tool !== null) found.push({ field: 'proof', what: tool })
      const field = 'allowedSigners'
      try {
        const signers = readAllowedSigners(await readSigners(allowedSigners))
        for (const { line, what } of signers.faults) {
          found.push({ field, what: `${allowedSigners}:${line} ${what}` })
        }
        const have = signers.people.length
        if (have < people) {
          const names = have === 0 ? 'nobody' : `only ${signers.people.join(', ')}`
          const asked = people === 1 ? 'somebody has to decide' : `${people} different people have to decide`
          found.push({ field, what: `${allowedSigners} names ${names}, and ${asked}` })
        }
      } catch (error) {
        found.push({
          field,
          what: error instanceof RequorumError ? (error.text.why ?? error.text.what) : reasonOf(error),
        })
      }
      return found
    },
  }
}

/**
 * The name that an allowed-signers file gives to the key of a signature, whatever was signed. It proves nothing.
 *
 * @throws RequorumError `config-invalid` when the file can't be read.
 */
export async function findSigner(allowedSigners: string, proof: string): Promise<Proven> {
  const text = await readSigners(allowedSigners)
  return inPrivate({ allowed_signers: text, 'proof.sig': proof }, signerOf)
}

/** Who of these signers signed that statement for that purpose, or why nobody did. */
async function provenBy(
  namespace: string,
  statement: string,
  signature: string,
  signers: string,
): Promise<Proven> {
  return inPrivate({ allowed_signers: signers, 'proof.sig': signature }, async (cwd) => {
    const signer = await signerOf(cwd)
    if ('refused' in signer) return signer
    const verified = await sshKeygen(
      ['-Y', 'verify', '-n', namespace, '-I', signer.who, '-f', 'allowed_signers', '-s', 'proof.sig'],
      statement,
      { cwd, limitMs: LIMIT_MS },
    )
    return verified.ok ? signer : { refused: `ssh-keygen says: ${verified.words}` }
  })
}

/**
 * Who signed a statement, by an allowed-signers file; for what is signed by machines.
 *
 * @throws RequorumError `config-invalid` when the file can't be used.
 */
export async function verify(
  namespace: string,
  statement: string,
  signature: string,
  allowedSigners: string,
): Promise<Proven> {
  return provenBy(namespace, statement, signature, await readSigners(allowedSigners))
}

async function signerOf(cwd: string): Promise<Proven> {
  const found = await sshKeygen(['-Y', 'find-principals', '-f', 'allowed_signers', '-s', 'proof.sig'], '', {
    cwd,
    limitMs: LIMIT_MS,
  })
  if (found.ok) return { who: found.out.trimEnd() }
  return {
    refused: /parse signature|armor|magic/i.test(found.words)
      ? `it is no SSH signature (${found.words})`
      : `its key isn't one of an allowed signer (${found.words})`,
  }
}

function verifyRefusal(words: string): string {
  return /incorrect signature/.test(words)
    ? `what was signed is something else: another cluster, run, checkpoint, plan, decision or time (${words})`
    : words
}

/** Gives the work a directory of its own with these files, which nobody else can read or exchange. */
async function inPrivate<Result>(
  files: Readonly<Record<string, string>>,
  work: (directory: string) => Promise<Result>,
): Promise<Result> {
  const directory = await mkdtemp(join(tmpdir(), 'requorum-proof-'))
  try {
    for (const [name, content] of Object.entries(files)) {
      await writeFile(join(directory, name), content, { mode: 0o600 })
    }
    return await work(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

async function readSigners(path: string): Promise<string> {
  try {
    const { size } = await stat(path)
    if (size > MAX_FILE_BYTES) throw new Error(`it has ${size} bytes, and ${MAX_FILE_BYTES} are the limit`)
    return await readFile(path, 'utf8')
  } catch (error) {
    throw unusable(path, `can't be read: ${reasonOf(error)}`, error)
  }
}

function unusable(path: string, why: string, cause?: unknown): RequorumError {
  return new RequorumError(
    'config-invalid',
    {
      what: 'The allowed signers can not be used.',
      why: `${path}: ${why}`,
      todo: 'Correct the file, look with `requorum config check`, and decide again.',
    },
    { cause },
  )
}
