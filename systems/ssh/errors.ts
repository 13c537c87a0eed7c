import { RequorumError, reasonOf } from '../../domain/failures.ts'
import { fingerprint, hostName, keyType, type KnownHosts } from './known-hosts.ts'

/** The host that a connection goes to: a node, or the jump host before it. */
export interface Target {
  /** How the config calls it. */
  name: string
  address: string
  port: number
  user: string
}

/** What the connection was made with, as far as an error has to name it. */
export interface LoginSource {
  knownHostsPath: string
  /** The identity file, or the agent's socket. */
  identity: string
}

/** A command that was certainly never begun, so that it can be given to another connection unseen. */
export class NeverStarted extends Error {
  override readonly name = 'NeverStarted'
}

/** Whatever was thrown or given as a reason, as an Error; an Error stays what it is. */
export function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(reasonOf(reason))
}

/** The error of a host key that known_hosts doesn't vouch for; undefined when it does. */
export function hostKeyRefusal(
  target: Target,
  key: Buffer,
  knownHosts: KnownHosts,
  path: string,
): RequorumError | undefined {
  const verdict = knownHosts.judge(target.address, target.port, key)
  const host = hostName(target.address, target.port)
  const seen = `${keyType(key)} ${fingerprint(key)}`
  switch (verdict.kind) {
    case 'trusted':
      return undefined
    case 'revoked':
      return new RequorumError('host-key-refused', {
        what: `${target.name} (${host}) shows a host key that is revoked: ${seen}.`,
        why: `${path} line ${verdict.line} marks it @revoked.`,
        todo: `Do not connect. Give the host a new key and put that into ${path}.`,
      })
    case 'changed':
      return new RequorumError('host-key-refused', {
        what: `${target.name} (${host}) shows another host key than it should: ${seen}.`,
        why: `${path} expects ${verdict.expected
          .map(({ type, fingerprint: print, line }) => `${type} ${print} (line ${line})`)
          .join(' or ')}.`,
        todo:
          `If the host was reinstalled, compare the fingerprint on its console ` +
          `(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then put the new key into ${path}. ` +
          `Otherwise somebody may be standing in between.`,
      })
    case 'unknown':
      return new RequorumError('host-key-refused', {
        what: `${target.name} (${host}) is not in ${path}; it shows ${seen}.`,
        todo:
          `Compare the fingerprint on the host's console (ssh-keygen -lf ` +
          `/etc/ssh/ssh_host_ed25519_key.pub), then: ssh-keyscan -p ${target.port} ${target.address} >> ${path}`,
      })
  }
}

/** Why no connection came about, in the words of our failure list. */
export function connectFailure(target: Target, login: LoginSource, error: unknown): RequorumError {
  if (error instanceof RequorumError) return error
  const why = reasonOf(error)
  const level = error instanceof Error && 'level' in error ? error.level : undefined
  const host = hostName(target.address, target.port)
  const byKey =
    level === 'client-authentication' ||
    level === 'agent' ||
    /authentication failures|parse privateKey|valid\) private key/.test(why)

  if (byKey) {
    return new RequorumError(
      'ssh-login-refused',
      {
        what: `${target.name} (${host}) did not let ${target.user} in with the key from ${login.identity}.`,
        why,
        todo:
          `Put the public key into ~${target.user}/.ssh/authorized_keys on the host, or correct ssh.identityFile. ` +
          `An encrypted key or a certificate works through an agent only.`,
      },
      { cause: error },
    )
  }
  return new RequorumError(
    'node-unreachable',
    {
      what: `No SSH connection to ${target.name} (${host}).`,
      why,
      todo: `Look whether the host runs and sshd answers: ssh -p ${target.port} ${target.user}@${target.address} true`,
    },
    { cause: error },
  )
}

export function connectionLost(target: Target, what: string, why?: string): RequorumError {
  return new RequorumError('connection-lost', {
    what: `The connection to ${target.name} was lost during ${what}; whether it was done is unknown.`,
    ...(why ? { why } : {}),
    todo: 'Look again at the state of the node before anything is repeated.',
  })
}

export function timedOut(target: Target, what: string, limit: string): RequorumError {
  return new RequorumError('command-timed-out', {
    what: `On ${target.name}, ${what} ${limit}; how far it came is unknown.`,
    todo: 'Look at the load and the disk of the node, then try again.',
  })
}

export function outputTooLarge(target: Target, what: string, bytes: number): RequorumError {
  return new RequorumError('output-too-large', {
    what: `On ${target.name}, ${what} printed more than the ${bytes} bytes that are read of it.`,
    todo: 'Report this: the command has to print less, or be read as a stream.',
  })
}

export function cancelled(target: Target, what: string, cause: unknown): RequorumError {
  return new RequorumError(
    'cancelled',
    {
      what: `On ${target.name}, ${what} was given up because it was cancelled.`,
      todo: 'Nothing, unless the cancellation was a mistake; then start it again.',
    },
    { cause },
  )
}

/** sudo's own words for "not without a password" and "not allowed"; sudo and sudo-rs, in English. */
const SUDO_REFUSALS =
  /^sudo: .*(password is required|terminal is required|authentication is required|no new privileges)|(is not in the sudoers file|is not allowed to (run|execute)|may not run) /m

export function sudoRefusal(target: Target, code: number, stderr: string): RequorumError | undefined {
  if (target.user === 'root') return undefined
  const missing = code === 127 && /sudo['’"]?: (No such file|not found|command not found)/.test(stderr)
  if (!missing && !(code === 1 && SUDO_REFUSALS.test(stderr))) return undefined
  return new RequorumError('sudo-refused', {
    what: `${target.user} may not become root on ${target.name} without a password.`,
    why: stderr.trim().split('\n').at(-1) ?? '',
    todo: `On the node, as root: echo '${target.user} ALL=(root) NOPASSWD: ALL' > /etc/sudoers.d/requorum`,
  })
}
