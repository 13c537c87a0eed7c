import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

/**
 * Host keys that are trusted, read from OpenSSH's known_hosts format (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"):
 * comma-separated patterns with `*`, `?` and `!`, `[host]:port`, entries hashed by HashKnownHosts, `@revoked`.
 * `@cert-authority` lines are passed over, because ssh2 negotiates no host certificates.
 * Lines that can't be read pin nothing, as in OpenSSH: a damaged file refuses hosts, it never admits one.
 */
export interface KnownHosts {
  /** Judges the key that a host showed. `key` is the public key blob of the SSH wire format. */
  judge(address: string, port: number, key: Buffer): HostKeyVerdict
  /** The host-key algorithms to offer to this host: those of its pinned keys first, then all others. */
  algorithms(address: string, port: number): HostKeyAlgorithm[]
}

export type HostKeyVerdict =
  | { kind: 'trusted' }
  /** The key is marked `@revoked`: it is never accepted, whatever else is said of it. */
  | { kind: 'revoked'; line: number }
  /** The host is known, by these other keys. */
  | { kind: 'changed'; expected: readonly PinnedKey[] }
  | { kind: 'unknown' }

export interface PinnedKey {
  type: string
  /** As `ssh-keygen -l` prints it. */
  fingerprint: string
  line: number
}

interface Entry {
  line: number
  revoked: boolean
  hosts: string
  type: string
  key: Buffer
}

// Without SHA-1 signatures ('ssh-rsa' as an algorithm), which OpenSSH dropped with 8.8. An RSA key is pinned
// as 'ssh-rsa' and proved by one of the rsa-sha2 algorithms (RFC 8332).
const ALGORITHMS = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
] as const
export type HostKeyAlgorithm = (typeof ALGORITHMS)[number]

export function parseKnownHosts(text: string): KnownHosts {
  const entries = text.split('\n').flatMap((line, index) => parseLine(line, index + 1))

  const pinned = (address: string, port: number): Entry[] => {
    const matching = (name: string) =>
      entries.filter((entry) => !entry.revoked && matchesHost(entry.hosts, name.toLowerCase()))
    // OpenSSH falls back to the entry without a port when there is none for this one (sshconnect.c).
    const exact = matching(hostName(address, port))
    return exact.length > 0 || port === 22 ? exact : matching(address)
  }

  return {
    judge(address, port, key) {
      const names = [hostName(address, port), address].map((name) => name.toLowerCase())
      const revoked = entries.find(
        (entry) =>
          entry.revoked && entry.key.equals(key) && names.some((name) => matchesHost(entry.hosts, name)),
      )
      if (revoked) return { kind: 'revoked', line: revoked.line }

      const candidates = pinned(address, port)
      if (candidates.some((entry) => entry.key.equals(key))) return { kind: 'trusted' }
      if (candidates.length === 0) return { kind: 'unknown' }
      return {
        kind: 'changed',
        expected: candidates.map((e) => ({ type: e.type, fingerprint: fingerprint(e.key), line: e.line })),
      }
    },

    algorithms(address, port) {
      const types = new Set(pinned(address, port).map((entry) => entry.type))
      const isPinned = (algorithm: HostKeyAlgorithm) =>
        types.has(algorithm.startsWith('rsa-sha2-') ? 'ssh-rsa' : algorithm)
      // The others stay on offer: a host that has lost its pinned key then shows one that can be reported.
      return [...ALGORITHMS.filter(isPinned), ...ALGORITHMS.filter((algorithm) => !isPinned(algorithm))]
    },
  }
}

/** `SHA256:` and the unpadded base64, as OpenSSH shows fingerprints. */
export function fingerprint(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`
}

/** The type that a public key blob names in its first field, such as `ssh-ed25519`. */
export function keyType(key: Buffer): string {
  if (key.length < 4) return 'unknown'
  return key.subarray(4, 4 + key.readUInt32BE(0)).toString('latin1')
}

/** How known_hosts writes a host: bare on port 22, otherwise `[host]:port`. */
export function hostName(address: string, port: number): string {
  return port === 22 ? address : `[${address}]:${port}`
}

function parseLine(line: string, number: number): Entry[] {
  const fields = line.trim().split(/\s+/)
  const marker = fields[0]?.startsWith('@') ? fields.shift() : undefined
  const [hosts, type, encoded] = fields
  if (!hosts || hosts.startsWith('#') || !type || !encoded) return []
  if (marker !== undefined && marker !== '@revoked') return []

  const key = Buffer.from(encoded, 'base64')
  if (keyType(key) !== type) return []
  return [{ line: number, revoked: marker === '@revoked', hosts, type, key }]
}

function matchesHost(hosts: string, name: string): boolean {
  if (hosts.startsWith('|')) return matchesHash(hosts, name)

  let found = false
  for (const pattern of hosts.toLowerCase().split(',')) {
    const negated = pattern.startsWith('!')
    if (!wildcard(negated ? pattern.slice(1) : pattern).test(name)) continue
    if (negated) return false
    found = true
  }
  return found
}

function matchesHash(hosts: string, name: string): boolean {
  const [, magic, salt, hash] = hosts.split('|')
  if (magic !== '1' || !salt || !hash) return false
  const expected = Buffer.from(hash, 'base64')
  const actual = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest()
  return expected.length === actual.length && timingSafeEqual(expected, actual)
}

function wildcard(pattern: string): RegExp {
  const source = pattern.replace(/[^*?]/gu, (c) => `\\u{${c.codePointAt(0)?.toString(16) ?? '0'}}`)
  return new RegExp(`^${source.replaceAll('*', '.*').replaceAll('?', '.')}$`, 'u')
}
